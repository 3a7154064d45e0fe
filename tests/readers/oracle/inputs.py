"""What is mutated: the project's fixtures, recorded streams, cases of others, and small exchanges made here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from oracle import members
from oracle.exchange import ROOT, Exchange
from oracle.made import made
from oracle.members import Members
from oracle.policies import HARM, WORD
from oracle.reading import Response
from oracle.stream import Event, read_events, write_events

SHARED = Path(os.environ.get("WEIR_CORPUS") or ROOT.parent / "shared" / "corpus").parent
CASES = Path(os.environ.get("WEIR_CASES") or SHARED / "cases")
OWN_CASES = Path(__file__).resolve().parents[1] / "cases"
_FOLDERS = {
    "chat": "chat.completions",
    "openai-chat": "chat.completions",
    "messages": "messages",
    "anthropic-messages": "messages",
    "responses": "responses",
    "openai-responses": "responses",
    "mcp": "mcp_tool",
}
_TYPES = {".sse": "text/event-stream", ".json": "application/json"}
_TEXTS = {"content", "text", "delta", "thinking", "refusal", "reasoning_content", "reasoning", "arguments_text"}
# Of events that only go on with what came, so many in a row are enough.
_IN_A_ROW = 3
_LONGEST = 9_000


def _exchange(path: Path, dialect: str) -> Exchange:
    stream = path.suffix == ".sse"
    response = Response(200, [("content-type", _TYPES[path.suffix])], path.read_bytes())
    return Exchange(f"{path.parent.name}/{path.name}", dialect, stream, response)


def fixtures() -> list[Exchange]:
    """The project's own."""
    folder = ROOT / "tests" / "fixtures"
    paths = sorted(path for path in folder.glob("*/*") if path.suffix in _TYPES)
    return [_exchange(path, _FOLDERS[path.parent.name]) for path in paths]


def corpus() -> list[Exchange]:
    """Recorded streams, where there are any."""
    folder = SHARED / "corpus"
    paths = sorted(path for path in folder.glob("*/*.sse") if path.parent.name in _FOLDERS)
    return [_exchange(path, _FOLDERS[path.parent.name]) for path in paths]


def cases() -> list[tuple[Exchange, str | None]]:
    """The cases of others, each with its policy; none: the one that its text is about."""
    found: list[tuple[Exchange, str | None]] = []
    index = CASES / "index.json"
    for case in json.loads(index.read_text()) if index.exists() else []:
        dialect = _FOLDERS.get(case["dialect"], case["dialect"])
        head = list(case["head"].items())
        response = Response(case["status"], head, (CASES / case["file"]).read_bytes())
        stream = case["file"].endswith(".sse") and '"stream": true' in case["request"]
        found.append((Exchange(case["file"], dialect, stream, response, case["request"]), case["policy"]))
    for path in sorted((CASES / "attack").glob("*.http")):
        found += [(each, None) for each in read_http(path)]
    return found


def own_cases() -> list[tuple[Exchange, str]]:
    """What this suite found, and must not find again: the first line says how it is asked for."""
    found = []
    for path in sorted(OWN_CASES.glob("*.http")):
        first, _, rest = path.read_bytes().partition(b"\n")
        said = json.loads(first.removeprefix(b"#"))
        exchange = Exchange(path.name, said["dialect"], said["stream"], parse_http(rest), said.get("request", ""))
        found.append((exchange, said["policy"]))
    return found


def save(name: str, exchange: Exchange, policy: str, note: str) -> Path:
    """Keeps a finding as a case."""
    OWN_CASES.mkdir(exist_ok=True)
    said = {"dialect": exchange.dialect, "stream": exchange.stream, "policy": policy, "note": note}
    if exchange.request:
        said["request"] = exchange.request
    head = "".join(f"{key}: {value}\r\n" for key, value in exchange.response.headers)
    lines = f"#{json.dumps(said)}\nHTTP/1.1 {exchange.response.status} X\r\n{head}\r\n"
    path = OWN_CASES / f"{name}.http"
    path.write_bytes(lines.encode() + exchange.response.body)
    return path


def parse_http(raw: bytes) -> Response:
    """A response as it goes over the wire."""
    end = min((at, len(gap)) for gap in (b"\r\n\r\n", b"\n\n") if (at := raw.find(gap)) >= 0)
    first, *rest = raw[: end[0]].decode().splitlines()
    head = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in rest)]
    return Response(int(first.split()[1]), head, raw[sum(end) :])


def read_http(path: Path) -> list[Exchange]:
    """A case that is a response alone: what asked for it follows from what it is."""
    response = parse_http(path.read_bytes())
    body = response.body
    if b'"response' in body or b"response." in body:
        dialect = "responses"
    elif b"message_start" in body or b'"type": "message"' in body:
        dialect = "messages"
    elif b'"jsonrpc"' in body:
        dialect = "mcp_tool"
    else:
        dialect = "chat.completions"
    is_json = body.lstrip()[:1] == b"{" and b"\ndata:" not in body
    exchanges = []
    if not is_json or ("content-type", "application/json") not in response.headers:
        exchanges.append(Exchange(path.name, dialect, True, response))
    if is_json:
        exchanges.append(Exchange(path.name, dialect, False, response))
    return exchanges


def policies_of(exchange: Exchange) -> list[str]:
    """The policies that a case without one is about."""
    body = exchange.response.body
    named = ["content_transform"] if WORD.encode() in body or b"ingale" in body or b"QJ" in body else []
    if b"tool" in body or b"function" in body or exchange.dialect == "mcp_tool":
        named.append("tool_call_judge")
    return [*named, "no_op", "content_only"] if named else ["tool_call_judge", "content_transform", "no_op"]


# ---- what is mutated


def seeds() -> list[Exchange]:
    """Everything, made small: long rows of deltas are cut."""
    found = [*made(), *fixtures(), *corpus(), *(exchange for exchange, _ in cases()), *(e for e, _ in own_cases())]
    small = [thin(exchange) for exchange in found]
    small = [exchange for exchange in small if len(exchange.response.body) <= _LONGEST]
    planted = [plant(exchange) for exchange in small]
    return small + [exchange for exchange in planted if WORD.encode() in exchange.response.body or _split(exchange)]


def _split(exchange: Exchange) -> bool:
    return b"night" in exchange.response.body


def _shape(event: Event) -> Any:
    """What kind of event it is, its strings and numbers aside."""

    def shape(value: Any) -> Any:
        if isinstance(value, Members):
            return tuple((key, each if key == "type" else shape(each)) for key, each in value)
        if isinstance(value, list):
            return tuple(shape(each) for each in value)
        return type(value).__name__

    value = event.value
    return None if value is None else shape(value)


def thin(exchange: Exchange) -> Exchange:
    """The exchange without the most of each long row of deltas."""
    if not exchange.stream:
        return exchange
    kept: list[Event] = []
    last, row = None, 0
    events = read_events(exchange.response.body)
    if len(exchange.response.body) < _LONGEST // 3:
        return exchange
    for event in events:
        shape = _shape(event)
        row = row + 1 if shape is not None and shape == last else 0
        last = shape
        # The last of a row often closes what the row said.
        if row < _IN_A_ROW:
            kept.append(event)
    response = Response(exchange.response.status, exchange.response.headers, write_events(kept))
    return Exchange(exchange.name, exchange.dialect, exchange.stream, response, exchange.request)


def plant(exchange: Exchange) -> Exchange:
    """The exchange with the word in its texts: whole in a single piece, else cut over the first two."""
    events = read_events(exchange.response.body) if exchange.stream else [_whole(exchange)]
    groups: dict[Any, list[tuple[Any, int, str]]] = {}
    values = [event.value for event in events]
    for value in values:
        for path, holder, position, each in members.walk(value) if value is not None else []:
            key = path[-1]
            if (
                isinstance(each, str)
                and not isinstance(each, members.Token)
                and key in _TEXTS
                and _is_text(path, value, holder)
            ):
                groups.setdefault(_group(value, path), []).append((holder, position, each))
    renamed: dict[str, str] = {}
    for pieces in groups.values():
        filled = [piece for piece in pieces if piece[2]]
        texts = ["say night", "ingale now"] if len(filled) > 1 else [f"say {WORD} now"]
        told = "".join(piece[2] for piece in filled)
        for index, (holder, position, each) in enumerate(filled):
            members.put(holder, position, texts[index] if index < len(texts) else "")
            renamed.setdefault(each if len(filled) == 1 else told, f"say {WORD} now")
    for value in values:
        for _, holder, position, each in members.walk(value) if value is not None else []:
            if isinstance(each, str) and not isinstance(each, members.Token) and each in renamed and len(each) > 3:
                members.put(holder, position, renamed[each])
    for event, value in zip(events, values, strict=True):
        if value is not None:
            event.put(value)
    body = write_events(events) if exchange.stream else (events[0].data or "").encode()
    response = Response(exchange.response.status, exchange.response.headers, body)
    return Exchange(f"{exchange.name}+word", exchange.dialect, exchange.stream, response, exchange.request)


def _whole(exchange: Exchange) -> Event:
    return Event([[f"data: {exchange.response.body.decode('utf-8', 'surrogateescape')}", ""]], "")


def _is_text(path: tuple[str | int, ...], value: Any, holder: Any) -> bool:
    # A compaction is sealed.
    if str(members.get(holder, "type")).startswith("compaction"):
        return False
    kind = members.get(value, "type")
    if path[-1] == "delta":
        return isinstance(kind, str) and "text" in kind
    return not any(step in ("tool_calls", "arguments", "input", "logprobs", "annotations", "citation") for step in path)


def _group(value: Any, path: tuple[str | int, ...]) -> Any:
    kind = members.get(value, "type")
    if isinstance(kind, str) and kind.endswith(".done"):
        return (id(value), path)
    index = members.get(value, "index"), members.get(value, "output_index"), members.get(value, "content_index")
    return (kind if kind != "content_block_start" else None, index, path if kind is None else path[-1])


def is_harmful(exchange: Exchange) -> bool:
    """Whether a judge would find harm in it."""
    plain = exchange.response.body.replace(b" ", b"").replace(b"\\", b"")
    return any(word.encode() in plain for word in HARM)
