"""Is a stream one that the real provider could have sent? A checker for each dialect.

The rules are those that client libraries rely on, and those whose breach makes the *next* request fail.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from support.exchange import CHAT, MESSAGES, RESPONSES


@dataclass
class Seen:
    """What a client would have read from the stream."""

    text: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    """Name and arguments of each call, in order."""
    finish: str | None = None
    broken: list[str] = field(default_factory=list)
    """Rules that the stream breaks."""

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


def read(path: str, body: bytes) -> Seen:
    """Reads a whole streamed body in the dialect of `path`."""
    return {CHAT: _read_chat, MESSAGES: _read_messages, RESPONSES: _read_responses}[path](body)


def read_legal(path: str, body: bytes) -> Seen:
    """As `read`, but the stream must be a legal one."""
    seen = read(path, body)
    assert not seen.broken, f"{seen.broken} in {body.decode(errors='replace')}"
    return seen


def events(body: bytes) -> Iterator[tuple[str | None, str]]:
    """Name and data of each server-sent event."""
    text = body.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for block in text.split("\n\n"):
        name, data = None, []
        for line in block.split("\n"):
            key, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if key == "event":
                name = value
            elif key == "data":
                data.append(value)
        if data:
            yield name, "\n".join(data)


def _read_chat(body: bytes) -> Seen:
    seen = Seen()
    finished: dict[int, str] = {}
    calls: dict[tuple[int, int], dict[str, str]] = {}
    payloads = [data for _, data in events(body)]
    if payloads.count("[DONE]") != 1 or payloads[-1] != "[DONE]":
        seen.broken.append("[DONE] must come once, and last")
    for payload in payloads:
        if payload == "[DONE]":
            continue
        for choice in json.loads(payload).get("choices") or []:
            index, delta = choice["index"], choice.get("delta") or {}
            substance = delta.get("content") or delta.get("tool_calls")
            if index in finished and (substance or choice.get("finish_reason")):
                seen.broken.append(f"choice {index} goes on after its finish reason")
            seen.text += delta.get("content") or ""
            for fragment in delta.get("tool_calls") or []:
                call = calls.setdefault((index, fragment.get("index", 0)), {"id": "", "name": "", "arguments": ""})
                function = fragment.get("function") or {}
                call["id"] = call["id"] or fragment.get("id") or ""
                call["name"] = call["name"] or function.get("name") or ""
                call["arguments"] += function.get("arguments") or ""
            if reason := choice.get("finish_reason"):
                finished[index] = seen.finish = reason
    for (index, number), call in calls.items():
        if not call["id"] or not call["name"]:
            seen.broken.append(f"call {number} of choice {index} has no id or no name")
        seen.calls.append((call["name"], _arguments(call["arguments"], seen)))
    numbers = {index: sorted(number for choice, number in calls if choice == index) for index, _ in calls}
    for index, used in numbers.items():
        if used != list(range(len(used))):
            seen.broken.append(f"the calls of choice {index} have the indices {used}")
        if finished.get(index) not in ("tool_calls", "stop", "length", "content_filter"):
            seen.broken.append(f"choice {index} ends with {finished.get(index)!r}")
    if seen.finish == "tool_calls" and not calls:
        seen.broken.append("finish reason tool_calls without a call")
    return seen


def _arguments(text: str, seen: Seen) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        seen.broken.append(f"arguments are not JSON: {text!r}")
        return text


def _read_messages(body: bytes) -> Seen:
    seen = Seen()
    kinds: list[str] = []
    open_blocks: dict[int, dict[str, Any]] = {}
    phase = "before message_start"
    for name, payload in events(body):
        event = json.loads(payload)
        kind = event["type"]
        if name != kind:
            seen.broken.append(f"event line {name!r} before type {kind!r}")
        if kind in ("ping", "error"):
            continue
        if phase == "after message_stop":
            seen.broken.append(f"{kind} after message_stop")
        match kind:
            case "message_start":
                if phase != "before message_start":
                    seen.broken.append("a second message_start")
                phase = "content"
            case "content_block_start":
                _start_block(event, kinds, open_blocks, seen)
                if phase != "content":
                    seen.broken.append(f"{kind} {phase}")
            case "content_block_delta":
                block = open_blocks.get(event["index"])
                if block is None:
                    seen.broken.append(f"a delta for block {event['index']}, which is not open")
                else:
                    _add_delta(event["delta"], block)
            case "content_block_stop":
                block = open_blocks.pop(event["index"], None)
                if block is None:
                    seen.broken.append(f"a stop for block {event['index']}, which is not open")
                else:
                    _end_block(block, seen)
            case "message_delta":
                if open_blocks:
                    seen.broken.append("message_delta while a block is open")
                seen.finish = event["delta"].get("stop_reason") or seen.finish
                phase = "after message_delta"
            case "message_stop":
                phase = "after message_stop"
    if phase != "after message_stop":
        seen.broken.append(f"the stream ends {phase}")
    if seen.finish == "tool_use" and "tool_use" not in kinds:
        seen.broken.append("stop reason tool_use without a call")
    return seen


def _start_block(event: dict[str, Any], kinds: list[str], open_blocks: dict[int, Any], seen: Seen) -> None:
    block, index = event["content_block"], event["index"]
    if index != len(kinds):
        seen.broken.append(f"block {index} starts where {len(kinds)} was due")
    if "tool_use" in kinds and block["type"] == "text":
        seen.broken.append("text after a tool_use: the next request would be refused")
    kinds.append(block["type"])
    open_blocks[index] = {**block, "json": ""}


def _add_delta(delta: dict[str, Any], block: dict[str, Any]) -> None:
    if delta["type"] == "text_delta":
        block["text"] += delta["text"]
    elif delta["type"] == "input_json_delta":
        block["json"] += delta["partial_json"]


def _end_block(block: dict[str, Any], seen: Seen) -> None:
    if block["type"] == "text":
        seen.text += block["text"]
        if not block["text"]:
            seen.broken.append("an empty text block: the next request would be refused")
    elif block["type"] == "tool_use":
        seen.calls.append((block["name"], _arguments(block["json"], seen) if block["json"] else block["input"]))


def _read_responses(body: bytes) -> Seen:
    seen = Seen()
    items: list[dict[str, Any]] = []
    ended: dict[str, Any] | None = None
    for number, (name, payload) in enumerate(events(body)):
        event = json.loads(payload)
        kind = event["type"]
        if name != kind:
            seen.broken.append(f"event line {name!r} before type {kind!r}")
        if event.get("sequence_number") != number:
            seen.broken.append(f"sequence number {event.get('sequence_number')} where {number} was due")
        if ended is not None:
            seen.broken.append(f"{kind} after the end")
        if (number == 0) != (kind == "response.created"):
            seen.broken.append(f"{kind} as number {number}")
        index = event.get("output_index")
        match kind:
            case "response.output_item.added":
                if index != len(items):
                    seen.broken.append(f"item {index} begins where {len(items)} was due")
                items.append({**event["item"], "said": "", "done": False})
            case "response.output_item.done" if index < len(items):
                _end_item(event["item"], items[index], seen)
            case "response.completed" | "response.incomplete" | "response.failed":
                ended = event["response"]
            case "error":
                ended = {"output": [item["done"] for item in items if item["done"]]}
            case _ if index is not None and index >= len(items):
                seen.broken.append(f"{kind} of item {index}, which has not begun")
            case _ if kind.endswith(".delta") and isinstance(event["delta"], str):
                items[index]["said"] += event["delta"]
    if ended is None:
        seen.broken.append("the stream has no end")
    else:
        _check_repeated(ended["output"], items, seen)
        details = ended.get("incomplete_details") or {}
        seen.finish = details.get("reason") or ended.get("status")
    return seen


TOOL_FIELDS = {
    "function_call": ("arguments",),
    "custom_tool_call": ("input",),
    "mcp_approval_request": ("arguments",),
    "local_shell_call": ("action",),
    "apply_patch_call": ("operation",),
    "computer_call": ("action",),
}


def _end_item(item: dict[str, Any], begun: dict[str, Any], seen: Seen) -> None:
    begun["done"] = item
    if (item["id"], item["type"]) != (begun["id"], begun["type"]):
        seen.broken.append(f"item {begun['id']} ends as {item['id']}")
    said = begun["said"]
    if item["type"] == "message":
        text = "".join(part.get("text") or part.get("refusal") or "" for part in item["content"])
        seen.text += text
        if not text:
            seen.broken.append("an empty message: the next request would be refused")
        if text != said:
            seen.broken.append(f"{text!r} is repeated of {said!r}")
    elif item["type"] == "function_call" and said not in ("", item["arguments"]):
        seen.broken.append(f"{item['arguments']!r} is repeated of {said!r}")
    is_hosted = str((item.get("environment") or {}).get("type")).startswith("container")
    for field_ in TOOL_FIELDS.get(item["type"], ()):
        arguments = item[field_]
        if item["type"] == "function_call":
            arguments = _arguments(arguments, seen)
        seen.calls.append((item.get("name") or item["type"].removesuffix("_call"), arguments))
    if item["type"] == "shell_call" and not is_hosted:
        seen.calls.append(("shell", item["action"]))


def _check_repeated(output: list[dict[str, Any]], items: list[dict[str, Any]], seen: Seen) -> None:
    def said(item: dict[str, Any] | bool) -> Any:
        # The seal of reasoning is made anew each time.
        return isinstance(item, dict) and {name: item[name] for name in item if name != "encrypted_content"}

    if output and [said(item) for item in output] != [said(item["done"]) for item in items]:
        seen.broken.append("the end does not repeat what was sent")
