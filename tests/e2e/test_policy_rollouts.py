"""Policies with a rollout of their own: beside those that are enforced, in shadow and in a canary."""

from __future__ import annotations

import time
from typing import Any

import pytest
from conftest import MakeGateway
from harness import judge as judges
from harness.gateway import Gateway
from harness.judge import Judge
from harness.provider import Provider
from support.documents import Document, document
from support.exchange import CHAT, NAMES, PATHS, Answer, ask, question
from support.sink import Sink

each_path = pytest.mark.parametrize("path", PATHS, ids=NAMES.get)

SHADOW = {"mode": "shadow"}
SECONDS = 4.0
"""How long the judge takes: longer than any answer."""


def rules(*terms: str, **rule: Any) -> dict[str, Any]:
    return {"use": "rules", "with": {"rules": [{"id": "words", "match": {"terms": list(terms)}, **rule}]}}


def watched() -> Document:
    """Every policy is in shadow: one refuses in mid-stream, one asks about calls, one refuses requests."""
    chain = [
        rules("disk", action="refuse"),
        {"use": "tool_call_judge", "with": {"judge": "main", "threshold": 0.6}},
        {"use": "block_requests", "with": {"rules": [{"above_bytes": 1}]}},
    ]
    return {**document([{**entry, "rollout": SHADOW} for entry in chain]), "after_block": "cancel"}


def would_be(decision: dict[str, Any]) -> list[str]:
    return [told["decision"] for told in decision["policy_rollouts"]]


def send(gateway: Gateway, path: str, prompt: str, user: str = "", **more: Any) -> Answer:
    return ask(gateway.url, path, question(path, prompt, **more), headers={"x-policy-user": user} if user else None)


@each_path
def test_a_chain_in_shadow_changes_no_byte_and_waits_for_no_judge(
    gateway: MakeGateway, provider: Provider, judge: Judge, sink: Sink, path: str
) -> None:
    judge.behaviour = judges.waits(SECONDS)
    provider.pace = 0.01
    running = gateway(watched(), connection_filter=True)
    began = time.monotonic()
    answer = send(running, path, "Please delete it.")
    assert time.monotonic() - began < SECONDS, "the answer waited for the judge"
    assert answer.complete and answer.body == provider.sent(answer.trace_id)
    assert "connection" not in answer.headers
    request = provider.requests[-1]
    assert request.closed_by_peer is None and request.json() == question(path, "Please delete it.")
    decision = sink.decision(answer.trace_id)
    assert (decision["decision"], decision["enforced"]) == ("allow", True)
    assert would_be(decision) == ["refuse", "refuse", "refuse"]
    told = decision["policy_rollouts"][1]
    assert told["judge_latency_ms"] >= SECONDS * 1000 and told["would_have_held_ms"] > 0


@each_path
def test_whole_answers_keep_their_head_in_shadow(
    gateway: MakeGateway, provider: Provider, sink: Sink, path: str
) -> None:
    answer = send(gateway(watched(), connection_filter=True), path, "Please delete it.", stream=False)
    direct = ask(f"http://127.0.0.1:{provider.port}", path, question(path, "Please delete it.", stream=False))
    assert answer.headers["content-length"] == direct.headers["content-length"] == str(len(answer.body))
    assert would_be(sink.decision(answer.trace_id)) == ["refuse", "refuse", "refuse"]


@each_path
def test_a_policy_in_shadow_leaves_an_enforced_one_as_it_is(
    gateway: MakeGateway, provider: Provider, judge: Judge, sink: Sink, path: str
) -> None:
    enforced = rules("clean up", **{"with": "[done]"})
    judge.behaviour = judges.waits(SECONDS)
    provider.pace = 0.01
    both = document([{**entry, "rollout": SHADOW} for entry in watched()["chain"]] + [enforced])
    running = gateway(both)
    began = time.monotonic()
    answer = send(running, path, "Please delete it.")
    assert time.monotonic() - began < SECONDS, "the answer waited for the judge"
    assert answer.complete and b"[done]" in answer.body and b"run_shell" in answer.body
    decision = sink.decision(answer.trace_id)
    assert (decision["decision"], decision["decided_by"]) == ("rewrite", "Rules")
    assert would_be(decision) == ["refuse", "refuse", "refuse"]
    assert decision["held_ms"] < SECONDS * 1000


def test_a_limit_in_shadow_counts_apart_from_an_enforced_one(
    gateway: MakeGateway, provider: Provider, sink: Sink
) -> None:
    """The workers share what they count; the quota is the same, and so is its key."""
    limit = {"use": "rate_limit", "with": {"requests": {"limit": 3, "window": "1h"}}}
    running = gateway({**document([{**limit, "rollout": SHADOW}, limit]), "identity": {"trust_user_header": True}})
    answers = [send(running, CHAT, "Say hello.", user="ann") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [would_be(sink.decision(answer.trace_id)) for answer in answers] == [["allow"]] * 3 + [["refuse"]]


@each_path
def test_a_canary_of_a_policy_acts_in_one_arm(gateway: MakeGateway, provider: Provider, sink: Sink, path: str) -> None:
    # Ann's bucket is 588,789, Bob's 306,319.
    canary = {"mode": "canary", "percentage": 58.8789, "seed": "2026-11"}
    running = gateway(
        document([{**rules("mock model", **{"with": "[it]"}), "rollout": canary}, rules("hello", action="observe")])
    )
    for user, is_enforced in (("ann", False), ("bob", True)):
        answer = send(running, path, "Say hello.", user=user)
        assert answer.complete
        assert (b"[it]" in answer.body) == is_enforced
        assert (answer.body == provider.sent(answer.trace_id)) == (not is_enforced)
        decision = sink.decision(answer.trace_id)
        (told,) = decision["policy_rollouts"]
        assert (told["enforced"], told["rollout_arm"]) == (is_enforced, "canary" if is_enforced else "control")
        assert decision["decision"] == ("rewrite" if is_enforced else "allow")
        # Where it is enforced the event's own fields tell.
        assert told.get("decision") == (None if is_enforced else "rewrite")
