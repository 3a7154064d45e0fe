"""A response while it is being changed, and what the mutations have in common."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from oracle import members
from oracle.exchange import Exchange
from oracle.members import Members, Token
from oracle.policies import WORD
from oracle.stream import ENCODING, Event, read_events, write_events

PIECES = ["GHOST", " ", f"a {WORD} b", "night", "ingale", '{"cmd":"evil"}', ""]
TEXT_KEYS = {"content", "text", "delta", "arguments", "partial_json", "thinking", "input", "reasoning_content"}

Mutate = Callable[["Work", Random], "str | None"]


class Work:
    """A response that is being changed."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.head = list(exchange.response.headers)
        self.status = exchange.response.status
        self.is_stream = exchange.stream
        body = exchange.response.body
        text = body.decode(*ENCODING)
        self.events = read_events(body) if self.is_stream else [Event([[f"data: {text}", ""]], "")]
        self.prefix = ""
        self.suffix = ""

    def body(self) -> bytes:
        """The body as it stands."""
        if self.is_stream:
            return self.prefix.encode(*ENCODING) + write_events(self.events) + self.suffix.encode(*ENCODING)
        return (self.prefix + (self.events[0].data or "") + self.suffix).encode(*ENCODING)

    def pick(self, random: Random) -> int | None:
        """An event with a JSON value."""
        fitting = [number for number, event in enumerate(self.events) if isinstance(event.value, Members)]
        return random.choice(fitting) if fitting else None


def place_of(value: Any, path: tuple[Any, ...]) -> str:
    """Where something stands, in words that are the same for the same kind of place."""
    kind = members.get(value, "type")
    steps = [step if isinstance(step, str) else "[]" for step in path]
    return f"{kind}:{'.'.join(steps)}" if isinstance(kind, str) else ".".join(steps)


def node_of(
    work: Work, random: Random, fits: Callable[[Any, Any], bool]
) -> tuple[Event, Any, Any, Any, int, Any] | None:
    number = work.pick(random)
    if number is None:
        return None
    event = work.events[number]
    value = event.value
    found = [node for node in members.walk(value) if fits(node[1], node[3])]
    if not found:
        return None
    path, holder, position, each = random.choice(found)
    return event, value, path, holder, position, each


def any_place(_holder: Any, _value: Any) -> bool:
    return True


def in_object(holder: Any, _value: Any) -> bool:
    return isinstance(holder, Members)


def is_string(_holder: Any, value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, Token)


def another(value: Any, random: Random) -> Any:
    """Another value of the same type."""
    if isinstance(value, Token):
        return Token(random.choice(["0", "1", "2", "-1", "1.0", "5", "1e2", "4294967296"]))
    if isinstance(value, str):
        return random.choice(PIECES) if random.random() < 0.7 else value + "x"
    if isinstance(value, bool):
        return not value
    if isinstance(value, Members):
        changed = members.copy(value)
        strings = [node for node in members.walk(changed) if is_string(None, node[3])]
        if strings:
            _, holder, position, each = random.choice(strings)
            members.put(holder, position, another(each, random))
        return changed
    if isinstance(value, list):
        return [another(each, random) for each in value]
    return random.choice(["x", Token("1"), Members(), []])
