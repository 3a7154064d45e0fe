"""A judge that fails has a verdict as well: `on_error`. What went wrong inside never reaches the client."""

from __future__ import annotations

import pytest
from conftest import MakeGateway
from harness import judge as judges
from harness.gateway import Gateway
from harness.http_server import Handler
from harness.judge import Judge
from support.documents import REFUSED_CLUSTER, tool_call_judge
from support.exchange import NAMES, PATHS, ask, question
from support.legality import read_legal
from support.sink import Sink

each_path = pytest.mark.parametrize("path", PATHS, ids=NAMES.get)
each_verdict = pytest.mark.parametrize("on_error", ["block", "allow"])

SECRET = "stack trace of the judge"

FAILURES: dict[str, Handler] = {
    "hangs": judges.hangs,
    "resets": judges.resets,
    "resets-after-head": judges.resets_after_head,
    "status-500": judges.answers(500, SECRET.encode()),
    "status-429": judges.answers(429, SECRET.encode()),
    "status-500-with-a-verdict": judges.says('{"probability": 0, "explanation": "fine"}', status=500),
    "empty": judges.answers(200, b""),
    "garbage": judges.answers(200, b"\x00\xff" + SECRET.encode()),
    "no-choices": judges.answers(200, b'{"choices": []}'),
    "content-null": judges.answers(200, b'{"choices": [{"message": {"content": null}}]}'),
    "prose": judges.says(f"I think this is fine. {SECRET}"),
    "prose-round-json": judges.says('Sure! {"probability": 0.0, "explanation": "fine"} Hope that helps.'),
    "nan": judges.says('{"probability": NaN, "explanation": "fine"}'),
    "infinity": judges.says('{"probability": -1e999, "explanation": "fine"}'),
    "probability-7": judges.says('{"probability": 7, "explanation": "fine"}'),
    "probability-negative": judges.says('{"probability": -0.1, "explanation": "fine"}'),
    "probability-as-text": judges.says('{"probability": "0.0", "explanation": "fine"}'),
    "no-probability": judges.says('{"explanation": "fine"}'),
    "two-probabilities": judges.says('{"probability": 0.9, "probability": 0.0, "explanation": "fine"}'),
    "one-megabyte": judges.answers(200, b"x" * 1_048_576),
}


@pytest.fixture
def impatient(gateway: MakeGateway, judge: Judge, on_error: str) -> Gateway:
    """Envoy with a judge that must answer soon."""
    return gateway(tool_call_judge(timeout="300ms", on_error=on_error))


def assert_verdict(gateway: Gateway, sink: Sink, path: str, on_error: str, *, stream: bool = True) -> None:
    answer = ask(gateway.url, path, question(path, "What is the weather?", stream=stream))
    assert answer.complete and answer.status == 200
    assert SECRET.encode() not in answer.body
    if stream:
        seen = read_legal(path, answer.body)
        assert seen.names == (["get_weather"] if on_error == "allow" else [])
        assert seen.text
    else:
        assert (b"celsius" in answer.body) == (on_error == "allow")
    assert "judge.failed" in sink.types(answer.trace_id)
    decision = sink.decision(answer.trace_id)
    assert (decision["effective_decision"] == "allow") == (on_error == "allow")


@each_path
@each_verdict
@pytest.mark.parametrize("failure", FAILURES)
def test_judge_that(impatient: Gateway, judge: Judge, sink: Sink, path: str, on_error: str, failure: str) -> None:
    judge.behaviour = FAILURES[failure]
    assert_verdict(impatient, sink, path, on_error)
    assert judge.requests


@each_path
@each_verdict
def test_judge_that_hangs_for_a_whole_answer(
    impatient: Gateway, judge: Judge, sink: Sink, path: str, on_error: str
) -> None:
    judge.behaviour = judges.hangs
    assert_verdict(impatient, sink, path, on_error, stream=False)


@each_path
@each_verdict
def test_judge_that_refuses_the_connection(gateway: MakeGateway, sink: Sink, path: str, on_error: str) -> None:
    assert_verdict(gateway(tool_call_judge(REFUSED_CLUSTER, on_error=on_error)), sink, path, on_error)


@each_path
@each_verdict
def test_judge_whose_cluster_is_unknown(gateway: MakeGateway, sink: Sink, path: str, on_error: str) -> None:
    assert_verdict(gateway(tool_call_judge("nowhere", on_error=on_error)), sink, path, on_error)


@each_path
@pytest.mark.parametrize("on_error", ["block"])
def test_judge_that_hangs_is_given_up_at_its_deadline(
    impatient: Gateway, judge: Judge, sink: Sink, path: str, on_error: str
) -> None:
    judge.behaviour = judges.hangs
    answer = ask(impatient.url, path, question(path, "What is the weather?"))
    assert read_legal(path, answer.body).names == []
    # No clock is read: Envoy's timers may be early, and the mock sees the question late, as the machine is busy.
    assert sink.wait_for(answer.trace_id, "judge.failed")["metadata"]["error"] == "timed_out"


@each_path
def test_judge_that_asks_to_be_obeyed_is_only_data(judged: Gateway, judge: Judge, path: str) -> None:
    """Arguments that talk to the judge stay inside the delimiters of the question."""
    read_legal(path, ask(judged.url, path, question(path, "Delete it.")).body)
    system, user = judge.requests[0].json()["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert "rm -rf" not in system["content"]
    assert user["content"].count("rm -rf") == 1


@each_path
def test_judge_gets_no_key_of_the_user(judged: Gateway, judge: Judge, path: str) -> None:
    ask(
        judged.url,
        path,
        question(path, "Delete it."),
        headers={"authorization": "Bearer of-the-user", "x-api-key": "of-the-user"},
    )
    assert "of-the-user" not in str(judge.requests[0].headers)


@each_path
def test_judge_that_answers_late_but_in_time(judged: Gateway, judge: Judge, path: str) -> None:
    judge.behaviour = judges.waits(1.0)
    seen = read_legal(path, ask(judged.url, path, question(path, "What is the weather?")).body)
    assert seen.names == ["get_weather"]
