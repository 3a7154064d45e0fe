"""One raw exchange through Envoy: the bytes as they arrive, with their times, and how it ended."""

from __future__ import annotations

import json
import secrets
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from harness import anthropic_messages, openai_chat, openai_responses

CHAT = openai_chat.PATH
MESSAGES = anthropic_messages.PATH
RESPONSES = openai_responses.PATH
PATHS = (CHAT, MESSAGES, RESPONSES)
NAMES = {CHAT: "chat", MESSAGES: "messages", RESPONSES: "responses"}


_PLAIN = ssl.create_default_context()
"""No certificate is ever looked at here, and to load them takes longer than most exchanges."""


def new_trace_id() -> str:
    return secrets.token_hex(16)


def trace_headers(trace_id: str) -> dict[str, str]:
    """The header by which the events of an exchange are found again."""
    return {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}


def question(path: str, prompt: str = "Say hello.", *, stream: bool = True, **more: Any) -> dict[str, Any]:
    """A request in the dialect of `path`."""
    turns = [{"role": "user", "content": prompt}]
    body = {"model": "mock", "stream": stream, "input" if path == RESPONSES else "messages": turns, **more}
    return {"max_tokens": 256, **body} if path == MESSAGES else body


@dataclass
class Answer:
    """What came back."""

    trace_id: str = field(default_factory=new_trace_id)
    status: int = 0
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    """Bytes as they arrived, with the time of each."""
    failure: Exception | None = None
    """Why the response did not end properly."""

    @property
    def body(self) -> bytes:
        return b"".join(chunk for _, chunk in self.chunks)

    @property
    def complete(self) -> bool:
        return self.failure is None

    def json(self) -> Any:
        return json.loads(self.body)

    def arrival(self, part: bytes) -> float:
        """When `part` had arrived whole, on the clock of `time.monotonic`."""
        so_far = b""
        for time_, chunk in self.chunks:
            so_far += chunk
            if part in so_far:
                return time_
        raise AssertionError(f"{part!r} never arrived: {so_far!r}")

    def error_message(self, path: str) -> str:
        """The message of an error document, which must have the form of the dialect of `path`."""
        assert self.headers["content-type"].startswith("application/json"), self.headers
        document = self.json()
        error = document["error"]
        if path == MESSAGES:
            assert document["type"] == "error" and set(error) >= {"type", "message"}, document
        else:
            assert set(error) >= {"message", "type", "param", "code"}, document
        assert error["message"], document
        return error["message"]


def ask(
    url: str,
    path: str,
    body: Any = None,
    *,
    headers: dict[str, str] | None = None,
    script: str | None = None,
    timeout: float = 60.0,
    http2: bool = False,
) -> Answer:
    """Sends a request and reads the response to its end, whatever that is.

    `body` is a document, or bytes as they are; `script` names a script of the mock provider.
    """
    answer = Answer()
    try:
        with streaming(
            url, path, body, headers=headers, script=script, timeout=timeout, http2=http2, answer=answer
        ) as response:
            for chunk in response.iter_raw():
                answer.chunks.append((time.monotonic(), chunk))
    except httpx.TransportError as error:
        answer.failure = error
    return answer


@contextmanager
def streaming(
    url: str,
    path: str,
    body: Any = None,
    *,
    answer: Answer,
    headers: dict[str, str] | None = None,
    script: str | None = None,
    timeout: float = 60.0,
    http2: bool = False,
) -> Iterator[httpx.Response]:
    """The response as it streams; leaving the block early closes the connection, as a client that goes away."""
    if not isinstance(body, bytes):
        body = json.dumps(question(path) if body is None else body).encode()
    everything = {
        "content-type": "application/json",
        **trace_headers(answer.trace_id),
        **({"x-mock-script": script} if script else {}),
        **(headers or {}),
    }
    with (
        httpx.Client(timeout=timeout, trust_env=False, verify=_PLAIN, http1=not http2, http2=http2) as client,
        client.stream("POST", url + path, content=body, headers=everything) as response,
    ):
        answer.status = response.status_code
        answer.headers = response.headers
        yield response
