"""Does any beginning of what is to go reach a client? Values, answers that say them cut everywhere, and the check."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from harness.answers import Answer, Pieces, ToolCall
from harness.demo_client import CHAT, MESSAGES, RESPONSES, Conversation
from harness.paths import ROOT

from support import exchange, legality

REDACTED = "[redacted]"
SAMPLES = ROOT / "policies" / "src" / "rules" / "detect" / "samples.json"
"""Values that each detector must find; its own tests read them, too."""
DIALECTS = {each.path: each for each in (CHAT, MESSAGES, RESPONSES)}


@dataclass(frozen=True)
class Sample:
    """A value that a rule is against."""

    rule: str
    """The project whose document has this rule alone."""
    value: str
    form: str = "plain"

    def __str__(self) -> str:
        return f"{self.rule}, {self.form}: {self.value!r}"


TERM = Sample("term", "Project Nightingale")
# Its match is decided at the seventeenth character; the others are swallowed.
PATTERN = Sample("pattern", "acme-" + "a1b2c3d4e5f6g7h8i9j0")
MATCHES: dict[str, Any] = {
    TERM.rule: {"terms": ["project nightingale", "project nightfall"]},
    PATTERN.rule: {"pattern": "acme-[a-z0-9]{12,}"},
}


def detected() -> list[Sample]:
    return [Sample(each["detect"], "".join(each["parts"])) for each in json.loads(SAMPLES.read_text())]


def projects() -> dict[str, Any]:
    """A policy document for each rule, and one without any, which looks at all and finds nothing."""
    matches = MATCHES | {sample.rule: {"detect": [sample.rule]} for sample in detected()}
    matches["none"] = {"terms": ["\u2603 that nobody says"]}
    return {name: _document(name, match) for name, match in matches.items()}


def _document(name: str, match: dict[str, Any]) -> dict[str, Any]:
    rules = [{"id": name, "match": match}]
    return {"policy": {"id": name}, "chain": [{"use": "rules", "with": {"rules": rules}}]}


_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_LOOK_ALIKE = str.maketrans("AaEeoOpPcCxy", "АаЕеоОрРсСху")


def disguised(sample: Sample) -> list[Sample]:
    """The value in forms that look the same, or mean the same to a model."""
    value = sample.value
    return [
        replace(sample, form="full width", value=value.translate(_WIDE)),
        replace(sample, form="zero width", value="\u200b".join(value)),
        replace(sample, form="look-alikes", value=value.translate(_LOOK_ALIKE)),
    ]


def spoken(value: str) -> Pieces:
    """A text that says `value` once for every place where it can be cut, cut there, and once letter by letter."""
    cuts = [("it is " + value[:cut], value[cut:] + " today; ") for cut in range(1, len(value))]
    return Pieces([piece for cut in cuts for piece in cut] + ["it is ", *value, " today, and Projects in 4 places."])


class Spelled(ToolCall):
    """A call whose arguments are spelled out."""

    def __init__(self, pieces: Pieces) -> None:
        super().__init__("take_note", json.loads(pieces))
        object.__setattr__(self, "_pieces", pieces)

    def json(self) -> str:
        return self._pieces  # type: ignore[attr-defined]


def escaped(value: str, *, ascii_only: bool = False) -> str:
    """As it stands in a string of JSON."""
    return json.dumps(value, ensure_ascii=ascii_only)[1:-1]


def answer(sample: Sample) -> Answer:
    """Says the value in a text and in the arguments of a call."""
    arguments = Pieces(['{ "note": "', *spoken(escaped(sample.value)).pieces, '",  "n": 1.0 }'])
    return Answer(spoken(sample.value), (Spelled(arguments),))


def expected(sample: Sample) -> tuple[str, str]:
    """Text and arguments that the client must read: all is as it was said, byte for byte, but for the value."""
    said = answer(sample)
    return (
        said.text.replace(sample.value, REDACTED),
        said.calls[0].json().replace(escaped(sample.value), REDACTED),
    )


def streamed_faults(path: str, sample: Sample, seen: exchange.Answer) -> Iterator[str]:
    """What is wrong with the stream that a client got, at any time."""
    text, arguments = expected(sample)
    conversation = Conversation(DIALECTS[path], "")
    for so_far in _arrivals(seen, conversation):
        if not text.startswith(so_far.text):
            yield f"after {len(so_far.body)} bytes the client has read {so_far.text[-80:]!r}"
            return
        if so_far.calls and not arguments.startswith(so_far.calls[0].arguments):
            yield f"after {len(so_far.body)} bytes the client has read the arguments {so_far.calls[0].arguments!r}"
            return
    if conversation.text != text:
        yield f"the text ends {conversation.text[-80:]!r}"
    if [call.arguments for call in conversation.calls] != [arguments]:
        yield f"the calls are {conversation.calls}"
    read = legality.read(path, seen.body)
    yield from read.broken
    if (read.text, read.calls) != (text, [("take_note", json.loads(arguments))]):
        yield f"another reader reads {read.text[-80:]!r} and {read.calls}"
    for _, data in legality.events(seen.body):
        if data != "[DONE]":
            yield from _said(sample, json.loads(data))


def _arrivals(seen: exchange.Answer, conversation: Conversation) -> Iterator[Conversation]:
    """What a client has read each time that bytes arrive."""
    rest = b""
    for _, chunk in seen.chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            for _ in conversation.read(line + b"\n"):
                pass
        yield conversation


def whole_faults(sample: Sample, sent: bytes, seen: exchange.Answer) -> Iterator[str]:
    """What is wrong with the whole answer that a client got: all bytes are as they were sent, but for the value."""
    wanted = sent.decode()
    for form in forms(sample.value):
        wanted = wanted.replace(form, REDACTED)
    if seen.body.decode() != wanted:
        yield f"the client got {seen.body.decode()!r} instead of {wanted!r}"
    yield from _said(sample, seen.json())


def forms(value: str) -> list[str]:
    """The value in a string of JSON, and in one that holds JSON, the longest first."""
    once = escaped(value, ascii_only=True)
    return sorted({once, escaped(escaped(value), ascii_only=True), escaped(once)}, key=len, reverse=True)


def _said(sample: Sample, value: Any) -> Iterator[str]:
    """Strings anywhere in a document that have a beginning of the value in them, which nothing else has."""
    beginning = sample.value[:8]
    match value:
        case str() if beginning in value:
            yield f"there is {beginning!r} in {value[:200]!r}"
        case dict():
            for each in value.values():
                yield from _said(sample, each)
        case list():
            for each in value:
                yield from _said(sample, each)
