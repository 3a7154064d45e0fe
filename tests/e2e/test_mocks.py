"""The mocks themselves, through Envoy without Weir.

A provider that accepted anything would make the two-turn test idle.
"""

from __future__ import annotations

from typing import Any

import pytest
from harness.gateway import Gateway
from support.exchange import CHAT, MESSAGES, PATHS, RESPONSES, ask, question
from support.legality import read_legal

USER = {"role": "user", "content": "Hi."}
CHAT_CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
MESSAGES_CALL = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}
MESSAGES_RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "fine"}
TEXT = {"type": "text", "text": "Sure."}
RESPONSES_CALL = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": "{}"}
RESPONSES_RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "fine"}


def assistant(**fields: Any) -> dict[str, Any]:
    return {"role": "assistant", **fields}


def user(*content: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


REFUSED = {
    CHAT: {
        "assistant without content and calls": [USER, assistant(content=None), USER],
        "empty tool_calls": [USER, assistant(content="Hi.", tool_calls=[]), USER],
        "tool message without a call": [USER, {"role": "tool", "tool_call_id": "call_1", "content": "x"}],
        "call without an answer": [USER, assistant(tool_calls=[CHAT_CALL]), USER],
        "call without an answer at the end": [USER, assistant(tool_calls=[CHAT_CALL])],
        "arguments that are no string": [
            USER,
            assistant(tool_calls=[{**CHAT_CALL, "function": {"name": "get_weather", "arguments": {}}}]),
            {"role": "tool", "tool_call_id": "call_1", "content": "x"},
        ],
        "unknown role": [{"role": "robot", "content": "Hi."}],
        "no messages": [],
    },
    MESSAGES: {
        "text after tool_use": [USER, assistant(content=[MESSAGES_CALL, TEXT]), user(MESSAGES_RESULT)],
        "empty text block": [USER, assistant(content=[{"type": "text", "text": ""}]), USER],
        "empty content": [USER, assistant(content=[]), USER],
        "tool_result without tool_use": [USER, assistant(content=[TEXT]), user(MESSAGES_RESULT)],
        "tool_use without tool_result": [USER, assistant(content=[MESSAGES_CALL]), USER],
        "tool_result after text": [USER, assistant(content=[MESSAGES_CALL]), user(TEXT, MESSAGES_RESULT)],
        "two user messages": [USER, USER],
        "no messages": [],
    },
    RESPONSES: {
        "empty message": [USER, assistant(type="message", content=[]), USER],
        "message with an empty part": [USER, assistant(content=[{"type": "output_text", "text": ""}]), USER],
        "call without an output": [USER, RESPONSES_CALL, USER],
        "output without a call": [USER, RESPONSES_RESULT],
        "call without a name": [USER, {**RESPONSES_CALL, "name": ""}, RESPONSES_RESULT],
        "arguments that are no string": [USER, {**RESPONSES_CALL, "arguments": {}}, RESPONSES_RESULT],
        "unknown role": [{"role": "robot", "content": "Hi."}],
        "unknown type": [USER, {"type": "guess"}],
        "no items": [],
    },
}

ACCEPTED = {
    CHAT: [USER, assistant(tool_calls=[CHAT_CALL]), {"role": "tool", "tool_call_id": "call_1", "content": "fine"}],
    MESSAGES: [USER, assistant(content=[TEXT, MESSAGES_CALL]), user(MESSAGES_RESULT)],
    RESPONSES: [USER, RESPONSES_CALL, RESPONSES_RESULT],
}


def turns(path: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    return question(path, **{"input" if path == RESPONSES else "messages": messages})


@pytest.mark.parametrize(("path", "case"), [(path, case) for path in PATHS for case in REFUSED[path]])
def test_provider_refuses_what_the_real_one_refuses(plain: Gateway, path: str, case: str) -> None:
    answer = ask(plain.url, path, turns(path, REFUSED[path][case]))
    assert answer.status == 400
    answer.error_message(path)


@pytest.mark.parametrize("path", PATHS)
def test_provider_accepts_a_conversation_with_tool_results(plain: Gateway, path: str) -> None:
    answer = ask(plain.url, path, turns(path, ACCEPTED[path]))
    assert answer.status == 200
    assert "fine" in read_legal(path, answer.body).text


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("prompt", "names"),
    [("hello", []), ("weather", ["get_weather"]), ("delete", ["run_shell"]), ("both", ["get_weather", "run_shell"])],
)
def test_provider_streams_what_it_was_asked_for(plain: Gateway, path: str, prompt: str, names: list[str]) -> None:
    seen = read_legal(path, ask(plain.url, path, question(path, prompt)).body)
    assert seen.names == names
    assert seen.text
