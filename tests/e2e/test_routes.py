"""Requests to endpoints other than the dialects': a verdict for each, and places that the document maps."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from conftest import MakeGateway
from harness.http_server import Reply
from harness.judge import Judge
from harness.provider import Provider
from support.documents import Document, no_op, tool_call_judge
from support.exchange import CHAT, MESSAGES, ask, question
from support.legality import read_legal
from support.scripts import Register
from support.sink import Sink

ENDPOINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "count_tokens": ("/v1/messages/count_tokens", question(MESSAGES)),
    "message_batches": ("/v1/messages/batches", {"requests": [{"custom_id": "1", "params": question(MESSAGES)}]}),
    "batches": ("/v1/batches", {"input_file_id": "file-1"}),
    "embeddings": ("/v1/embeddings", {"model": "mock", "input": "Hello"}),
    "completions": ("/v1/completions", {"model": "mock", "prompt": "Hello"}),
    "unknown": ("/v1/audio/speech", {"model": "mock", "input": "Hello"}),
}
ANSWER = b'{"whatever": ["the", "provider", 1.50]}'


def with_routes(base: Document, **routes: Any) -> Document:
    return {**base, "routes": routes}


@pytest.fixture
def answer_anything(script: Register) -> str:
    async def handler(reply: Reply) -> None:
        await reply.send(200, ANSWER, [("content-type", "application/json")])

    return script(handler)


@pytest.mark.parametrize("name", ENDPOINTS)
def test_an_endpoint_is_blocked(gateway: MakeGateway, provider: Provider, sink: Sink, name: str) -> None:
    path, body = ENDPOINTS[name]
    blocked = gateway(with_routes(no_op(), **dict.fromkeys(ENDPOINTS, "block")))
    answer = ask(blocked.url, path, body)
    assert answer.status == (404 if name == "unknown" else 403)
    answer.error_message(MESSAGES if "messages" in path else CHAT)
    assert not provider.requests
    assert sink.decision(answer.trace_id)["route"] == name


@pytest.mark.parametrize("name", ENDPOINTS)
def test_an_endpoint_passes(gateway: MakeGateway, sink: Sink, answer_anything: str, name: str) -> None:
    path, body = ENDPOINTS[name]
    allowed = gateway(with_routes(no_op(), **dict.fromkeys(ENDPOINTS, "allow")))
    answer = ask(allowed.url, path, body, script=answer_anything)
    assert (answer.status, answer.body) == (200, ANSWER)
    event_type = "unknown_path" if name == "unknown" else "route_allowed"
    assert sink.wait_for(answer.trace_id, event_type)["metadata"]["route"] == name


@pytest.mark.parametrize("name", ["count_tokens", "message_batches", "embeddings", "completions"])
def test_the_text_of_a_request_is_governed(
    gateway: MakeGateway, provider: Provider, sink: Sink, answer_anything: str, name: str
) -> None:
    path, body = ENDPOINTS[name]
    transform = {"case": "upper", "scope": [], "request": ["user"]}
    document = {**no_op(), "chain": [{"use": "content_transform", "with": transform}]}
    governed = gateway(with_routes(document, message_batches="govern", completions="govern"))
    answer = ask(governed.url, path, body, script=answer_anything)
    assert (answer.status, answer.body) == (200, ANSWER)
    assert b"HELLO" in provider.requests[0].body
    assert sink.decision(answer.trace_id)["decision"] == "rewrite"


def test_the_list_of_models_passes(gateway: MakeGateway, answer_anything: str) -> None:
    passing = gateway(no_op())
    response = httpx.get(f"{passing.url}/v1/models", headers={"x-mock-script": answer_anything}, trust_env=False)
    assert (response.status_code, response.content) == (200, ANSWER)


@pytest.mark.parametrize(
    ("mapped", "path"),
    [
        ("/openai/deployments/gpt/chat/completions?api-version=2024-10-21", CHAT),
        ("/openai/v1/chat/completions", CHAT),
        ("/proxy/anthropic/v1/messages", MESSAGES),
    ],
)
def test_mapped_places_are_judged(
    gateway: MakeGateway, provider: Provider, judge: Judge, script: Register, mapped: str, path: str
) -> None:
    azure = {"path": "/openai/deployments/*/chat/completions", "to": "chat.completions"}
    judged = gateway(with_routes(tool_call_judge(), map=[azure], prefixes=["/openai", "/proxy/anthropic"]))

    async def as_at_the_usual_place(reply: Reply) -> None:
        reply.request.path = path
        reply.request.headers.pop("x-mock-script")
        await provider.answer(reply)

    answer = ask(judged.url, mapped, question(path, "Do both."), script=script(as_at_the_usual_place))
    assert read_legal(path, answer.body).names == ["get_weather"]
    assert len(judge.requests) == 2


@pytest.mark.parametrize(
    ("route", "header", "decided_by"),
    [(None, None, "a"), (None, "b", "b"), ("b", None, "b"), ("b", "a", "b"), ("b", "unknown", "b"), ("c", "a", None)],
)
def test_routes_name_projects_and_are_believed_before_clients(
    gateway: MakeGateway, sink: Sink, route: str | None, header: str | None, decided_by: str | None
) -> None:
    documents = {name: {**no_op(), "policy": {"id": name}} for name in ("a", "b")}
    shared = {key: documents[name].pop(key) for name in documents for key in ("events", "envoy")}
    several = gateway({"projects": documents, "default": "a", **shared}, project=route)
    answer = ask(several.url, CHAT, headers={"x-policy-project": header} if header else {})
    assert answer.status == (400 if decided_by is None else 200)
    if decided_by is None:
        assert answer.error_message(CHAT) == "Project is not linked to a policy."
    else:
        assert sink.decision(answer.trace_id)["policy_id"] == decided_by
