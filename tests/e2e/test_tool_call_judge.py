"""A tool call is judged inside the live stream: only it waits, and only it is replaced."""

from __future__ import annotations

import threading

import pytest
from conftest import MakeGateway
from harness import judge as judges
from harness.answers import ToolCall
from harness.gateway import Gateway
from harness.http_server import Handler, Reply
from harness.judge import Judge
from harness.provider import Provider
from support import scripts
from support.documents import tool_call_judge
from support.exchange import CHAT, NAMES, PATHS, Answer, ask, question, streaming
from support.legality import read_legal
from support.sink import Sink

each_path = pytest.mark.parametrize("path", PATHS, ids=NAMES.get)


def held_until(release: threading.Event, then: Handler = judges.verdict) -> Handler:
    """A judge that answers when the test says so."""

    async def behaviour(reply: Reply) -> None:
        while not release.is_set():
            await reply.pause(0.01)
        await then(reply)

    return behaviour


@each_path
def test_text_reaches_the_client_while_the_call_waits(
    judged: Gateway, judge: Judge, provider: Provider, path: str
) -> None:
    provider.pace = 0.005
    release = threading.Event()
    judge.behaviour = held_until(release)
    body = b""
    with streaming(judged.url, path, question(path, "What is the weather?"), answer=Answer()) as response:
        for chunk in response.iter_raw():
            body += chunk
            if b"you." in body and not release.is_set():
                # The judge has not answered, yet all the text is here.
                assert b"get_weather" not in body
                release.set()
    assert read_legal(path, body).names == ["get_weather"]


@each_path
def test_no_byte_of_a_call_leaves_before_its_verdict(judged: Gateway, judge: Judge, path: str) -> None:
    judge.behaviour = judges.waits(0.3)
    answer = ask(judged.url, path, question(path, "What is the weather?"))
    assert answer.arrival(b"get_weather") >= judge.requests[0].arrived + 0.3


@each_path
def test_nothing_of_a_blocked_call_leaves_but_its_name(judged: Gateway, path: str) -> None:
    answer = ask(judged.url, path, question(path, "Do both."))
    seen = read_legal(path, answer.body)
    assert seen.names == ["get_weather"]
    assert b"rm -rf" not in answer.body
    assert "run_shell" in seen.text


@each_path
def test_parallel_calls_are_judged_at_the_same_time(judged: Gateway, judge: Judge, path: str) -> None:
    judge.behaviour = judges.waits(0.2)
    seen = read_legal(path, ask(judged.url, path, question(path, "Look twice.")).body)
    assert seen.names == ["get_weather", "get_weather"]
    assert judge.most_busy == 2


@each_path
def test_calls_keep_their_order_when_verdicts_do_not(
    judged: Gateway, judge: Judge, script: scripts.Register, path: str
) -> None:
    async def first_is_slow(reply: Reply) -> None:
        await reply.pause(0.3 if "first" in judges.question(reply.request) else 0)
        await judges.verdict(reply)

    judge.behaviour = first_is_slow
    calls = (ToolCall("look_up", {"word": "first"}), ToolCall("look_up", {"word": "second"}))
    pieces = scripts.recorded(path, scripts.Answer("Let me see.", calls))
    answer = ask(judged.url, path, script=script(scripts.streams(pieces)))
    assert [arguments["word"] for _, arguments in read_legal(path, answer.body).calls] == ["first", "second"]


@each_path
@pytest.mark.parametrize("prompt", ["What is the weather?", "Do both.", "Look twice."])
@pytest.mark.parametrize("cut", [1, 7, 100_000])
def test_outcome_does_not_depend_on_the_chunks(
    judged: Gateway, script: scripts.Register, path: str, prompt: str, cut: int
) -> None:
    body = b"".join(scripts.recorded(path, prompt))
    pieces = [body[start : start + cut] for start in range(0, len(body), cut)]
    answer = ask(judged.url, path, question(path, prompt), script=script(scripts.streams(pieces)))
    seen = read_legal(path, answer.body)
    assert (
        seen.names == {"What": ["get_weather"], "Do": ["get_weather"], "Look": ["get_weather"] * 2}[prompt.split()[0]]
    )


@each_path
def test_allowed_released_call_is_byte_identical(judged: Gateway, script: scripts.Register, path: str) -> None:
    pieces = scripts.recorded(path, "What is the weather?")
    answer = ask(judged.url, path, script=script(scripts.streams(pieces)))
    assert answer.body == b"".join(pieces)


@each_path
def test_tool_on_the_allow_list_is_not_judged(gateway: MakeGateway, judge: Judge, sink: Sink, path: str) -> None:
    listed = gateway(tool_call_judge(allow=["run_shell"]))
    answer = ask(listed.url, path, question(path, "Delete it."))
    assert read_legal(path, answer.body).names == ["run_shell"]
    assert not judge.requests
    assert sink.decision(answer.trace_id)["effective_decision"] == "allow"


@each_path
def test_tool_on_the_deny_list_is_blocked_without_a_judge(
    gateway: MakeGateway, judge: Judge, sink: Sink, path: str
) -> None:
    listed = gateway(tool_call_judge(deny=["get_weather"]))
    answer = ask(listed.url, path, question(path, "What is the weather?"))
    seen = read_legal(path, answer.body)
    assert seen.names == []
    assert "get_weather" in seen.text
    assert not judge.requests
    assert sink.decision(answer.trace_id)["effective_decision"] != "allow"


@each_path
@pytest.mark.parametrize(("probability", "passes"), [(0.59, True), (0.6, False), (1.0, False), (0, True)])
def test_threshold_is_the_first_probability_that_blocks(
    judged: Gateway, judge: Judge, path: str, probability: float, passes: bool
) -> None:
    judge.behaviour = judges.says(f'{{"probability": {probability}, "explanation": "so it seems"}}')
    seen = read_legal(path, ask(judged.url, path, question(path, "What is the weather?")).body)
    assert (seen.names == ["get_weather"]) == passes


@each_path
def test_blocked_exchange_is_told_in_events_and_access_log(judged: Gateway, sink: Sink, path: str) -> None:
    answer = ask(judged.url, path, question(path, "Delete it."))
    decision = sink.decision(answer.trace_id)
    assert decision["enforced"] is True
    assert decision["policy_id"] == "demo"
    assert decision["policy_revision"] == 1
    assert decision["policy_target"] == {"chat": "chat.completions"}.get(NAMES[path], NAMES[path])
    assert decision["status"] == 200
    assert decision["streamed"] is True
    assert decision["reason_code"]
    blocked = sink.wait_for(answer.trace_id, "judge.blocked")
    assert blocked["kind"] == "policy_action"
    assert "run_shell" in blocked["summary"]
    assert f'"decision":"{decision["effective_decision"]}' in judged.access_log.read_text()


@each_path
def test_no_argument_text_stands_in_events(judged: Gateway, sink: Sink, path: str) -> None:
    answer = ask(judged.url, path, question(path, "Delete it."))
    sink.decision(answer.trace_id)
    assert "rm -rf" not in str(list(sink.events(answer.trace_id)))


@each_path
def test_goes_on_observing_after_a_block(judged: Gateway, provider: Provider, sink: Sink, path: str) -> None:
    answer = ask(judged.url, path, question(path, "Do both."))
    sink.decision(answer.trace_id)
    assert provider.requests[0].replied is not None, "the upstream was read to its end"


def test_content_after_a_call_keeps_its_order(judged: Gateway, judge: Judge, script: scripts.Register) -> None:
    events = scripts.recorded(CHAT, "What is the weather?")
    later = [event for event in scripts.recorded(CHAT, "Say hello.") if b'"content":"' in event][1:]
    pieces = [*events[:-2], *later, *events[-2:]]
    judge.behaviour = judges.waits(0.2)
    seen = read_legal(CHAT, ask(judged.url, CHAT, script=script(scripts.streams(pieces))).body)
    assert seen.names == ["get_weather"]
    assert seen.text.startswith("Let me look up the weather for you.Hello!")


def test_every_choice_is_governed(judged: Gateway, script: scripts.Register) -> None:
    first = scripts.recorded(CHAT, "What is the weather?")
    second = [
        event.replace(b'"choices":[{"index":0', b'"choices":[{"index":1')
        for event in scripts.recorded(CHAT, "Be silent.")
    ]
    pieces = [*first[:-1], *second[:-1], first[-1]]
    answer = ask(judged.url, CHAT, script=script(scripts.streams(pieces)))
    assert read_legal(CHAT, answer.body).names == ["get_weather"]
    assert b"rm -rf" not in answer.body


@each_path
def test_stream_that_ends_with_trailers_is_judged_too(
    judged: Gateway, judge: Judge, script: scripts.Register, path: str
) -> None:
    judge.behaviour = judges.waits(0.1)
    pieces = scripts.recorded(path, "Do both.")
    answer = ask(judged.url, path, script=script(scripts.trails(pieces)))
    assert answer.complete
    assert read_legal(path, answer.body).names == ["get_weather"]
