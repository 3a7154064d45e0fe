"""Reads chat completions by Go's rules, as sashabaranov/go-openai does: a small model of encoding/json and its scanner.

encoding/json takes a key for a field whatever its case, by Unicode's simple folding (`ſ` is `s`, the Kelvin sign is
`k`); of keys that stand twice the later is read over the earlier, member by member where both are objects; a list is
read over the former list, element by element; null leaves what was there; a value of a wrong type ends the stream with
an error. The line scanner trims blanks, knows `data:` alone, and a lone CR ends no line.
"""

from __future__ import annotations

import json
import re
from typing import Any

from oracle.members import Members
from oracle.reading import Reading, Response
from oracle.shown import Shown

_FUNCTION = {"name": str, "arguments": str}
_CALL: dict[str, Any] = {"index": int, "id": str, "type": str, "function": _FUNCTION}
_DELTA: dict[str, Any] = {
    "content": str,
    "role": str,
    "function_call": _FUNCTION,
    "tool_calls": [_CALL],
    "refusal": str,
    "reasoning_content": str,
}
_CHOICE: dict[str, Any] = {"index": int, "delta": _DELTA, "finish_reason": str}
_CHUNK: dict[str, Any] = {"id": str, "object": str, "created": int, "model": str, "choices": [_CHOICE]}
# A message's content may be a list of parts.
_MESSAGE: dict[str, Any] = {**_DELTA, "content": None}
_WHOLE: dict[str, Any] = {**_CHUNK, "choices": [{"index": int, "message": _MESSAGE, "finish_reason": str}]}
_FOLDS = {"ſ": "s", "\u212a": "k"}


# What bytes.TrimSpace takes away.
_BLANKS = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_DATA = re.compile(r"data:[\t\n\f\r ]*(.*)", re.DOTALL)


class WrongType(ValueError):
    """A value does not fit its field."""


def fold(key: str) -> str:
    """The form in which keys are compared."""
    return "".join(_FOLDS.get(character, character) for character in key).lower()


def parse(text: str) -> Any:
    """A JSON value; objects keep all of their members. encoding/json knows neither NaN nor a byte order mark."""

    def refuse(token: str) -> Any:
        raise ValueError(token)

    return json.loads(text, object_pairs_hook=Members, parse_constant=refuse)


def _empty(shape: Any) -> Any:
    return "" if shape is None else {} if isinstance(shape, dict) else [] if isinstance(shape, list) else shape()


def _over(known: Any, value: Any, shape: Any) -> Any:
    """Reads a value over what is known, into a field of that shape."""
    if value is None:
        return known
    if shape is None:
        return (
            "".join(_over({}, part, {"text": str}).get("text", "") for part in value) if type(value) is list else value
        )
    if isinstance(shape, dict):
        if not isinstance(value, Members):
            raise WrongType(shape)
        known = dict(known)
        for key, each in value:
            field = key if key in shape else next((name for name in shape if fold(name) == fold(key)), None)
            if field is not None:
                known[field] = _over(known.get(field, _empty(shape[field])), each, shape[field])
        return known
    if isinstance(shape, list):
        if isinstance(value, Members) or not isinstance(value, list):
            raise WrongType(shape)
        # Elements are read over those of the list before, where there was one.
        former = [*known, *[_empty(shape[0])] * len(value)]
        return [_over(former[index], each, shape[0]) for index, each in enumerate(value)]
    if isinstance(value, Members | list | bool) or not isinstance(value, shape):
        raise WrongType(shape)
    return value


def _lines(body: bytes) -> list[str]:
    # What stands behind the last line end is no line: the reader meets the end of the stream there.
    lines = body.decode("utf-8", "surrogateescape").split("\n")[:-1]
    return [line.strip(_BLANKS) for line in lines]


def read(stream: bool, response: Response) -> Reading:
    """What go-openai makes of the response."""
    if not 200 <= response.status < 400:
        return Reading(error=f"status {response.status}")
    shown = Shown()
    if not stream:
        try:
            message = _over({}, parse(response.body.decode("utf-8", "replace")), _WHOLE)
        except ValueError as error:
            return Reading(error=repr(error))
        return _read_choices(message.get("choices", []), "message", shown)
    return _read_stream(_lines(response.body), shown)


def _read_stream(lines: list[str], shown: Shown) -> Reading:
    choices: dict[int, dict[str, Any]] = {}
    error: str | None = None
    ended = False
    for line in lines:
        data = _DATA.match(line)
        if data is None:
            continue
        if data[1].startswith('{"error":'):
            error = "the stream tells of an error"
            break
        if data[1] == "[DONE]":
            ended = True
            break
        try:
            chunk = _over({}, parse(data[1].encode("utf-8", "surrogateescape").decode("utf-8", "replace")), _CHUNK)
        except ValueError as wrong:
            error = repr(wrong)
            break
        for choice in chunk.get("choices", []):
            _join(choices.setdefault(choice.get("index", 0), {"calls": {}, "text": ""}), choice, shown)
    # It knows no custom tools: what comes of them has neither name nor arguments.
    calls = [call for choice in choices.values() for call in choice["calls"].values() if any(call)]
    if error is None and not ended:
        error = "the stream ends without [DONE]"
    # io.EOF ends the loop of every example: what came is used.
    cut = error is not None and not error.startswith("the stream ends")
    return Reading([] if cut else calls, choices.get(0, {}).get("text", ""), shown.texts(), error if cut else None)


def _join(known: dict[str, Any], choice: dict[str, Any], shown: Shown) -> None:
    delta = choice.get("delta", {})
    place = f"choice {choice.get('index', 0)}"
    for key in ("content", "refusal", "reasoning_content"):
        shown.add(f"{place} {key}", delta.get(key))
    known["text"] += delta.get("content", "")
    for call in delta.get("tool_calls", []):
        open_call = known["calls"].setdefault(call.get("index", 0), ["", ""])
        open_call[0] += call.get("function", {}).get("name", "")
        open_call[1] += call.get("function", {}).get("arguments", "")
    if legacy := delta.get("function_call"):
        open_call = known["calls"].setdefault("function", ["", ""])
        open_call[0] += legacy.get("name", "")
        open_call[1] += legacy.get("arguments", "")


def _read_choices(choices: list[dict[str, Any]], key: str, shown: Shown) -> Reading:
    calls = []
    for choice in choices:
        message = choice.get(key, {})
        for field in ("content", "refusal", "reasoning_content"):
            shown.add(f"{choice.get('index', 0)} {field}", message.get(field))
        for call in message.get("tool_calls", []):
            if function := call.get("function"):
                calls.append([function.get("name", ""), function.get("arguments", "")])
        if legacy := message.get("function_call"):
            calls.append([legacy.get("name", ""), legacy.get("arguments", "")])
    text = choices[0].get(key, {}).get("content", "") if choices else ""
    return Reading(calls, text if isinstance(text, str) else "", shown.texts())
