"""What becomes of the provider's stream once a policy has ended the client's (`after_block`)."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import openai
import pytest
from conftest import MakeGateway
from harness.http_server import Reply
from harness.provider import Provider
from support.clients import Anthropic
from support.documents import Document, document
from support.exchange import CHAT, MESSAGES, NAMES, PATHS, Answer, ask, question, streaming
from support.scripts import Register, recorded
from support.sink import Sink
from test_disconnects import eventually

each_path = pytest.mark.parametrize("path", PATHS, ids=NAMES.get)

# Seconds between two events of the provider.
PACE = 0.06


def blocking(after_block: Any) -> Document:
    """A policy that ends the answer when it says these words, which come in the first half of it."""
    rule = {"id": "words", "match": {"terms": ["a mock model"]}, "action": "refuse", "message": "No."}
    return {**document([{"use": "rules", "with": {"rules": [rule]}}]), "after_block": after_block}


def all_events(make_gateway: MakeGateway, provider: Provider, path: str) -> int:
    """How many events the provider sends where nobody stops it."""
    provider.pace = 0
    assert ask(make_gateway(blocking("drain")).url, path).complete
    return provider.requests.pop().notes["events"]


@each_path
def test_a_cancelled_stream_ends_for_the_client_and_at_the_provider(
    gateway: MakeGateway, provider: Provider, sink: Sink, path: str
) -> None:
    events = all_events(gateway, provider, path)
    provider.pace = PACE
    answer = Answer()
    with streaming(gateway(blocking("cancel"), connection_filter=True).url, path, answer=answer) as response:
        for chunk in response.iter_raw():
            answer.chunks.append((time.monotonic(), chunk))
        over = time.monotonic()
        assert answer.headers["connection"] == "close"
    request = provider.requests[-1]
    eventually(lambda: request.closed_by_peer)
    # Within an event of the last that the client read; to drain it takes as long as the provider talks.
    assert request.notes["events"] < events / 2
    assert over - answer.chunks[-1][0] < PACE
    decision = sink.decision(answer.trace_id)
    assert (decision["decision"], decision["ended"], decision["after_block"]) == ("refuse", "completed", "cancelled")


@each_path
def test_drained_streams_are_read_to_their_end(gateway: MakeGateway, provider: Provider, sink: Sink, path: str) -> None:
    events = all_events(gateway, provider, path)
    # Without the filter on the connection there is nothing that could end the response.
    for policy, connection_filter in (("drain", True), ("cancel", False)):
        answer = ask(gateway(blocking(policy), connection_filter=connection_filter).url, path)
        assert answer.complete
        assert provider.requests[-1].notes["events"] == events
        assert sink.decision(answer.trace_id)["after_block"] == "drained"


@pytest.mark.parametrize("connection_filter", [True, False], ids=["connection_filter", "none"])
def test_a_stream_is_drained_for_a_while_and_then_ended(
    gateway: MakeGateway, provider: Provider, sink: Sink, connection_filter: bool
) -> None:
    events = all_events(gateway, provider, MESSAGES)
    provider.pace = PACE
    blocked = gateway(blocking({"drain_for": "300ms"}), connection_filter=connection_filter)
    answer = ask(blocked.url, MESSAGES)
    assert answer.complete == connection_filter
    assert b"message_stop" in answer.body
    request = provider.requests[-1]
    eventually(lambda: request.closed_by_peer)
    assert request.notes["events"] < events
    rest = "cancelled" if connection_filter else "broken_off"
    assert sink.decision(answer.trace_id)["after_block"] == rest


def test_clients_over_http2_are_drained_without_the_connection_filter(
    gateway: MakeGateway, provider: Provider, sink: Sink
) -> None:
    events = all_events(gateway, provider, CHAT)
    answer = ask(gateway(blocking("cancel")).url, CHAT, http2=True)
    assert answer.complete
    assert provider.requests[-1].notes["events"] == events
    assert sink.decision(answer.trace_id)["after_block"] == "drained"


def chat_text(client: openai.OpenAI) -> str:
    messages: Any = [{"role": "user", "content": "Say hello."}]
    events = client.chat.completions.create(model="m", messages=messages, stream=True)
    return "".join(event.choices[0].delta.content or "" for event in events if event.choices)


def responses_text(client: openai.OpenAI) -> str:
    events = client.responses.create(model="m", input="Say hello.", stream=True)
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


@pytest.mark.parametrize("text", [chat_text, responses_text])
def test_openais_client_reads_cancelled_streams_one_after_the_other(
    gateway: MakeGateway, provider: Provider, text: Callable[[openai.OpenAI], str]
) -> None:
    """Each has to be answered, whatever connections the client keeps: it does not try again."""
    provider.pace = 0.01
    url = gateway(blocking("cancel"), connection_filter=True).url
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
        for _ in range(8):
            assert text(client).endswith("No.")


def test_anthropics_client_reads_cancelled_streams_one_after_the_other(
    gateway: MakeGateway, provider: Provider
) -> None:
    provider.pace = 0.01
    client = Anthropic(gateway(blocking("cancel"), connection_filter=True).url)
    try:
        for _ in range(8):
            assert client.send("Say hello.", stream=True).text.endswith("No.")
    finally:
        client.close()


def test_whole_answers_keep_their_connections(gateway: MakeGateway, provider: Provider) -> None:
    whole = question(CHAT, "What is the weather?", stream=False)
    answer = ask(gateway(blocking("cancel"), connection_filter=True).url, CHAT, whole)
    assert answer.complete
    assert "connection" not in answer.headers


def raw_response(url: str, script: str) -> bytes:
    """All bytes of the connection."""
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps(question(CHAT, "Say hello.")).encode()
    fields = {"host": host, "x-mock-script": script, "content-type": "application/json", "content-length": len(body)}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(f"POST {CHAT} HTTP/1.1\r\n{head}\r\n".encode() + body)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_nothing_is_written_behind_the_end(gateway: MakeGateway, script: Register) -> None:
    """Also where the provider ends after the block and before the connection is closed."""

    async def ends_soon(reply: Reply) -> None:
        *events, last = recorded(CHAT, "Say hello.")
        await reply.start(200, [("content-type", "text/event-stream")])
        await reply.write(b"".join(events))
        await reply.pause(0.002)
        await reply.write(last)
        await reply.end()

    url = gateway(blocking("cancel"), connection_filter=True).url
    for _ in range(20):
        received = raw_response(url, script(ends_soon))
        assert received.count(b"data: [DONE]") == 1
        assert received.count(b"\r\n0\r\n\r\n") == 1
        assert received.endswith(b"\r\n0\r\n\r\n")
