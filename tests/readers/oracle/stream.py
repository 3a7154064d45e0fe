"""Server-sent events as lines, so that each can be changed alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from oracle import members

ENCODING = ("utf-8", "surrogateescape")
_LINE = re.compile(r"([^\r\n]*)(\r\n|\n|\r|$)")


@dataclass
class Event:
    """Lines up to a blank one, each with its end."""

    lines: list[list[str]] = field(default_factory=list)
    blank: str = "\n"

    @property
    def data(self) -> str | None:
        """The data, if it stands in one line."""
        lines = [text for text, _ in self.lines if text.startswith("data:")]
        return lines[0][5:].removeprefix(" ") if len(lines) == 1 else None

    @property
    def value(self) -> Any:
        """The data as JSON; None where it is none."""
        try:
            return members.parse(self.data or "")
        except (ValueError, RecursionError):
            return None

    def put(self, value: Any) -> None:
        """Puts a JSON value in place of the data."""
        self.set_data(members.write(value))

    def set_data(self, data: str) -> None:
        """Puts a text in place of the data."""
        for line in self.lines:
            if line[0].startswith("data:"):
                line[0] = f"data: {data}"

    @property
    def name(self) -> str | None:
        """The event's name."""
        return next((text[6:].strip() for text, _ in self.lines if text.startswith("event:")), None)

    def copy(self) -> Event:
        """A copy."""
        return Event([list(line) for line in self.lines], self.blank)

    def write(self) -> str:
        """The event as it goes over the wire."""
        return "".join(text + end for text, end in self.lines) + self.blank


def read_events(body: bytes) -> list[Event]:
    """The events of a stream."""
    events, event = [], Event()
    for match in _LINE.finditer(body.decode(*ENCODING)):
        text, end = match.groups()
        if not text and not end:
            continue
        if text:
            event.lines.append([text, end])
        else:
            event.blank = end
            events.append(event)
            event = Event()
    if event.lines:
        event.blank = ""
        events.append(event)
    return events


def write_events(events: list[Event]) -> bytes:
    """The stream."""
    return "".join(event.write() for event in events).encode(*ENCODING)
