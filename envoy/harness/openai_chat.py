"""OpenAI `chat.completions` as the mock provider speaks it: strict about what comes in, exact in what goes out."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

from harness.answers import Answer, InvalidRequest, answer_to, new_id, tokens

PATH = "/v1/chat/completions"
ROLES = {"assistant", "developer", "system", "tool", "user"}


def error(status: int, message: str, param: str | None = None) -> tuple[int, dict[str, Any]]:
    return status, {
        "error": {"message": message, "type": "invalid_request_error", "param": param, "code": None},
    }


def validate(body: Any) -> None:
    """Raises `InvalidRequest` where the real API answers 400: a refused call must not poison the next turn."""
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise InvalidRequest("you must provide a model parameter")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("Invalid 'messages': empty array. Expected an array with minimum length 1.", "messages")
    unanswered: list[str] = []
    for index, message in enumerate(messages):
        at = f"messages.[{index}]"
        role = message.get("role")
        if role not in ROLES:
            raise InvalidRequest(f"Invalid value: {role!r}. Supported values are: {sorted(ROLES)}.", f"{at}.role")
        if role == "tool":
            call_id = message.get("tool_call_id")
            if call_id not in unanswered:
                raise InvalidRequest(
                    "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
                    f"{at}.role",
                )
            unanswered.remove(call_id)
            continue
        _require_all_answered(unanswered, at)
        if role == "assistant":
            unanswered = _tool_call_ids(message, at)
        elif not message.get("content"):
            raise InvalidRequest(
                f"Invalid value for 'content': expected a string or an array in {at}.", f"{at}.content"
            )
    _require_all_answered(unanswered, "messages")


def _require_all_answered(unanswered: list[str], at: str) -> None:
    if unanswered:
        raise InvalidRequest(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(unanswered)}",
            f"{at}.role",
        )


def _tool_call_ids(message: dict[str, Any], at: str) -> list[str]:
    calls = message.get("tool_calls")
    if calls is None:
        if message.get("content") is None and message.get("refusal") is None:
            raise InvalidRequest(f"Invalid value for 'content': expected a string, got null in {at}.", f"{at}.content")
        return []
    if not calls:
        raise InvalidRequest(
            f"Invalid '{at}.tool_calls': empty array. Expected an array with minimum length 1.", f"{at}.tool_calls"
        )
    for index, call in enumerate(calls):
        function = call.get("function", {})
        if not call.get("id") or call.get("type") != "function" or not function.get("name"):
            raise InvalidRequest("Missing required parameter of a tool call.", f"{at}.tool_calls[{index}]")
        if not isinstance(function.get("arguments"), str):
            raise InvalidRequest(
                "Invalid type for 'arguments': expected a string.", f"{at}.tool_calls[{index}].function.arguments"
            )
    return [call["id"] for call in calls]


def answer(body: dict[str, Any]) -> Answer:
    last = body["messages"][-1]
    if last["role"] == "tool":
        return Answer(f"The tool said: {last.get('content')}")
    return answer_to(_text(last.get("content")))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or [])


def whole(body: dict[str, Any], reply: Answer) -> dict[str, Any]:
    """The answer as one JSON document (`stream` false)."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None, "refusal": None, "annotations": []}
    if reply.calls:
        message["tool_calls"] = [
            {"id": new_id("call_"), "type": "function", "function": {"name": call.name, "arguments": call.json()}}
            for call in reply.calls
        ]
    return {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(reply)},
        ],
        "usage": _usage(reply),
        "service_tier": "default",
        "system_fingerprint": "fp_mock",
    }


def events(body: dict[str, Any], reply: Answer) -> Iterator[bytes]:
    """The answer as server-sent events, one per token."""
    with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    base = {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": body["model"],
        "service_tier": "default",
        "system_fingerprint": "fp_mock",
    }

    def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if with_usage else {}
        return _event({**base, "choices": [choice], **usage, "obfuscation": secrets.token_urlsafe(4)})

    yield chunk({"role": "assistant", "content": "" if reply.text else None, "refusal": None})
    for token in tokens(reply.text):
        yield chunk({"content": token})
    for index, call in enumerate(reply.calls):
        function = {"name": call.name, "arguments": ""}
        yield chunk({"tool_calls": [{"index": index, "id": new_id("call_"), "type": "function", "function": function}]})
        for token in tokens(call.json()):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": token}}]})
    yield chunk({}, _finish_reason(reply))
    if with_usage:
        yield _event({**base, "choices": [], "usage": _usage(reply), "obfuscation": ""})
    yield b"data: [DONE]\n\n"


def _event(value: dict[str, Any]) -> bytes:
    return b"data: %s\n\n" % json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _finish_reason(reply: Answer) -> str:
    return "tool_calls" if reply.calls else "stop"


def _usage(reply: Answer) -> dict[str, Any]:
    completion = len(reply.text.split()) + 12 * len(reply.calls)
    return {
        "prompt_tokens": 24,
        "completion_tokens": completion,
        "total_tokens": 24 + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "accepted_prediction_tokens": 0},
    }
