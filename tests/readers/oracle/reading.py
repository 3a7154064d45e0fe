"""What a client library made of a response."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Response:
    """A response as it goes over the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def to_wire(self) -> dict[str, Any]:
        """The form in which other processes get it: a character stands for a byte."""
        headers = [list(header) for header in self.headers]
        return {"status": self.status, "headers": headers, "body": self.body.decode("latin-1")}


@dataclass
class Reading:
    """The calls that an application would carry out, and what it would show."""

    calls: list[list[Any]] = field(default_factory=list)
    """Name, arguments (a string of JSON, or a value), and `part` where only a part of the arguments is told."""
    text: str = ""
    """The answer's text, of the first choice."""
    texts: dict[str, str] = field(default_factory=dict)
    """Every text that is shown, by its place, each joined as an application joins it."""
    error: str | None = None
