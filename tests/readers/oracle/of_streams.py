"""Mutations of events, of lines, and of the response as a whole."""

from __future__ import annotations

from random import Random

from oracle import members
from oracle.changing import TEXT_KEYS, Work, another, is_string, place_of
from oracle.exchange import Exchange
from oracle.members import Members
from oracle.of_members import OF_MEMBERS
from oracle.policies import WORD
from oracle.reading import Response
from oracle.stream import ENCODING, Event

# ---- events


def ghost_event(work: Work, random: Random) -> str | None:
    """An event again, with another text in it, and something by which some readers drop it."""
    number = work.pick(random)
    if number is None or not work.is_stream:
        return None
    twin = work.events[number].copy()
    value = twin.value
    texts = [node for node in members.walk(value) if node[0][-1] in TEXT_KEYS and is_string(None, node[3])]
    if not texts:
        return None
    path, holder, position, each = random.choice(texts)
    place = place_of(value, path)
    members.put(holder, position, random.choice(["GHOST", "gh", "night", "ingale", WORD, each, " "]))
    twin.put(value)
    alone = Work(Exchange("", work.exchange.dialect, True, Response(200, [], twin.write().encode(*ENCODING))))
    how = random.choice(OF_MEMBERS)(alone, random) if random.random() < 0.85 else "plain"
    if how is None:
        return None
    near = number if random.random() < 0.6 else random.randrange(len(work.events))
    at = near + random.randint(0, 1)
    work.events[at:at] = alone.events
    return f"ghost-event@{place}[{how}]"


def duplicate_event(work: Work, random: Random) -> str | None:
    """An event twice."""
    if not work.is_stream or not work.events:
        return None
    number = random.randrange(len(work.events))
    to = number if random.random() < 0.5 else random.randrange(len(work.events) + 1)
    work.events.insert(to, work.events[number].copy())
    return f"duplicate-event@{_named(work.events[to])}{'' if to == number else '>elsewhere'}"


def move_event(work: Work, random: Random) -> str | None:
    """An event elsewhere."""
    if not work.is_stream or len(work.events) < 2:
        return None
    event = work.events.pop(random.randrange(len(work.events)))
    work.events.insert(random.randrange(len(work.events) + 1), event)
    return f"move-event@{_named(event)}"


def delete_event(work: Work, random: Random) -> str | None:
    """An event is missing."""
    if not work.is_stream or len(work.events) < 2:
        return None
    return f"delete-event@{_named(work.events.pop(random.randrange(len(work.events))))}"


def merge_events(work: Work, random: Random) -> str | None:
    """Two events as one: several data lines, or the lists of one with the entries of both."""
    if not work.is_stream or len(work.events) < 2:
        return None
    number = random.randrange(len(work.events) - 1)
    one, two = work.events[number], work.events[number + 1]
    first, second = one.value, two.value
    how = "lines"
    if isinstance(first, Members) and isinstance(second, Members) and random.random() < 0.6:
        lists = [key for key, each in first if type(each) is list and type(members.get(second, key)) is list]
        if lists:
            members.get(first, lists[0]).extend(members.get(second, lists[0]))
            one.put(first)
            del work.events[number + 1]
            return f"merge-lists@{_named(two)}"
    one.lines += two.lines
    del work.events[number + 1]
    return f"merge-{how}@{_named(two)}"


def _named(event: Event) -> str:
    value = event.value
    kind = members.get(value, "type")
    if isinstance(kind, str):
        return kind
    delta = members.get(value, "choices", 0, "delta")
    if isinstance(delta, Members):
        return "+".join(str(key) for key, _ in delta) or "finish"
    return (
        (event.data or "comment")[:6] if not isinstance(value, Members) else "+".join(str(key) for key, _ in value)[:40]
    )


# ---- lines


def _line_of(work: Work, random: Random) -> tuple[Event, int] | None:
    if not work.is_stream or not work.events:
        return None
    event = random.choice(work.events)
    return (event, random.randrange(len(event.lines))) if event.lines else None


def change_line(work: Work, random: Random) -> str | None:
    """A data line that some readers know, and others do not."""
    found = _line_of(work, random)
    if not found:
        return None
    event, number = found
    text, _ = event.lines[number]
    name, _, rest = text.partition(":")
    rest = rest.removeprefix(" ")
    forms = {
        "blank-before": f" {text}",
        "tab-before": f"\t{text}",
        "no-blank": f"{name}:{rest}",
        "two-blanks": f"{name}:  {rest}",
        "tab": f"{name}:\t{rest}",
        "blank-in-name": f"{name} : {rest}",
        "upper": f"{name.upper()}: {rest}",
        "bom": f"\ufeff{text}",
        "json-line": rest,
        "comment": f": {rest}",
        "comment-data": f":{text}",
        "no-colon": f"{name} {rest}",
        "nbsp": f"\xa0{text}",
        "next-line": f"x\x85{text}",
        "line-separator": f": x\u2028{text}",
        "line-separator-behind": f"{text}\u2028",
        "vertical-tab": f": x\x0b{text}",
        "form-feed": f": x\x0c{text}",
        "record": f": x\x1e{text}",
        "lone-cr": f": x\r{text}",
        "null-byte": f"{text}\0",
        "id": f"id: {rest}",
        "behind-id": f"id: 1\n{text}",
    }
    how = random.choice(list(forms))
    event.lines[number][0] = forms[how]
    return f"line-{how}@{name[:6]}/{_named(event)}"


def add_line(work: Work, random: Random) -> str | None:
    """A further line, from another event or made up, before, within or behind."""
    if not work.is_stream or not work.events:
        return None
    event = random.choice(work.events)
    donor = random.choice(work.events).copy()
    value = donor.value
    if isinstance(value, Members):
        donor.put(another(value, random))
    data = donor.data or "x"
    forms = {
        "json": data,
        "data": f"data: {data}",
        "comment-json": f":{data}",
        "comment-cr": f": x\rdata: {data}",
        "event-x": "event: x",
        "event-message": "event: message",
        "event-error": "event: error",
        "event-thread": "event: thread.run.created",
        "event-empty": "event:",
        "event-ping": "event: ping",
        "id": f"id: {data}",
        "retry": "retry: 1",
        "data-empty": "data:",
        "data-bare": "data",
        "done": "data: [DONE]",
        "x": "x",
        "separator": f":\u2028data: {data}",
    }
    how = random.choice(list(forms))
    event.lines.insert(random.randint(0, len(event.lines)), [forms[how], "\n"])
    return f"add-{how}@{_named(event)}"


def change_ends(work: Work, random: Random) -> str | None:
    """Other line ends: of one line, one blank line, or all."""
    if not work.is_stream or not work.events:
        return None
    end = random.choice(["\r", "\r\n", "\n", "\n\r", "\u2028", "\x0b", "\x85", ""])
    name = {"\r": "CR", "\r\n": "CRLF", "\n": "LF", "\n\r": "LFCR", "": "none"}.get(end, repr(end))
    event = random.choice(work.events)
    what = random.choice(["line", "blank", "all", "last"])
    if what == "line" and event.lines:
        random.choice(event.lines)[1] = end
    elif what == "blank":
        event.blank = end
    elif what == "all" and end in ("\r", "\r\n", "\n"):
        for each in work.events:
            each.blank = end
            for line in each.lines:
                line[1] = end
    else:
        event = work.events[-1]
        event.blank = ""
        if event.lines and random.random() < 0.5:
            event.lines[-1][1] = ""
    return f"ends-{name}-{what}@{_named(event)}"


def split_data(work: Work, random: Random) -> str | None:
    """The data in several lines."""
    number = work.pick(random)
    if number is None or not work.is_stream:
        return None
    event = work.events[number]
    at = next(index for index, line in enumerate(event.lines) if line[0].startswith("data:"))
    data = event.data or ""
    commas = [index for index, character in enumerate(data) if character in ",:{["]
    if not commas:
        return None
    cut = random.choice(commas) + 1
    end = event.lines[at][1] or "\n"
    event.lines[at : at + 1] = [[f"data: {data[:cut]}", end], [f"data: {data[cut:]}", end]]
    return f"split-data@{_named(event)}"


def rename_event(work: Work, random: Random) -> str | None:
    """The event's name is missing, another, or there where there was none."""
    if not work.is_stream or not work.events:
        return None
    event = random.choice(work.events)
    named = [index for index, line in enumerate(event.lines) if line[0].startswith("event:")]
    new = random.choice(["x", "message", "error", "ping", "content_block_delta", "message_stop", "thread.x", ""])
    if not named:
        event.lines.insert(0, [f"event: {new}", "\n"])
    elif random.random() < 0.4:
        del event.lines[named[0]]
        new = "none"
    else:
        event.lines[named[0]][0] = f"event: {new}"
    return f"name-{new}@{_named(event)}"


def raw_separator(work: Work, random: Random) -> str | None:
    """A raw character in a string that some readers take for a line end."""
    number = work.pick(random)
    if number is None:
        return None
    event = work.events[number]
    data = event.data or ""
    quotes = [index for index, character in enumerate(data) if character == '"']
    if len(quotes) < 2:
        return None
    at = random.choice(quotes)
    mark = random.choice(["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e", "\ufeff", "\x7f", "\t"])
    inner = random.choice(["", "data: {}", 'data: {"x":1}'])
    event.set_data(f"{data[: at + 1]}{mark}{inner}{data[at + 1 :]}")
    return f"raw-{mark!a}@{_named(event)}"


# ---- the head, and the body as a whole


def change_head(work: Work, random: Random) -> str | None:
    """Another content type, status or charset."""
    types = [
        None,
        "application/json",
        "text/event-stream",
        "text/plain",
        "text/event-stream; charset=utf-8",
        "Text/Event-Stream;charset=UTF-8",
        "application/json; charset=us-ascii",
        "text/json",
        "application/problem+json",
        "application/octet-stream",
        "text/html",
        "application/x-ndjson",
        "",
    ]
    if random.random() < 0.2:
        work.status = random.choice([201, 202, 203, 206, 299, 404, 429, 500, 529])
        return f"status-{work.status}"
    work.head = [header for header in work.head if header[0] != "content-type"]
    kind = random.choice(types)
    if kind is not None:
        work.head.append(("content-type", kind))
    if random.random() < 0.1:
        work.head.append(("content-encoding", random.choice(["identity", "none", ""])))
        return f"head-encoding-{kind}"
    return f"head-{kind}"


def change_body(work: Work, random: Random) -> str | None:
    """Something before or behind all of it; or cut off."""
    forms = {"bom": "\ufeff", "newlines": "\n\n", "blanks": "  ", "comment": ": hi\n\n", "x": "x\n", "cr": "\r"}
    how = random.choice([*forms, "cut"])
    if how == "cut":
        if not work.is_stream or len(work.events) < 2:
            return None
        work.events = work.events[: random.randrange(1, len(work.events))]
        work.events[-1].blank = random.choice(["\n", ""])
        return f"cut@{_named(work.events[-1])}"
    if random.random() < 0.6:
        work.prefix = forms[how]
        return f"before-{how}"
    work.suffix = forms[how]
    return f"behind-{how}"


def other_asking(work: Work, random: Random) -> str | None:
    """A whole answer where a stream was asked for, or announced."""
    if work.is_stream or work.exchange.dialect == "mcp_tool":
        return None
    work.exchange.stream = True
    if random.random() < 0.5:
        work.head = [("content-type", "text/event-stream")]
    return "asked-for-stream"
