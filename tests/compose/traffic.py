"""Exchanges through the containers, one at a time or many, and what the collector knows of them."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from harness.demo_client import CHAT, MESSAGES, RESPONSES, Conversation, Dialect

PROMPTS = (
    (CHAT, "Say hello."),
    (MESSAGES, "What is the weather?"),
    (RESPONSES, "Do both."),
    (CHAT, "Delete everything."),
)


def converse(port: int, dialect: Dialect, prompt: str) -> Conversation:
    """One exchange, to its end."""
    conversation = Conversation(dialect, prompt)
    for _ in conversation.pieces(port):
        pass
    return conversation


@dataclass
class Collector:
    """The collectors, through Envoy."""

    port: int
    token: str

    def get(self, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path, headers={"authorization": f"Bearer {self.token}"})
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise OSError(f"status {response.status}: {body[:200]!r}")
            return json.loads(body)
        finally:
            connection.close()

    def wait_until_reachable(self, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.get("/healthz")
                return
            except (OSError, http.client.HTTPException):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def events(self) -> list[dict[str, Any]]:
        """All events that are kept, newest first."""
        found: list[dict[str, Any]] = []
        before = ""
        while True:
            page = self.get(f"/v1/events?limit=1000{before}")
            found += [stored["event"] for stored in page["events"]]
            if page["next"] is None or not page["events"]:
                return found
            before = f"&before={page['next']}"

    def decisions(self) -> dict[str, dict[str, Any]]:
        """What was decided, by trace id."""
        ends = (event for event in self.events() if event["event_type"] == "enforcement")
        return {event.get("trace_id", ""): event["metadata"] for event in ends}

    def wait_for(self, traces: set[str], seconds: float = 60) -> dict[str, dict[str, Any]]:
        """The decisions of those exchanges, as soon as all are there."""
        deadline = time.monotonic() + seconds
        missing = traces
        while time.monotonic() < deadline:
            try:
                found = self.decisions()
            except (OSError, http.client.HTTPException):
                found = {}
            missing = traces - set(found)
            if not missing:
                return {trace: found[trace] for trace in traces}
            time.sleep(0.3)
        raise AssertionError(f"{len(missing)} of {len(traces)} decisions are not there after {seconds} s")

    def losses(self) -> dict[str, int]:
        """What senders miss or dropped."""
        senders = self.get("/v1/senders")["senders"]
        return {name: sum(each[name] for each in senders) for name in ("missing", "dropped")}


@dataclass
class Load:
    """Clients that send one exchange after another until they are told to stop."""

    port: int
    clients: int = 4
    finished: list[Conversation] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, number: int) -> None:
        while not self._over.is_set():
            dialect, prompt = PROMPTS[(number + len(self.finished)) % len(PROMPTS)]
            try:
                self.finished.append(converse(self.port, dialect, prompt))
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.failures.append(f"{dialect.name}: {error}")
                time.sleep(0.1)

    def wait_for(self, count: int, seconds: float = 60) -> None:
        """Waits until so many more exchanges are finished."""
        target = len(self.finished) + count
        deadline = time.monotonic() + seconds
        while len(self.finished) < target:
            assert time.monotonic() < deadline, (
                f"{len(self.finished)} of {target} after {seconds} s: {self.failures[-3:]}"
            )
            time.sleep(0.05)

    @property
    def traces(self) -> set[str]:
        return {each.trace_id for each in self.finished}
