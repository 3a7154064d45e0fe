"""Mutations of the members and entries of one payload."""

from __future__ import annotations

from random import Random
from typing import Any

from oracle import members
from oracle.changing import PIECES, TEXT_KEYS, Mutate, Work, another, any_place, in_object, is_string, node_of, place_of
from oracle.members import Members, Token
from oracle.policies import WORD


def _words(text: str) -> list[str]:
    return text.split()


GHOSTS = _words(
    "text message delta chunk partial_json arguments choices content reasoning_details thinking reasoning "
    "reasoning_content refusal function_call tool_calls input output output_text name id type index item "
    "response part parsed audio thinking_blocks stop_details explanation logprobs annotations signature data "
    "error event object role finish_reason content_block transcript summary code result custom function citation "
    "usage obfuscation provider x"
)
_TYPES = [
    _words("x_delta text_delta input_json_delta thinking_delta citations_delta signature_delta compaction_delta"),
    _words("text tool_use thinking redacted_thinking server_tool_use mcp_tool_use web_search_tool_result x_tool_use x"),
    _words("message function_call custom_tool_call mcp_call reasoning shell_call x_call x_message web_search_call"),
    _words("output_text refusal reasoning_text summary_text x_text function custom"),
    _words("message_start content_block_start content_block_delta content_block_stop message_delta message_stop ping"),
    _words(
        "response.output_text.delta response.refusal.delta response.function_call_arguments.delta "
        "response.mcp_call_arguments.delta response.reasoning_text.delta response.output_item.done "
        "response.custom_tool_call_input.delta response.completed response.output_text.done x.delta error"
    ),
]

# ---- members


def duplicate_member(work: Work, random: Random) -> str | None:
    """A key twice: the same value, or another, before or behind."""
    found = node_of(work, random, in_object)
    if not found:
        return None
    event, value, path, holder, position, each = found
    how = random.choice(["same", "other"])
    twin = [holder[position][0], members.copy(each) if how == "same" else another(each, random)]
    behind = random.random() < 0.5
    holder.insert(position + behind, twin)
    event.put(value)
    return f"duplicate-{how}-{'behind' if behind else 'before'}@{place_of(value, path)}"


def delete_member(work: Work, random: Random) -> str | None:
    """A member, or an element, is missing."""
    found = node_of(work, random, any_place)
    if not found:
        return None
    event, value, path, holder, position, _ = found
    del holder[position]
    event.put(value)
    return f"delete@{place_of(value, path)}"


def null_member(work: Work, random: Random) -> str | None:
    """A member is null."""
    found = node_of(work, random, any_place)
    if not found:
        return None
    event, value, path, holder, position, _ = found
    members.put(holder, position, None)
    event.put(value)
    return f"null@{place_of(value, path)}"


def retype(work: Work, random: Random) -> str | None:
    """A value of another type."""
    found = node_of(work, random, any_place)
    if not found:
        return None
    event, value, path, holder, position, each = found
    if isinstance(each, Token):
        how, new = random.choice(
            [("string", str(each)), ("float", Token(f"{each}.0")), ("list", [each]), ("true", True)]
        )
    elif isinstance(each, str):
        as_json = [("number", Token("5")), ("list", [each]), ("object", Members([["text", each]])), ("false", False)]
        how, new = random.choice([*as_json, ("parts", [Members([["type", "text"], ["text", each]])])])
        try:
            if random.random() < 0.5 and isinstance(parsed := members.parse(each), Members):
                how, new = "parsed", parsed
        except ValueError:
            pass
    elif isinstance(each, Members):
        how, new = random.choice([("list", [each]), ("string", members.write(each)), ("pairs", list(map(list, each)))])
    elif isinstance(each, list):
        numbered = Members([str(index), one] for index, one in enumerate(each))
        how, new = random.choice([("first", each[0] if each else None), ("object", numbered), ("nested", [each])])
    else:
        how, new = random.choice([("string", "null"), ("zero", Token("0")), ("object", Members())])
    members.put(holder, position, new)
    event.put(value)
    return f"retype-{how}@{place_of(value, path)}"


def recase(work: Work, random: Random) -> str | None:
    """A key in another case, also by Unicode folding; alone, or beside the right one."""
    found = node_of(work, random, in_object)
    if not found:
        return None
    event, value, path, holder, position, each = found
    key = holder[position][0]
    forms = {"upper": key.upper(), "capital": key[:1].upper() + key[1:]}
    forms["camel"] = "".join(word.capitalize() if index else word for index, word in enumerate(key.split("_")))
    forms["long-s"] = key.replace("s", "ſ", 1)
    forms["kelvin"] = key.replace("k", "\u212a", 1)
    how, form = random.choice([(how, form) for how, form in forms.items() if form != key] or [("none", key)])
    if form == key:
        return None
    if random.random() < 0.5:
        holder.insert(position + random.randint(0, 1), [form, another(each, random)])
        how += "-beside"
    else:
        holder[position][0] = form
    event.put(value)
    return f"recase-{how}@{place_of(value, path)}"


def move_member(work: Work, random: Random) -> str | None:
    """A member of one object stands in another of the same payload; or a copy of it does."""
    found = node_of(work, random, in_object)
    if not found:
        return None
    event, value, path, holder, position, each = found
    objects = [("", value)] + [
        (place_of(value, node[0]), node[3]) for node in members.walk(value) if isinstance(node[3], Members)
    ]
    there, target = random.choice(objects)
    if target is holder or any(node[3] is target for node in members.walk(each)) or target is each:
        return None
    pair = [holder[position][0], members.copy(each)]
    how = "copy"
    if random.random() < 0.6:
        del holder[position]
        how = "move"
    target.insert(random.randint(0, len(target)), pair)
    event.put(value)
    return f"{how}@{place_of(value, path)}>{there}"


def rename(work: Work, random: Random) -> str | None:
    """A key becomes one that some readers take for it."""
    found = node_of(work, random, in_object)
    if not found:
        return None
    event, value, path, holder, position, _ = found
    place = place_of(value, path)
    holder[position][0] = random.choice(GHOSTS)
    event.put(value)
    return f"rename-{holder[position][0]}@{place}"


def wrap(work: Work, random: Random) -> str | None:
    """A value, or the payload, stands in a wrapper; a text as parts."""
    number = work.pick(random)
    if number is None:
        return None
    event = work.events[number]
    value = event.value
    wrapper = random.choice(["chunk", "data", "message", "response", "delta", "result", "choices", "completion"])
    if random.random() < 0.4:
        if random.random() < 0.3:
            event.put([value])
            return f"wrap-list@{place_of(value, ())}"
        wrapped = Members([[wrapper, value]])
        if random.random() < 0.5:
            wrapped[0:0] = [[key, members.copy(each)] for key, each in value if not isinstance(each, list | Members)]
        event.put(wrapped)
        return f"wrap-{wrapper}@{place_of(value, ())}"
    nodes = [node for node in members.walk(value)]
    if not nodes:
        return None
    path, holder, position, each = random.choice(nodes)
    members.put(holder, position, Members([[wrapper, each]]))
    event.put(value)
    return f"wrap-{wrapper}@{place_of(value, path)}"


def ghost_member(work: Work, random: Random) -> str | None:
    """A further member that some reader could take for a text or a call."""
    number = work.pick(random)
    if number is None:
        return None
    event = work.events[number]
    value = event.value
    objects = [((), value)] + [(node[0], node[3]) for node in members.walk(value) if isinstance(node[3], Members)]
    path, target = random.choice(objects)
    key = random.choice(GHOSTS)
    texts: list[Any] = [random.choice(PIECES), f"a {WORD} b"]
    function = Members([["name", "run"], ["arguments", '{"cmd":"ghost"}']])
    call = Members([["index", Token("0")], ["id", "g"], ["type", "function"], ["function", function]])
    values = [*texts, [texts[1]], Members([["text", texts[1]]]), [Members([["type", "text"], ["text", texts[0]]])]]
    values += [[call], function, Token(random.choice(["0", "1", "5"])), None, False, []]
    said = random.choice(values) if random.random() < 0.5 else _typical(key, call, function, random)
    if random.random() < 0.3:
        donors = [node for each in work.events if each.value is not None for node in members.walk(each.value)]
        named = [node for node in donors if node[0][-1] == key]
        said = another(members.copy(random.choice(named)[3]), random) if named else said
    target.insert(random.randint(0, len(target)), [key, said])
    event.put(value)
    return f"ghost-{key}-{type(said).__name__}@{place_of(value, path)}"


def _typical(key: str, call: Any, function: Any, random: Random) -> Any:
    """What stands under that key where readers look for it: a text with the word, or a call."""
    word = f"a {WORD} b"
    delta = Members([["role", "assistant"], ["content", word], ["tool_calls", [call]]])
    choice = Members([["index", Token("0")], [random.choice(["delta", "message"]), delta], ["finish_reason", None]])
    part = Members([["type", random.choice(["text", "output_text", "thinking", "reasoning.text"])], ["text", word]])
    tool = Members([["type", "tool_use"], ["id", "g"], ["name", "run"], ["input", Members([["cmd", "ghost"]])]])
    item = Members(
        [["type", "function_call"], ["id", "g"], ["call_id", "g"], ["name", "run"], ["arguments", '{"a":1}']]
    )
    typical: dict[str, Any] = {
        "audio": Members([["id", "a"], ["transcript", word]]),
        "chunk": Members([["choices", [choice]]]),
        "data": Members([["choices", [choice]]]),
        "message": random.choice([delta, word]),
        "delta": random.choice([delta, word, part]),
        "choices": [choice],
        "content": random.choice([[part], word, [tool]]),
        "content_block": random.choice([part, tool]),
        "reasoning_details": [part],
        "thinking_blocks": [Members([["type", "thinking"], ["thinking", word], ["signature", ""]])],
        "stop_details": Members([["type", "refusal"], ["explanation", word]]),
        "logprobs": Members([["content", [Members([["token", word], ["logprob", Token("-1")]])]]]),
        "annotations": [Members([["type", "url_citation"], ["title", word], ["cited_text", word]])],
        "citation": Members([["type", "char_location"], ["cited_text", word]]),
        "function_call": function,
        "function": function,
        "tool_calls": [call],
        "custom": Members([["name", "run"], ["input", "ghost"]]),
        "input": random.choice([Members([["cmd", "ghost"]]), "ghost"]),
        "partial_json": '{"cmd":"ghost"}',
        "arguments": random.choice(['{"cmd":"ghost"}', Members([["cmd", "ghost"]])]),
        "name": random.choice(["run", "deny_me", "get_weather"]),
        "output": [item],
        "item": item,
        "part": part,
        "summary": [part],
        "error": random.choice([None, word, Members([["message", word]])]),
        "finish_reason": random.choice(["stop", "tool_calls", "length"]),
        "index": Token(random.choice(["0", "1"])),
        "signature": "c2ln",
    }
    return typical.get(key, word)


def retell_type(work: Work, random: Random) -> str | None:
    """A `type`, or a role or reason, says something else."""
    words = {"type", "object", "role", "finish_reason", "stop_reason", "status"}
    found = node_of(work, random, lambda holder, value: isinstance(holder, Members) and isinstance(value, str))
    if not found:
        return None
    event, value, path, holder, position, each = found
    if holder[position][0] not in words:
        fitting = [node for node in members.walk(value) if node[0][-1] in words and is_string(None, node[3])]
        if not fitting:
            return None
        path, holder, position, each = random.choice(fitting)
    near = [group for group in _TYPES if each in group] or _TYPES
    place = place_of(value, path)
    new = random.choice(random.choice(near))
    members.put(holder, position, new)
    event.put(value)
    return f"type-{new}@{place}"


def reindex(work: Work, random: Random) -> str | None:
    """An index, or an id, says another place."""
    names = {"index", "output_index", "content_index", "summary_index", "item_id", "id", "call_id", "sequence_number"}
    number = work.pick(random)
    if number is None:
        return None
    event = work.events[number]
    value = event.value
    fitting = [node for node in members.walk(value) if node[0][-1] in names]
    if not fitting:
        return None
    path, holder, position, each = random.choice(fitting)
    if isinstance(each, Token):
        new: Any = random.choice([Token(word) for word in ("0", "1", "2", "-1", "7", "0.0", "1e0")] + [None, "0", True])
    else:
        new = random.choice(["x", "", None, Token("1"), f"{each}2"])
    members.put(holder, position, new)
    event.put(value)
    return f"index-{new}@{place_of(value, path)}"


def twin_entry(work: Work, random: Random) -> str | None:
    """A list with an entry twice: the same, or another one, before or behind."""
    found = node_of(work, random, lambda _holder, value: type(value) is list and bool(value))
    if not found:
        return None
    event, value, path, _, _, entries = found
    position = random.randrange(len(entries))
    how = random.choice(["same", "other", "null", "text"])
    twins = {"same": members.copy(entries[position]), "null": None, "text": "GHOST"}
    twin = twins[how] if how in twins else another(members.copy(entries[position]), random)
    entries.insert(position + random.randint(0, 1), twin)
    event.put(value)
    return f"entry-{how}@{place_of(value, path)}"


def split_entry(work: Work, random: Random) -> str | None:
    """A text in two: over two entries of its list, or over two events."""
    number = work.pick(random)
    if number is None:
        return None
    event = work.events[number]
    value = event.value
    fitting = [
        node
        for node in members.walk(value)
        if node[0][-1] in TEXT_KEYS and is_string(None, node[3]) and len(node[3]) > 1
    ]
    if not fitting:
        return None
    path, holder, position, each = random.choice(fitting)
    place = place_of(value, path)
    cut = random.randrange(1, len(each))
    if random.random() < 0.5 or not any(isinstance(step, int) for step in path):
        members.put(holder, position, each[:cut])
        first = event.copy()
        first.put(value)
        members.put(holder, position, each[cut:])
        event.put(value)
        work.events.insert(number, first)
        return f"split-events@{place}"
    depth = max(index for index, step in enumerate(path) if isinstance(step, int))
    entries = members.get(value, *path[:depth])
    members.put(holder, position, each[:cut])
    first_entry = members.copy(entries[path[depth]])
    members.put(holder, position, each[cut:])
    entries.insert(path[depth], first_entry)
    event.put(value)
    return f"split-entries@{place}"


OF_MEMBERS: list[Mutate] = [
    duplicate_member,
    delete_member,
    null_member,
    retype,
    recase,
    move_member,
    rename,
    wrap,
    ghost_member,
    retell_type,
    reindex,
    twin_entry,
]
