"""Rules that ask: a service of moderations for the categories of texts, a model for a summary in the place of one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import MakeGateway
from harness import judge as judges
from harness.http_server import Handler
from harness.judge import Judge
from harness.provider import Provider
from support.documents import Document, document
from support.exchange import NAMES, PATHS, RESPONSES, Answer, ask, question
from support.legality import read_legal
from support.sink import Sink

each_path = pytest.mark.parametrize("path", PATHS, ids=NAMES.get)
both = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])

SAID = "a mock model"
"""What the mock provider says in every answer, in several deltas."""
MODERATIONS = "/v1/moderations"


def rules(rule: dict[str, Any], **settings: Any) -> Document:
    base = document([{"use": "rules", "with": {**settings, "rules": [{"id": "rule", **rule}]}}])
    service = {"cluster": "judge", "path": MODERATIONS, "model": "omni", "timeout": "5s"}
    return {**base, "judges": {**base["judges"], "labels": service}}


def moderated(**rule: Any) -> Document:
    return rules(
        {"match": {"categories": ["violence"]}, **rule}, moderation={"judge": "labels", "message": "Unchecked."}
    )


def violent(text: str) -> dict[str, float]:
    return {"violence": 0.9} if SAID in text or "knife" in text else {}


def said(path: str, answer: Answer, streamed: bool) -> str:
    """What the client reads of it."""
    if streamed:
        return read_legal(path, answer.body).text
    return json.dumps(answer.json(), ensure_ascii=False)


@each_path
@both
def test_a_text_of_a_category_is_replaced_before_any_of_it_has_left(
    gateway: MakeGateway, judge: Judge, sink: Sink, path: str, streamed: bool
) -> None:
    judge.behaviour = judges.moderations(violent)
    answer = ask(gateway(moderated(action="redact", answer=["text"])).url, path, question(path, stream=streamed))
    assert answer.complete and SAID not in said(path, answer, streamed)
    assert "[redacted]" in said(path, answer, streamed)
    asked = [(request.path, request.json()["model"], len(request.json()["input"])) for request in judge.requests]
    assert asked == [(MODERATIONS, "omni", 1)] * 2, "the request, and the text of the answer"
    assert SAID in judge.requests[1].json()["input"][0]
    decision = sink.decision(answer.trace_id)
    assert (decision["decision"], decision["triggered_categories"]) == ("rewrite", ["violence"])


@each_path
@pytest.mark.parametrize("behaviour", [judges.resets, judges.resets_after_head, judges.answers(200, b"{}")])
def test_nothing_of_a_text_leaves_that_the_service_does_not_tell_of(
    gateway: MakeGateway, judge: Judge, sink: Sink, path: str, behaviour: Handler
) -> None:
    judge.behaviour = behaviour
    answer = ask(gateway(moderated(action="refuse", request=[])).url, path)
    assert answer.complete and "Unchecked." in read_legal(path, answer.body).text
    assert SAID.encode() not in answer.body
    assert sink.decision(answer.trace_id)["reason_code"] == "MODERATION_FAILED"


@each_path
def test_all_texts_of_a_request_are_asked_about_in_one_question(
    gateway: MakeGateway, judge: Judge, provider: Provider, path: str
) -> None:
    judge.behaviour = judges.moderations(violent)
    texts = ["He draws a knife.", "And then?", "Go on."]
    turns = [{"role": "user", "content": text} for text in texts]
    body = {**question(path), "input" if path == RESPONSES else "messages": turns}
    answer = ask(gateway(moderated(action="refuse", message="Not this.")).url, path, body)
    assert answer.status == 403 and answer.error_message(path) == "Not this."
    assert [request.json()["input"] for request in judge.requests] == [texts]
    assert not provider.requests


@each_path
@both
def test_a_summary_takes_the_place_of_a_text(
    gateway: MakeGateway, judge: Judge, sink: Sink, path: str, streamed: bool
) -> None:
    judge.behaviour = judges.says("It greets.")
    summarising = rules({"match": {"terms": [SAID]}, "action": "summary"}, summary={"judge": "main"})
    answer = ask(gateway(summarising).url, path, question(path, stream=streamed))
    assert answer.complete and SAID not in said(path, answer, streamed)
    assert "It greets." in said(path, answer, streamed)
    assert len(judge.requests) == 1
    assert sink.decision(answer.trace_id)["decision"] == "summary"
