"""Envoy's own settings: the shipped ones, those of a plain Istio WasmPlugin, and limits below the policy's."""

from __future__ import annotations

import pytest
from conftest import MakeGateway
from harness import judge as judges
from harness.answers import ToolCall
from harness.judge import Judge
from harness.provider import Provider
from support import scripts
from support.documents import Document, reading, tool_call_judge
from support.exchange import NAMES, PATHS, ask, question
from support.legality import read_legal
from support.sink import Sink

each_path = pytest.mark.parametrize("path", PATHS, ids=NAMES.get)
each_mode = pytest.mark.parametrize("hold", [True, False], ids=["holds-head", "sends-head-on"])
each_promise = pytest.mark.parametrize("promise", ["headers", "body", None], ids=["told-head", "told-body", "untold"])


def told(policy: Document, promise: str | None) -> Document:
    """The document with its word on how much of a request Envoy can be asked to hold."""
    return {**policy, "envoy": {"request_hold": promise} if promise else {}}


@each_path
@each_mode
@each_promise
@pytest.mark.parametrize("prompt", ["Say hello.", "Do both."])
def test_nothing_hangs_whatever_the_setting_says(
    gateway: MakeGateway, path: str, hold: bool, promise: str | None, prompt: str
) -> None:
    """A setting that does not fit the proxy never hangs a request, nor lets its head leave: it is refused."""
    envoy = gateway(told(tool_call_judge(), promise), hold_request_head=hold)
    if promise == "headers" and not hold:
        if (path, prompt) == (PATHS[0], "Say hello."):
            answer = ask(envoy.url, path, question(path, prompt), timeout=20)
            assert answer.status == 500
            assert b"request_hold_unsupported" in answer.body
        return
    for _ in range(3):
        seen = read_legal(path, ask(envoy.url, path, question(path, prompt), timeout=20).body)
        assert seen.names == (["get_weather"] if prompt == "Do both." else [])


@each_path
@each_mode
def test_refused_request_gets_its_error_in_both_modes(
    gateway: MakeGateway, provider: Provider, path: str, hold: bool
) -> None:
    envoy = gateway(told(tool_call_judge(), "headers" if hold else "body"), hold_request_head=hold)
    answer = ask(envoy.url, path, b"no request")
    assert answer.status == 400
    answer.error_message(path)
    assert all(not request.body for request in provider.requests)


@each_path
def test_provider_sees_nothing_of_a_refused_request(gateway: MakeGateway, provider: Provider, path: str) -> None:
    answer = ask(gateway(tool_call_judge(), hold_request_head=True).url, path, b"no request")
    # The head of an earlier test's request can still be on its way.
    assert not [seen for seen in provider.requests if answer.trace_id in seen.headers.get("traceparent", "")]


@each_path
def test_large_request_without_the_setting(gateway: MakeGateway, provider: Provider, path: str) -> None:
    envoy = gateway(told(reading(), "body"), hold_request_head=False)
    answer = ask(envoy.url, path, question(path, "y" * 3_000_000))
    assert answer.status == 200
    [request] = [seen for seen in provider.requests if answer.trace_id in seen.headers.get("traceparent", "")]
    assert len(request.body) > 3_000_000


@each_path
def test_buffer_limit_of_envoy_below_the_configured_hold(
    gateway: MakeGateway, judge: Judge, sink: Sink, script: scripts.Register, path: str
) -> None:
    """Envoy ends such a response itself: nothing of the call leaves, Envoy lives, the next request works."""
    tight = gateway(tool_call_judge(), buffer_limit=16_384)
    judge.behaviour = judges.waits(0.3)
    call = ToolCall("write_file", {"content": "x" * 400_000})
    pieces = scripts.recorded(path, scripts.Answer("Writing.", (call,)))
    joined = b"".join(pieces)
    answer = ask(tight.url, path, script=script(scripts.streams([joined])))
    if answer.complete and answer.status == 200:
        assert read_legal(path, answer.body).text
    else:
        assert b"xxxx" not in answer.body
    assert sink.decision(answer.trace_id)
    assert read_legal(path, ask(tight.url, path, question(path, "Do both.")).body).names == ["get_weather"]


@each_path
def test_idle_timeout_below_the_judges_timeout(gateway: MakeGateway, judge: Judge, sink: Sink, path: str) -> None:
    """Envoy gives the stream up first: nothing unjudged leaves."""
    hasty = gateway(tool_call_judge(), stream_idle_timeout="0.5s")
    judge.behaviour = judges.waits(1.5)
    answer = ask(hasty.url, path, question(path, "What is the weather?"))
    assert b"celsius" not in answer.body
    assert sink.decision(answer.trace_id)
