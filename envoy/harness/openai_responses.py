"""OpenAI `responses` as the mock provider speaks it: strict about what comes in, exact in what goes out."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

from harness.answers import Answer, InvalidRequest, answer_to, new_id, tokens
from harness.openai_chat import error

__all__ = ["PATH", "answer", "error", "events", "validate", "whole"]

PATH = "/v1/responses"
ROLES = {"assistant", "developer", "system", "user"}


def validate(body: Any) -> None:
    """Raises `InvalidRequest` where the real API answers 400: a refused call must not poison the next turn."""
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise InvalidRequest("you must provide a model parameter")
    items = _input(body)
    if not items:
        raise InvalidRequest("Missing required parameter: 'input'.", "input")
    unanswered: list[str] = []
    for index, item in enumerate(items):
        at = f"input[{index}]"
        match item.get("type", "message"):
            case "message":
                _check_message(item, at)
            case "function_call":
                _check_call(item, at)
                unanswered.append(item["call_id"])
            case "function_call_output":
                if item.get("call_id") not in unanswered:
                    raise InvalidRequest(
                        f"No tool call found for function call output with call_id {item.get('call_id')}.", "input"
                    )
                unanswered.remove(item["call_id"])
            case other:
                raise InvalidRequest(f"Invalid value: {other!r}.", f"{at}.type")
    if unanswered:
        raise InvalidRequest(f"No tool output found for function call {unanswered[0]}.", "input")


def _input(body: dict[str, Any]) -> list[dict[str, Any]]:
    items = body.get("input")
    return [{"role": "user", "content": items}] if isinstance(items, str) and items else items or []


def _check_message(item: dict[str, Any], at: str) -> None:
    if item.get("role") not in ROLES:
        raise InvalidRequest(f"Invalid value: {item.get('role')!r}.", f"{at}.role")
    content = item.get("content")
    parts = content if isinstance(content, list) else [{"type": "output_text", "text": content}]
    if not parts or not all(part.get("text") or part.get("refusal") for part in parts):
        raise InvalidRequest("Invalid value for 'content': expected a text that is not empty.", f"{at}.content")


def _check_call(item: dict[str, Any], at: str) -> None:
    for name in ("call_id", "name"):
        if not item.get(name):
            raise InvalidRequest(f"Missing required parameter: '{at}.{name}'.", f"{at}.{name}")
    if not isinstance(item.get("arguments"), str):
        raise InvalidRequest("Invalid type for 'arguments': expected a string.", f"{at}.arguments")


def answer(body: dict[str, Any]) -> Answer:
    last = _input(body)[-1]
    if last.get("type") == "function_call_output":
        return Answer(f"The tool said: {last.get('output')}")
    content = last.get("content")
    return answer_to(content if isinstance(content, str) else " ".join(part.get("text", "") for part in content or []))


def whole(body: dict[str, Any], reply: Answer) -> dict[str, Any]:
    """The answer as one JSON document (`stream` false)."""
    return _response(body, "completed", _items(reply), reply)


def events(body: dict[str, Any], reply: Answer) -> Iterator[bytes]:
    """The answer as server-sent events, one per token."""
    sequence = 0

    def event(kind: str, **fields: Any) -> bytes:
        nonlocal sequence
        value = {"type": kind, "sequence_number": sequence, **fields}
        sequence += 1
        data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), data)

    begun = _response(body, "in_progress", [], None)
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    items = _items(reply)
    for index, item in enumerate(items):
        is_message = item["type"] == "message"
        empty = {"content": []} if is_message else {"arguments": ""}
        yield event("response.output_item.added", output_index=index, item={**item, "status": "in_progress", **empty})
        at = {"item_id": item["id"], "output_index": index}
        if is_message:
            at["content_index"] = 0
            part = item["content"][0]
            yield event("response.content_part.added", **at, part={**part, "text": ""})
            for token in tokens(part["text"]):
                padding = secrets.token_urlsafe(4)
                yield event("response.output_text.delta", **at, delta=token, logprobs=[], obfuscation=padding)
            yield event("response.output_text.done", **at, text=part["text"], logprobs=[])
            yield event("response.content_part.done", **at, part=part)
        else:
            for token in tokens(item["arguments"]):
                padding = secrets.token_urlsafe(4)
                yield event("response.function_call_arguments.delta", **at, delta=token, obfuscation=padding)
            yield event("response.function_call_arguments.done", **at, arguments=item["arguments"])
        yield event("response.output_item.done", output_index=index, item=item)
    yield event("response.completed", response={**begun, **_ended(items, reply)})


def _items(reply: Answer) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if reply.text:
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": reply.text}
        message = {"id": new_id("msg_"), "type": "message", "status": "completed", "content": [part]}
        items.append({**message, "role": "assistant"})
    items += [
        {
            "id": new_id("fc_"),
            "type": "function_call",
            "status": "completed",
            "arguments": call.json(),
            "call_id": new_id("call_"),
            "name": call.name,
        }
        for call in reply.calls
    ]
    return items


def _response(body: dict[str, Any], status: str, items: list[dict[str, Any]], reply: Answer | None) -> dict[str, Any]:
    response = {
        "id": new_id("resp_"),
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "model": body["model"],
        "output": items,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": body.get("tools", []),
        "usage": None,
        "metadata": {},
    }
    return {**response, **_ended(items, reply)} if reply else response


def _ended(items: list[dict[str, Any]], reply: Answer) -> dict[str, Any]:
    output = len(reply.text.split()) + 12 * len(reply.calls)
    usage = {
        "input_tokens": 24,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 24 + output,
    }
    return {"status": "completed", "output": items, "usage": usage}
