"""A collector that keeps events in memory, for the tests to read; it can be told to fail."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from harness.http_server import Handler, Reply, Server

Event = dict[str, Any]

KINDS = {"error", "policy_action", "request", "response"}
SEVERITIES = {"debug", "error", "info", "warning"}


class Sink(Server):
    """Takes `POST /v1/events`. `behaviour` replaces the acceptance of batches."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(self._take, port)
        self.behaviour: Handler | None = None
        self._batches: list[dict[str, Any]] = []

    async def _take(self, reply: Reply) -> None:
        if self.behaviour:
            await self.behaviour(reply)
            return
        batch = reply.request.json()
        self._batches.append(batch)
        await reply.send_json(202, {"accepted": len(batch["events"]), "duplicates": 0})

    def batches(self) -> list[dict[str, Any]]:
        """The accepted batches so far."""
        return list(self._batches)

    def events(self, trace_id: str | None = None) -> Iterator[Event]:
        """The accepted events, of one exchange if `trace_id` is given, each id once."""
        seen: set[str] = set()
        for batch in self.batches():
            for event in batch["events"]:
                if event["id"] not in seen and trace_id in (None, event.get("trace_id")):
                    seen.add(event["id"])
                    yield event

    def wait_for(self, trace_id: str, event_type: str, seconds: float = 10.0) -> Event:
        """The first event of that type in that exchange, as soon as it arrives."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for event in self.events(trace_id):
                if event["event_type"] == event_type:
                    return event
            time.sleep(0.02)
        seen = [event["event_type"] for event in self.events(trace_id)]
        raise AssertionError(f"no event {event_type!r} within {seconds} s; this exchange had {seen}")

    def decision(self, trace_id: str, seconds: float = 10.0) -> dict[str, Any]:
        """What was decided in that exchange: the enforcement event's metadata."""
        return self.wait_for(trace_id, "enforcement", seconds)["metadata"]

    def types(self, trace_id: str) -> list[str]:
        """The types of that exchange's events, once its enforcement event is there."""
        self.decision(trace_id)
        return [event["event_type"] for event in self.events(trace_id)]

    def faults(self) -> list[str]:
        """What is wrong with the batches: their format, and gaps that no `dropped` explains."""
        return [fault for batch in self.batches() for fault in _format_faults(batch)] + _gaps(self.batches())


def _format_faults(batch: dict[str, Any]) -> Iterator[str]:
    for name, kind in (("sender", str), ("sequence", int), ("dropped", int), ("events", list)):
        if not isinstance(batch.get(name), kind):
            yield f"batch.{name} is {batch.get(name)!r}"
    for event in batch["events"]:
        for name, kind in (("id", str), ("time_ms", int), ("event_type", str), ("summary", str)):
            if not isinstance(event.get(name), kind):
                yield f"event.{name} is {event.get(name)!r} in {event}"
        if event.get("kind") not in KINDS or event.get("severity") not in SEVERITIES:
            yield f"unknown kind or severity in {event}"
        if "\n" in event.get("summary", ""):
            yield f"a summary of several lines in {event}"


def _gaps(batches: list[dict[str, Any]]) -> list[str]:
    """Missing sequence numbers of each sender, less what it says it dropped. Repeated batches are legal."""
    seen: dict[str, set[int]] = {}
    dropped: dict[str, int] = {}
    for batch in batches:
        numbers = range(batch["sequence"], batch["sequence"] + len(batch["events"]))
        seen.setdefault(batch["sender"], set()).update(numbers)
        dropped[batch["sender"]] = max(dropped.get(batch["sender"], 0), batch["dropped"])
    return [
        f"sender {sender} misses {missing} events and admits {dropped[sender]}"
        for sender, numbers in seen.items()
        if numbers and (missing := max(numbers) - min(numbers) + 1 - len(numbers)) > dropped[sender]
    ]
