"""The official client libraries must not notice Weir, unless a policy acts; and then see a valid answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from harness.gateway import Gateway
from harness.judge import Judge, question
from harness.provider import Provider
from support.clients import CLIENTS, Client, Turn
from support.javascript import JAVASCRIPT_CLIENTS
from support.sink import Sink

Connect = Callable[[Gateway], Client]

streamed = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


@pytest.fixture(params=[*CLIENTS, *JAVASCRIPT_CLIENTS], ids=lambda client: client.name)
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Connects one of the official libraries to an Envoy."""
    clients: list[Client] = []

    def connect_to(gateway: Gateway) -> Client:
        clients.append(request.param(gateway.url))
        return clients[-1]

    yield connect_to
    for client in clients:
        client.close()


@streamed
def test_text_passes(judged: Gateway, connect: Connect, judge: Judge, sink: Sink, stream: bool) -> None:
    client = connect(judged)
    turn = client.send("Say hello.", stream=stream)
    assert turn.text.startswith("Hello!") and turn.text.endswith("👋")
    assert (turn.calls, turn.finish) == ([], client.finish_text)
    assert not judge.requests
    assert sink.decision(turn.trace_id)["effective_decision"] == "allow"


@streamed
def test_harmless_call_passes(judged: Gateway, connect: Connect, judge: Judge, sink: Sink, stream: bool) -> None:
    client = connect(judged)
    turn = client.send("What is the weather?", stream=stream)
    assert turn.calls == [("get_weather", {"city": "Zürich", "unit": "celsius"})]
    assert turn.finish == client.finish_calls
    assert turn.text == "Let me look up the weather for you."
    assert len(judge.requests) == 1
    assert sink.decision(turn.trace_id)["effective_decision"] == "allow"


@streamed
def test_harmful_call_becomes_a_refusal(
    judged: Gateway, connect: Connect, judge: Judge, sink: Sink, stream: bool
) -> None:
    client = connect(judged)
    turn = client.send("Delete everything.", stream=stream)
    assert (turn.calls, turn.finish) == ([], client.finish_text)
    assert turn.text.startswith("I will clean up the disk now.")
    assert "run_shell" in turn.text, "the refusal says which call was blocked"
    assert "run_shell" in question(judge.requests[0]) and "rm -rf /" in question(judge.requests[0])
    assert sink.decision(turn.trace_id)["effective_decision"] != "allow"
    assert "judge.blocked" in sink.types(turn.trace_id)


@streamed
def test_of_two_parallel_calls_only_the_harmful_one_is_replaced(
    judged: Gateway, connect: Connect, judge: Judge, sink: Sink, stream: bool
) -> None:
    client = connect(judged)
    turn = client.send("Do both.", stream=stream)
    assert turn.names == ["get_weather"]
    assert turn.finish == client.finish_calls
    assert "run_shell" in turn.text
    assert len(judge.requests) == 2
    assert {"judge.passed", "judge.blocked"} <= set(sink.types(turn.trace_id))


@streamed
def test_answer_that_was_only_a_harmful_call_is_not_empty(judged: Gateway, connect: Connect, stream: bool) -> None:
    client = connect(judged)
    turn = client.send("Be silent.", stream=stream)
    assert (turn.calls, turn.finish) == ([], client.finish_text)
    assert "run_shell" in turn.text


@streamed
@pytest.mark.parametrize("prompt", ["Say hello.", "What is the weather?", "Delete it.", "Do both.", "Be silent."])
def test_the_next_turn_is_accepted_by_a_strict_provider(
    judged: Gateway, connect: Connect, provider: Provider, prompt: str, stream: bool
) -> None:
    client = connect(judged)
    first = client.send(prompt, stream=stream)
    history = client.history(prompt, first)
    second = client.send("Thank you, say hello.", stream=stream, history=history)
    assert second.text, "the provider answered 400 otherwise"
    turns = provider.requests[-1].json()
    assert (turns.get("messages") or turns["input"])[1]["role"] == "assistant"


@streamed
def test_streamed_and_whole_answers_give_the_same_decision(
    judged: Gateway, connect: Connect, sink: Sink, stream: bool
) -> None:
    client = connect(judged)

    def outcome(turn: Turn) -> tuple[str, object, str, str]:
        return turn.text, turn.calls, turn.finish, sink.decision(turn.trace_id)["decision"]

    assert outcome(client.send("Do both.", stream=stream)) == outcome(client.send("Do both.", stream=not stream))


@streamed
@pytest.mark.parametrize("prompt", ["Say hello.", "Do both."])
def test_without_a_policy_nothing_changes(
    passing: Gateway, plain: Gateway, connect: Connect, prompt: str, stream: bool
) -> None:
    through = connect(passing).send(prompt, stream=stream)
    past = connect(plain).send(prompt, stream=stream)
    assert (through.text, through.calls, through.finish) == (past.text, past.calls, past.finish)
