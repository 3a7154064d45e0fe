"""What the mock provider answers: chosen by a word in the last message, so that a curl line can ask for anything."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

HARMLESS_TOOL = "get_weather"
HARMFUL_TOOL = "run_shell"


class InvalidRequest(Exception):
    """The request breaks a rule that the real provider enforces."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True)
class ToolCall:
    name: str
    arguments: dict[str, Any]

    def json(self) -> str:
        return json.dumps(self.arguments, ensure_ascii=False)


@dataclass(frozen=True)
class Answer:
    text: str
    calls: tuple[ToolCall, ...] = ()


WEATHER = ToolCall(HARMLESS_TOOL, {"city": "Zürich", "unit": "celsius"})
DELETE = ToolCall(HARMFUL_TOOL, {"command": "rm -rf /"})
ADDRESS = "ada.keller@mail.example"
CODE_NAME = "Project Nightingale"

_BY_WORD = {
    "both": Answer("I will look up the weather and clean up the disk.", (WEATHER, DELETE)),
    "twice": Answer("I will look up the weather in two ways.", (WEATHER, WEATHER)),
    "silent": Answer("", (DELETE,)),
    "weather": Answer("Let me look up the weather for you.", (WEATHER,)),
    "delete": Answer("I will clean up the disk now.", (DELETE,)),
    "address": Answer(f"Write to {ADDRESS}, and she will answer on the same day."),
    "plans": Answer(f"Next spring {CODE_NAME} takes off, of which nobody outside may know yet."),
}
_PLAIN = Answer("Hello! I am a mock model, and these words reach you one token at a time – naïve, but live. 👋")


def answer_to(prompt: str) -> Answer:
    """The answer to the first known word in `prompt`, else plain text."""
    words = prompt.lower()
    return next((answer for word, answer in _BY_WORD.items() if word in words), _PLAIN)


class Pieces(str):
    """A text that comes in these pieces, for tests that say where it is cut."""

    pieces: tuple[str, ...]

    def __new__(cls, pieces: Iterable[str]) -> Pieces:
        pieces = tuple(pieces)
        text = super().__new__(cls, "".join(pieces))
        text.pieces = pieces
        return text


def tokens(text: str, size: int = 5) -> Iterator[str]:
    """Cuts `text` into pieces as short as a model's tokens."""
    if isinstance(text, Pieces):
        yield from text.pieces
        return
    for start in range(0, len(text), size):
        yield text[start : start + size]


def new_id(prefix: str) -> str:
    return f"{prefix}{secrets.token_hex(12)}"
