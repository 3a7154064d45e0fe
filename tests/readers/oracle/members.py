"""JSON in which nothing is lost: members in their order, also those that stand twice, and the numbers as written."""

from __future__ import annotations

import json
from typing import Any


class Members(list):  # type: ignore[type-arg]
    """An object: a list of `[key, value]`."""


class Token(str):
    """A token that is written as it stands: a number, `NaN`."""

    __slots__ = ()


def parse(text: str) -> Any:
    """A JSON value."""
    pairs = lambda members: Members([key, value] for key, value in members)  # noqa: E731
    return json.loads(
        text, object_pairs_hook=pairs, parse_int=Token, parse_float=Token, parse_constant=Token, strict=False
    )


def write(value: Any) -> str:
    """The value as JSON, all characters as they are but those that would end a line."""
    if isinstance(value, Members):
        return "{" + ",".join(f"{write(key)}:{write(each)}" for key, each in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(write(each) for each in value) + "]"
    if isinstance(value, Token):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def copy(value: Any) -> Any:
    """A deep copy."""
    if isinstance(value, Members):
        return Members([key, copy(each)] for key, each in value)
    if isinstance(value, list):
        return [copy(each) for each in value]
    return value


def get(value: Any, *path: str | int) -> Any:
    """What stands at that path; None where there is nothing."""
    for step in path:
        if isinstance(value, Members) and isinstance(step, str):
            value = next((each for key, each in value if key == step), None)
        elif isinstance(value, list) and not isinstance(value, Members) and isinstance(step, int):
            value = value[step] if step < len(value) else None
        else:
            return None
    return value


def walk(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any, int, Any]]:
    """Every place in it: its path, what holds it, its position there, and what stands there."""
    found: list[tuple[tuple[str | int, ...], Any, int, Any]] = []
    if isinstance(value, Members):
        for position, (key, each) in enumerate(value):
            found.append(((*path, key), value, position, each))
            found += walk(each, (*path, key))
    elif isinstance(value, list):
        for position, each in enumerate(value):
            found.append(((*path, position), value, position, each))
            found += walk(each, (*path, position))
    return found


def put(holder: Any, position: int, value: Any) -> None:
    """Puts a value at a place that `walk` told."""
    if isinstance(holder, Members):
        holder[position][1] = value
    else:
        holder[position] = value
