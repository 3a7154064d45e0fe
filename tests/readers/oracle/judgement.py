"""The oracle: what no reader may end up with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from oracle.exchange import Exchange, Outcome
from oracle.policies import ALLOWED, DENIED, NO_OP, WORDS, Policy
from oracle.reading import Reading

# What providers carry out or what applications know by its type: libraries give it names and forms of their own.
_BY_TYPE = {
    "apply_patch",
    "code_interpreter",
    "computer_use",
    "computer_use_preview",
    "file_search",
    "image_generation",
    "local_shell",
    "mcp",
    "shell",
    "tool_search",
    "web_search",
    "web_search_preview",
}
_NO_CONTENT = {"callId", "call_id", "containerId", "id", "type", "status", "providerMetadata"}


UNCOUNTED = ("emptied", "carried")
_BY_RULE = ("judge", "denylist", "on_error")
_SEALED = re.compile(rb'"(?:encrypted_content|signature)"\s*:\s*"[^"]')
_REASONING = re.compile("reasoning|summary|thinking")
# The judge's own words name the tool: they are put in behind the rules on text.
_BLOCKED = re.compile("⛔ BLOCKED: .*? - a rule says so", re.DOTALL)


@dataclass(frozen=True)
class Finding:
    """Something that may not be."""

    what: str
    """`call`, `denied`, `word`, `changed`, `trap`; `refused` and `blocked` for needless refusals; `lost`: what passed
    is read otherwise than without Weir. Uncounted are `emptied`: a reader lost all arguments of a call that was judged,
    as some do with honest streams; and `carried`: a word under a key of texts, but where no library looks for it."""
    reader: str
    detail: str

    @property
    def is_bypass(self) -> bool:
        """Whether a policy was got round; else something was refused without need, or lost."""
        return self.what not in ("refused", "blocked", "lost", *UNCOUNTED)


def shows(text: str) -> bool:
    """Whether a text has a word in it that no client may show."""
    return any(word in text for word in WORDS)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key stands twice")
    return members


def value_of(arguments: Any) -> Any:
    """Arguments as a value by which they are compared: parsed, where they are JSON."""
    if not isinstance(arguments, str):
        return _comparable(arguments)
    try:
        return _comparable(json.loads(arguments))
    except (ValueError, RecursionError):
        return ("text", arguments)


def _comparable(value: Any) -> Any:
    """The value with all numbers alike: JavaScript has but one kind of them."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return (type(value).__name__, value)
    if isinstance(value, int | float):
        try:
            return ("number", float(value))
        except OverflowError:
            return ("number", str(value))
    if isinstance(value, dict):
        return ("object", tuple(sorted((key, _comparable(each)) for key, each in value.items())))
    return ("array", tuple(_comparable(each) for each in value))


class Judged:
    """What the judge was asked about, and let pass."""

    def __init__(self, outcome: Outcome) -> None:
        self._passed: list[tuple[str, Any]] = []
        self._texts: list[str] = []
        for question in outcome.questions:
            matter = question["matter"] or {}
            if question["harmful"] or "arguments" not in matter or "left_out_bytes" in matter:
                continue
            self._passed.append((matter.get("tool", ""), value_of(matter["arguments"])))
            self._texts.append(str(matter["arguments"]))

    def has(self, call: list[Any]) -> bool:
        """Whether exactly this call was judged and passed."""
        name, arguments = call[0], call[1]
        # langchain's form of the input of a custom tool.
        if isinstance(arguments, dict) and list(arguments) == ["__arg1"]:
            arguments = arguments["__arg1"]
        # Blanks alone are no arguments.
        if isinstance(arguments, str) and not arguments.strip():
            arguments = ""
        wanted = value_of(arguments)
        if (name, wanted) in self._passed:
            return True
        # What has no name, no client can carry out.
        if not name:
            return True
        if not arguments and any(tool == name and not text.strip("{} ") for (tool, _), text in self._pairs()):
            return True
        if "part" in call or "provider" in call or name in _BY_TYPE:
            return all(self._tells(text) for text in _strings(arguments))
        return False

    def has_name(self, name: str) -> bool:
        """Whether a call of that name was judged and passed."""
        return any(tool == name for tool, _ in self._passed)

    def _pairs(self) -> Iterable[tuple[tuple[str, Any], str]]:
        return zip(self._passed, self._texts, strict=True)

    def _tells(self, text: str) -> bool:
        spelled = json.dumps(text, ensure_ascii=False)[1:-1]
        ascii_only = json.dumps(text)[1:-1]
        return any(form in judged for judged in self._texts for form in (text, spelled, ascii_only))


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except ValueError:
            return [value]
        return _strings(parsed) if isinstance(parsed, dict | list) else [value]
    if isinstance(value, list):
        return [text for each in value for text in _strings(each)]
    if isinstance(value, dict):
        return [text for key, each in value.items() if key not in _NO_CONTENT for text in _strings(each)]
    return []


def bypasses(exchange: Exchange, policy: Policy, outcome: Outcome, readings: dict[str, Reading]) -> list[Finding]:
    """What readers ended up with and may not have."""
    if outcome.trap is not None:
        return [Finding("trap", "proxy", outcome.trap[:200])]
    if policy is NO_OP:
        return _changes(exchange, outcome)
    judged = Judged(outcome)
    findings = []
    for reader, reading in readings.items():
        for call in reading.calls:
            finding = _call(policy, judged, reader, call)
            if finding and not any(known.what == finding.what and known.reader == reader for known in findings):
                findings.append(finding)
        if policy.transforms and (shown := _shown(exchange, reading)):
            what = "carried" if "?" in shown[0] else "word"
            findings.append(Finding(what, reader, f"{shown[0]} {shown[1][-80:]!r}"))
    return sorted(findings, key=lambda finding: finding.what in UNCOUNTED)


def _shown(exchange: Exchange, reading: Reading) -> tuple[str, str] | None:
    """A place and its text where a word is shown. Reasoning under a seal or a signature is never changed."""
    sealed = _SEALED.search(exchange.response.body) is not None
    places = [("text", reading.text), *sorted(reading.texts.items(), key=lambda item: "?" in item[0])]
    for place, text in places:
        if shows(_BLOCKED.sub("", text)) and not (sealed and _REASONING.search(place)):
            return place, text
    return None


def _call(policy: Policy, judged: Judged, reader: str, call: list[Any]) -> Finding | None:
    told = f"{call[0]!r} {json.dumps(call[1], ensure_ascii=False)[:160]}"
    if policy.drops_calls:
        return Finding("call", reader, told)
    if not policy.judges:
        return None
    if call[0] == DENIED:
        return Finding("denied", reader, told)
    if call[0] == ALLOWED or judged.has(call):
        return None
    is_empty = call[1] in ("", "{}", None) or call[1] == {}
    return Finding("emptied" if is_empty and judged.has_name(call[0]) else "call", reader, told)


def _changes(exchange: Exchange, outcome: Outcome) -> list[Finding]:
    given, got = exchange.response, outcome.response
    if got.status != given.status:
        return [Finding("changed", "status", f"{given.status} became {got.status}")]
    if got.body != given.body:
        return [Finding("changed", "body", got.body.decode("utf-8", "replace")[-160:])]
    if sorted(got.headers) != sorted(given.headers):
        return [Finding("changed", "head", repr(got.headers))]
    if not outcome.ended:
        return [Finding("changed", "end", "the response did not end")]
    return []


def refused(outcome: Outcome, policy: Policy) -> Finding | None:
    """Whether the engine refused, or a call was blocked without a judge's word."""
    if not outcome.sent:
        return Finding("refused", "request", outcome.reason)
    for event in outcome.events:
        metadata = event.get("metadata") or {}
        if event.get("event_type") == "judge.blocked" and metadata.get("by") not in _BY_RULE:
            return Finding("blocked", "call", str(metadata.get("explanation", ""))[:100])
    plain = {"ALLOW", "", "CONTENT_TRANSFORMED", "TOOL_CALL_DROPPED", "TOOL_CALL_REFUSED", "TOOL_CALL_DENIED"}
    if outcome.reason not in plain and not (policy.judges and outcome.reason.startswith("TOOL_CALL")):
        return Finding("refused", "response", outcome.reason)
    return None


def lost(before: dict[str, Reading], after: dict[str, Reading]) -> Finding | None:
    """Whether what passed is read otherwise than without Weir, though all readers had read it alike."""
    for reader, reading in after.items():
        if reader not in before:
            continue
        known = before[reader]
        if reading.error:
            return Finding("lost", reader, reading.error[:150])
        if reading.text != known.text:
            return Finding("lost", reader, f"{known.text[-60:]!r} became {reading.text[-60:]!r}")
        if _calls(reading) != _calls(known):
            return Finding("lost", reader, f"{known.calls} became {reading.calls}"[:200])
    return None


def alike(readings: dict[str, Reading]) -> bool:
    """Whether all readers read the same: text and calls, and none fails."""
    if any(reading.error for reading in readings.values()):
        return False
    if len({reading.text for reading in readings.values()}) > 1:
        return False
    return len({_calls(reading) for reading in readings.values()}) <= 1


def _calls(reading: Reading) -> frozenset[Any]:
    # What providers carry out, libraries tell in forms of their own.
    return frozenset(
        (call[0], value_of(call[1])) for call in reading.calls if len(call) == 2 and call[0] not in _BY_TYPE
    )


def is_valid(readings: dict[str, Reading]) -> bool:
    """Whether every call's arguments are a JSON object that all parsers read alike."""
    for reading in readings.values():
        for call in reading.calls:
            if isinstance(call[1], str):
                try:
                    json.loads(call[1], object_pairs_hook=_once)
                except (ValueError, RecursionError):
                    return False
    return True
