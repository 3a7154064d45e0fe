"""What `make run` shows comes out as it must, and it notices where it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import MakeGateway
from harness.demo_client import Conversation
from harness.gateway import Gateway, shipped_policy
from harness.judge import Judge
from harness.provider import Provider
from harness.scenes import RULE_SCENES, SCENES, Exchange, Scene, configuration
from support.sink import Sink

REDACTION, SHADOW = RULE_SCENES


@pytest.fixture
def running(gateway: MakeGateway, judge: Judge, provider: Provider) -> Gateway:
    """Envoy as `make run` starts it, with a provider that takes its time: else nothing is held for any."""
    provider.pace = 0.01
    return gateway(configuration(shipped_policy()))


def play(gateway: Gateway, provider: Provider, sink: Sink, scene: Scene) -> Exchange:
    conversation = Conversation(scene.dialect, scene.prompt, project=scene.project)
    for _ in conversation.pieces(gateway.port):
        pass
    decision = sink.decision(conversation.trace_id)
    metadata = {event["event_type"]: event["metadata"] for event in sink.events(conversation.trace_id)}
    return Exchange(conversation, decision, metadata.get("rules.matched", {}), provider.sent(conversation.trace_id))


@pytest.mark.parametrize("scene", (*SCENES, *RULE_SCENES), ids=lambda scene: scene.title)
def test_scene_comes_out_as_expected(running: Gateway, provider: Provider, sink: Sink, scene: Scene) -> None:
    assert scene.mistake(play(running, provider, sink, scene)) is None


@pytest.mark.parametrize("project", ["judged", "watch"])
def test_an_address_that_reaches_the_client_is_a_mistake(
    running: Gateway, provider: Provider, sink: Sink, project: str
) -> None:
    mistake = REDACTION.mistake(play(running, provider, sink, replace(REDACTION, project=project)))
    assert mistake is not None
    assert "[e-mail] for ada.keller@mail.example" in mistake


def test_a_shadow_that_changes_bytes_is_a_mistake(running: Gateway, provider: Provider, sink: Sink) -> None:
    mistake = SHADOW.mistake(play(running, provider, sink, replace(SHADOW, project="guard")))
    assert mistake == "the client should have received the bytes of the provider"


def test_an_event_that_does_not_say_what_the_shadow_saw_is_a_mistake(
    running: Gateway, provider: Provider, sink: Sink
) -> None:
    seen = play(running, provider, sink, SHADOW)
    decision = seen.decision
    for changed in (
        {"decision": "allow"},
        {"enforced": True},
        {"effective_decision": "refuse"},
        {"decided_by": None},
        {"rollout_mode": "enforced"},
        {"would_have_held_ms": 0.0},
        {"would_have_cut_tokens": 0},
    ):
        assert SHADOW.mistake(replace(seen, decision={**decision, **changed})), changed
    assert SHADOW.mistake(replace(seen, matched={}))
    assert SHADOW.mistake(replace(seen, sent=seen.sent + b"\n"))
