"""Anthropic `messages` as the mock provider speaks it: strict about what comes in, exact in what goes out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from harness.answers import Answer, InvalidRequest, answer_to, new_id, tokens

PATH = "/v1/messages"


def error(status: int, message: str, param: str | None = None) -> tuple[int, dict[str, Any]]:
    kind = "invalid_request_error" if status < 500 else "api_error"
    return status, {
        "type": "error",
        "error": {"type": kind, "message": f"{param}: {message}" if param else message},
        "request_id": new_id("req_"),
    }


def validate(body: Any) -> None:
    """Raises `InvalidRequest` where the real API answers 400: a refused call must not poison the next turn."""
    if not isinstance(body, dict):
        raise InvalidRequest("Input should be a valid dictionary")
    for name, kind in (("model", str), ("max_tokens", int), ("messages", list)):
        if not isinstance(body.get(name), kind):
            raise InvalidRequest("Field required", name)
    messages = body["messages"]
    if not messages:
        raise InvalidRequest("at least one message is required", "messages")
    expected: list[str] = []
    for index, message in enumerate(messages):
        at = f"messages.{index}"
        role = "assistant" if index % 2 else "user"
        if message.get("role") != role:
            raise InvalidRequest('roles must alternate between "user" and "assistant", starting with "user"', at)
        blocks = _blocks(message.get("content"), at)
        if role == "user":
            _require_results(expected, blocks, at)
        expected = _tool_use_ids(blocks, at) if role == "assistant" else []
    _require_results(expected, [], f"messages.{len(messages)}")


def _blocks(content: Any, at: str) -> list[dict[str, Any]]:
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not content:
        raise InvalidRequest(
            "all messages must have non-empty content except for the optional final assistant message", at
        )
    for block in content:
        if block.get("type") == "text" and not block.get("text"):
            raise InvalidRequest("text content blocks must be non-empty", at)
    return content


def _tool_use_ids(blocks: list[dict[str, Any]], at: str) -> list[str]:
    ids: list[str] = []
    for index, block in enumerate(blocks):
        if block.get("type") == "tool_use":
            if not isinstance(block.get("input"), dict) or not block.get("name") or not block.get("id"):
                raise InvalidRequest("Input should be a valid dictionary", f"{at}.content.{index}.tool_use.input")
            if block["id"] in ids:
                raise InvalidRequest("`tool_use` ids must be unique", at)
            ids.append(block["id"])
        elif ids:
            # The real API takes what follows as the next turn and then misses the results (checked live by others).
            raise InvalidRequest(
                "`tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(ids)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                "next message.",
                at,
            )
    return ids


def _require_results(expected: list[str], blocks: list[dict[str, Any]], at: str) -> None:
    results = [block.get("tool_use_id") for block in blocks if block.get("type") == "tool_result"]
    for result in results:
        if result not in expected:
            raise InvalidRequest(
                f"unexpected `tool_use_id` found in `tool_result` blocks: {result}. Each `tool_result` block must "
                "have a corresponding `tool_use` block in the previous message.",
                at,
            )
    missing = [each for each in expected if each not in results]
    leading = [block.get("type") for block in blocks[: len(results)]]
    if missing or any(kind != "tool_result" for kind in leading):
        raise InvalidRequest(
            "`tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(missing or expected)}. Each `tool_use` block must have a corresponding `tool_result` block "
            "in the next message.",
            at,
        )


def answer(body: dict[str, Any]) -> Answer:
    blocks = _blocks(body["messages"][-1]["content"], "messages")
    results = [block for block in blocks if block["type"] == "tool_result"]
    if results:
        return Answer(f"The tool said: {results[0].get('content')}")
    return answer_to(" ".join(block.get("text", "") for block in blocks))


def whole(body: dict[str, Any], reply: Answer) -> dict[str, Any]:
    """The answer as one JSON document (`stream` false)."""
    content: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
    content += [
        {"type": "tool_use", "id": new_id("toolu_"), "name": call.name, "input": call.arguments} for call in reply.calls
    ]
    return {
        **_message(body),
        "content": content,
        "stop_reason": _stop_reason(reply),
        "usage": {**_INPUT_USAGE, "output_tokens": _output_tokens(reply)},
    }


def events(body: dict[str, Any], reply: Answer) -> Iterator[bytes]:
    """The answer as server-sent events, one per token."""
    start = {**_message(body), "usage": {**_INPUT_USAGE, "output_tokens": 1}}
    yield _event({"type": "message_start", "message": start})
    if reply.text:
        yield _event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
        yield _event({"type": "ping"})
        for token in tokens(reply.text):
            yield _event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": token}})
        yield _event({"type": "content_block_stop", "index": 0})
    for index, call in enumerate(reply.calls, start=1 if reply.text else 0):
        block = {"type": "tool_use", "id": new_id("toolu_"), "name": call.name, "input": {}}
        yield _event({"type": "content_block_start", "index": index, "content_block": block})
        for token in ("", *tokens(call.json())):
            delta = {"type": "input_json_delta", "partial_json": token}
            yield _event({"type": "content_block_delta", "index": index, "delta": delta})
        yield _event({"type": "content_block_stop", "index": index})
    yield _event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": _stop_reason(reply), "stop_sequence": None},
            "usage": {"output_tokens": _output_tokens(reply)},
        }
    )
    yield _event({"type": "message_stop"})


_INPUT_USAGE = {"input_tokens": 24, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}


def _message(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": new_id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _event(value: dict[str, Any]) -> bytes:
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return b"event: %s\ndata: %s\n\n" % (value["type"].encode(), data)


def _stop_reason(reply: Answer) -> str:
    return "tool_use" if reply.calls else "end_turn"


def _output_tokens(reply: Answer) -> int:
    return len(reply.text.split()) + 12 * len(reply.calls)
