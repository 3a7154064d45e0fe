"""Peers that leave while a judge is asked: one event each, nothing leaks, and the VM lives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from harness import judge as judges
from harness.gateway import Gateway
from harness.judge import Judge
from harness.provider import Provider
from support import scripts
from support.exchange import NAMES, PATHS, Answer, ask, question, streaming
from support.legality import read_legal
from support.sink import Sink

each_path = pytest.mark.parametrize("path", PATHS, ids=NAMES.get)


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Polls until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def assert_one_decision(sink: Sink, trace_id: str) -> None:
    sink.decision(trace_id)
    decisions = [event for event in sink.events(trace_id) if event["event_type"] == "enforcement"]
    assert len(decisions) == 1


@each_path
def test_client_leaves_while_the_judge_is_asked(
    judged: Gateway, judge: Judge, provider: Provider, sink: Sink, path: str
) -> None:
    judge.behaviour = judges.waits(0.5)
    provider.pace = 0.005
    answer = Answer()
    with streaming(judged.url, path, question(path, "What is the weather?"), answer=answer):
        eventually(lambda: judge.requests)
    assert_one_decision(sink, answer.trace_id)
    # The late verdict finds no stream any more.
    eventually(lambda: judge.busy == 0)
    assert read_legal(path, ask(judged.url, path, question(path, "Do both.")).body).names == ["get_weather"]


@each_path
def test_client_leaves_in_the_middle_of_the_text(
    judged: Gateway, provider: Provider, sink: Sink, script: scripts.Register, path: str
) -> None:
    events = scripts.recorded(path, "Say hello.")
    token = next(event for event in events if b"Hello" in event)
    opening = events[: events.index(token)]
    answer = Answer()
    name = script(scripts.never_ends(opening, token))
    with streaming(judged.url, path, answer=answer, script=name) as response:
        next(response.iter_raw())
    eventually(lambda: provider.requests[0].closed_by_peer)
    assert_one_decision(sink, answer.trace_id)


@each_path
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "cut"])
def test_upstream_breaks_off_while_the_judge_is_asked(
    judged: Gateway, judge: Judge, sink: Sink, script: scripts.Register, path: str, reset: bool
) -> None:
    judge.behaviour = judges.waits(0.3)
    asked = threading.Event()

    async def tell_and_wait(reply: judges.Reply) -> None:
        asked.set()
        await judges.waits(0.3)(reply)

    judge.behaviour = tell_and_wait
    events = scripts.recorded(path, "What is the weather?")
    # All but the proper end: the call is complete, the stream is not.
    pieces = events[:-1]
    answer = ask(judged.url, path, script=script(scripts.cuts(pieces, reset=reset, wait_for=asked)))
    assert not answer.complete or b"celsius" not in answer.body
    assert_one_decision(sink, answer.trace_id)
    eventually(lambda: judge.busy == 0)


@each_path
def test_response_ends_while_the_judge_is_asked(judged: Gateway, judge: Judge, path: str) -> None:
    """The upstream is complete long before the verdict; the stream still ends properly."""
    judge.behaviour = judges.waits(0.5)
    answer = ask(judged.url, path, question(path, "Do both."))
    assert answer.complete
    assert read_legal(path, answer.body).names == ["get_weather"]


@each_path
def test_many_clients_leave_at_once(judged: Gateway, judge: Judge, sink: Sink, path: str) -> None:
    judge.behaviour = judges.waits(0.2)
    answers = [Answer() for _ in range(20)]

    def leave(answer: Answer) -> None:
        with streaming(judged.url, path, question(path, "Do both."), answer=answer):
            eventually(lambda: judge.requests)

    threads = [threading.Thread(target=leave, args=[answer]) for answer in answers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        assert_one_decision(sink, answer.trace_id)
