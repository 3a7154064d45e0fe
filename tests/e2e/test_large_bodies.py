"""Bodies up to the limits of the shipped configuration, and just above, in both directions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import MakeGateway
from harness.gateway import Gateway
from harness.provider import Provider
from support import scripts
from support.documents import no_op, tool_call_judge, with_limits
from support.exchange import CHAT, NAMES, PATHS, RESPONSES, Answer, ask, question
from support.sink import Sink

LIMIT = 10 * 1024 * 1024
each_path = pytest.mark.parametrize("path", PATHS, ids=NAMES.get)


def request_of(path: str, size: int) -> bytes:
    """A request of exactly that many bytes."""
    empty = len(json.dumps(question(path, "", stream=False)).encode())
    return json.dumps(question(path, "y" * (size - empty), stream=False)).encode()


def answer_of(path: str, size: int) -> bytes:
    """A whole answer of exactly that many bytes, which calls a harmful tool."""

    def document(text: str) -> dict[str, Any]:
        if path == CHAT:
            function = {"name": "run_shell", "arguments": '{"command": "rm -rf /"}'}
            call = {"id": "call_1", "type": "function", "function": function}
            message = {"role": "assistant", "content": text, "tool_calls": [call]}
            choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
            return {"id": "c", "object": "chat.completion", "created": 1, "model": "mock", "choices": [choice]}
        if path == RESPONSES:
            call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "run_shell"}
            part = {"type": "output_text", "text": text, "annotations": []}
            head = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
            output = [head, {**call, "status": "completed", "arguments": '{"command": "rm -rf /"}'}]
            response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "mock", "status": "completed"}
            return {**response, "output": output}
        call = {"type": "tool_use", "id": "toolu_1", "name": "run_shell", "input": {"command": "rm -rf /"}}
        content = [{"type": "text", "text": text}, call]
        usage = {"input_tokens": 1, "output_tokens": 1}
        head = {"id": "m", "type": "message", "role": "assistant", "model": "mock", "content": content}
        return {**head, "stop_reason": "tool_use", "stop_sequence": None, "usage": usage}

    return json.dumps(document("x" * (size - len(json.dumps(document("")))))).encode()


def ask_for(gateway: Gateway, script: scripts.Register, path: str, body: bytes) -> Answer:
    name = script(scripts.replies(200, body, [("content-type", "application/json")]))
    return ask(gateway.url, path, question(path, stream=False), script=name)


@each_path
@pytest.mark.parametrize("size", [9_900_000, LIMIT])
def test_request_up_to_the_limit(judged: Gateway, provider: Provider, path: str, size: int) -> None:
    body = request_of(path, size)
    assert len(body) == size
    assert ask(judged.url, path, body).status == 200
    assert provider.requests[0].body == body


@each_path
def test_request_above_the_limit(judged: Gateway, provider: Provider, sink: Sink, path: str) -> None:
    answer = ask(judged.url, path, request_of(path, LIMIT + 1))
    assert answer.status == 413
    assert "limits.max_request_bytes" in answer.error_message(path)
    assert sink.decision(answer.trace_id)["reason_code"] == "REQUEST_TOO_LARGE"
    assert not provider.requests


@each_path
@pytest.mark.parametrize("size", [9_900_000, LIMIT])
def test_response_up_to_the_limit(
    judged: Gateway, passing: Gateway, script: scripts.Register, path: str, size: int
) -> None:
    body = answer_of(path, size)
    assert len(body) == size
    untouched = ask_for(passing, script, path, body)
    assert untouched.complete and untouched.body == body
    refused = ask_for(judged, script, path, body)
    assert (refused.status, refused.complete) == (200, True)
    text = json.dumps(refused.json())
    assert "BLOCKED" in text and "rm -rf" not in text and "x" * 1_000_000 in text


@each_path
def test_response_above_the_limit(judged: Gateway, script: scripts.Register, sink: Sink, path: str) -> None:
    answer = ask_for(judged, script, path, answer_of(path, LIMIT + 1))
    assert answer.complete and b"rm -rf" not in answer.body and len(answer.body) < 10_000
    assert sink.decision(answer.trace_id)["reason_code"] == "RESPONSE_TOO_LARGE"


@each_path
@pytest.mark.parametrize("hold", ["headers", "body"])
def test_long_request_that_grows(gateway: MakeGateway, provider: Provider, path: str, hold: str) -> None:
    doubling = {"replace": [{"find": "y", "with": "zz"}], "scope": [], "request": ["user"]}
    document = {
        **with_limits(no_op()),
        "chain": [{"use": "content_transform", "with": doubling}],
        "envoy": {"request_hold": hold},
    }
    growing = gateway(document, hold_request_head=hold == "headers")
    for size in (1_000, 100_000, 5_000_000):
        answer = ask(growing.url, path, request_of(path, size))
        assert answer.status == 200, answer.body
        content = provider.requests[-1].json()["input" if path == RESPONSES else "messages"][0]["content"]
        assert content == "zz" * (len(content) // 2) and len(content) > size


def test_judged_answer_of_many_bytes_waits_for_its_judge(
    gateway: MakeGateway, script: scripts.Register, sink: Sink
) -> None:
    """The proxy is paused with all of the answer in its buffer."""
    judged = gateway(tool_call_judge(timeout="6s"))
    answer = ask_for(judged, script, CHAT, answer_of(CHAT, 5_000_000))
    assert answer.complete and b"rm -rf" not in answer.body
    assert sink.decision(answer.trace_id)["decision"] == "refuse"
