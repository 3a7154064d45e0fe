"""A streaming client for the dialects of models, in plain Python, that notes when each piece arrived."""

from __future__ import annotations

import http.client
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from harness import anthropic_messages, openai_chat, openai_responses


@dataclass(frozen=True)
class Dialect:
    """How to ask in one dialect, and how to read the stream that answers."""

    name: str
    path: str
    model: str

    def request(self, prompt: str) -> dict[str, Any]:
        conversation = "input" if self is RESPONSES else "messages"
        body = {"model": self.model, "stream": True, conversation: [{"role": "user", "content": prompt}]}
        return {**body, "max_tokens": 1024} if self is MESSAGES else body


CHAT = Dialect("chat.completions", openai_chat.PATH, "gpt-mock")
MESSAGES = Dialect("messages", anthropic_messages.PATH, "claude-mock")
RESPONSES = Dialect("responses", openai_responses.PATH, "gpt-mock")


@dataclass
class Call:
    name: str
    arguments: str = ""


@dataclass(frozen=True)
class Text:
    value: str


@dataclass(frozen=True)
class Finish:
    reason: str


Piece = Text | Call | Finish


@dataclass
class Conversation:
    """One request and what came back."""

    dialect: Dialect
    prompt: str
    trace_id: str = field(default_factory=lambda: secrets.token_hex(16))
    """Sent along as `traceparent`, by which the events of this exchange are found again."""
    project: str | None = None
    """The project whose policy document is asked for; without one, the filter's default acts."""
    body: bytes = b""
    """The stream as it came."""
    text: str = ""
    calls: list[Call] = field(default_factory=list)
    calls_shown: int = 0
    """How many of the calls were complete and yielded."""
    finish: str | None = None

    def pieces(self, port: int, host: str = "127.0.0.1") -> Iterator[tuple[float, Piece]]:
        """Sends the request; yields each piece with the seconds since then. A call is yielded when it is complete."""
        started = time.monotonic()
        for line in _lines(host, port, self):
            for piece in self.read(line):
                yield time.monotonic() - started, piece

    def read(self, line: bytes) -> Iterator[Piece]:
        """Takes a line of the stream; yields what it brings."""
        self.body += line
        if line.startswith(b"data: ") and line.strip() != b"data: [DONE]":
            yield from _READERS[self.dialect.name](json.loads(line[len(b"data: ") :]), self)


def _lines(host: str, port: int, conversation: Conversation) -> Iterator[bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        headers = {
            "content-type": "application/json",
            "traceparent": f"00-{conversation.trace_id}-{secrets.token_hex(8)}-01",
        }
        if conversation.project:
            headers["x-policy-project"] = conversation.project
        body = json.dumps(conversation.dialect.request(conversation.prompt))
        connection.request("POST", conversation.dialect.path, body, headers)
        response = connection.getresponse()
        if response.status != 200:
            raise ValueError(f"status {response.status}: {response.read().decode(errors='replace')}")
        yield from response
    finally:
        connection.close()


def text_of(dialect: Dialect, body: bytes) -> str:
    """The text that a stream says."""
    conversation = Conversation(dialect, "")
    for line in body.splitlines(keepends=True):
        for _ in conversation.read(line):
            pass
    return conversation.text


def _read_chat(event: dict[str, Any], so_far: Conversation) -> Iterator[Piece]:
    for choice in event["choices"]:
        delta = choice["delta"]
        if text := delta.get("content"):
            so_far.text += text
            yield Text(text)
        for fragment in delta.get("tool_calls") or []:
            function = fragment["function"]
            if "id" in fragment:
                so_far.calls.append(Call(function["name"]))
            so_far.calls[-1].arguments += function.get("arguments", "")
        if reason := choice["finish_reason"]:
            # This dialect does not say when a call is complete: the finish reason does.
            yield from so_far.calls
            so_far.finish = reason
            yield Finish(reason)


def _read_messages(event: dict[str, Any], so_far: Conversation) -> Iterator[Piece]:
    match event:
        case {"delta": {"type": "text_delta", "text": text}}:
            so_far.text += text
            yield Text(text)
        case {"content_block": {"type": "text", "text": text}} if text:
            so_far.text += text
            yield Text(text)
        case {"content_block": {"type": "tool_use", "name": name, "input": value}}:
            so_far.calls.append(Call(name, json.dumps(value) if value else ""))
        case {"delta": {"type": "input_json_delta", "partial_json": fragment}}:
            so_far.calls[-1].arguments += fragment
        case {"type": "content_block_stop"} if so_far.calls and so_far.calls_shown < len(so_far.calls):
            so_far.calls_shown += 1
            yield so_far.calls[-1]
        case {"delta": {"stop_reason": reason}} if reason:
            so_far.finish = reason
            yield Finish(reason)


def _read_responses(event: dict[str, Any], so_far: Conversation) -> Iterator[Piece]:
    match event:
        case {"type": "response.output_text.delta", "delta": text}:
            so_far.text += text
            yield Text(text)
        case {"type": "response.output_item.done", "item": {"type": "function_call", "name": name, "arguments": value}}:
            so_far.calls.append(Call(name, value))
            yield so_far.calls[-1]
        case {"type": "response.completed" | "response.incomplete" | "response.failed", "response": {"status": status}}:
            so_far.finish = status
            yield Finish(status)


_READERS = {CHAT.name: _read_chat, MESSAGES.name: _read_messages, RESPONSES.name: _read_responses}
