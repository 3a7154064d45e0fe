"""`after_block: cancel` where client or provider speak HTTP/2: one stream ends on either side, the others go on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import MakeGateway
from harness.http_server import Background, Reply, Request
from harness.provider import Provider
from support.exchange import CHAT, MESSAGES, NAMES, PATHS, ask, question
from support.http2 import Http2Client, Http2Provider, StreamAnswer
from support.legality import read_legal
from support.scripts import recorded
from support.sink import Sink
from test_after_block import PACE, blocking
from test_disconnects import eventually

each_path = pytest.mark.parametrize("path", PATHS, ids=NAMES.get)

STOPS_WITHIN = 0.05
"""Seconds from the last byte that the client reads until the provider sees the end of its stream."""

MARK = b":weir-"


@pytest.fixture(scope="module")
def the_http2_provider(background: Background) -> Http2Provider:
    provider = Http2Provider()
    background.run(provider.start())
    return provider


@pytest.fixture
def http2_provider(the_http2_provider: Http2Provider) -> Iterator[Http2Provider]:
    """The provider, as new."""
    the_http2_provider.requests.clear()
    yield the_http2_provider
    the_http2_provider.scripts.clear()
    the_http2_provider.pace = 0.0


@pytest.fixture(params=["h1", "h2"])
def upstream(request: pytest.FixtureRequest, provider: Provider, http2_provider: Http2Provider) -> Provider:
    """A provider of either version."""
    return provider if request.param == "h1" else http2_provider


@pytest.fixture
def url(gateway: MakeGateway, upstream: Provider, clusters: dict[str, int]) -> str:
    """Envoy that cancels streams of that provider."""
    return start(gateway, upstream, clusters, "cancel")


def start(gateway: MakeGateway, upstream: Provider, clusters: dict[str, int], after_block: Any) -> str:
    settings: dict[str, Any] = {"connection_filter": True}
    if isinstance(upstream, Http2Provider):
        settings |= {"provider_http2": True, "clusters": {**clusters, "provider": upstream.port}}
    return gateway(blocking(after_block), **settings).url


def request_of(upstream: Provider, trace_id: str) -> Request:
    return next(each for each in upstream.requests if trace_id in each.headers.get("traceparent", ""))


def assert_cancelled(upstream: Provider, sink: Sink, path: str, trace_id: str, body: bytes, last: float) -> None:
    assert b"No." in body and MARK not in body
    assert read_legal(path, body).text.endswith("No.")
    request = request_of(upstream, trace_id)
    eventually(lambda: request.closed_by_peer)
    assert request.closed_by_peer is not None
    assert request.closed_by_peer - last < STOPS_WITHIN
    decision = sink.decision(trace_id)
    assert (decision["decision"], decision["ended"], decision["after_block"]) == ("refuse", "completed", "cancelled")


def assert_ended(answer: StreamAnswer) -> None:
    """In an orderly way, and nothing came behind the end."""
    assert answer.ended is not None and answer.resets == []
    assert answer.ended - answer.last_data < PACE / 2


@each_path
def test_streams_of_a_client_end_and_others_of_its_connection_go_on(
    upstream: Provider, url: str, sink: Sink, path: str
) -> None:
    blocked, passing = question(path, "Say hello."), question(path, "The weather?")
    before = upstream.connections if isinstance(upstream, Http2Provider) else 0
    upstream.pace = PACE
    with Http2Client(url) as client:
        first, other, second = client.ask((path, blocked), (path, passing), (path, blocked))
        for answer in (first, second):
            assert_ended(answer)
            # The mark is padding.
            assert answer.padding == 40
            assert_cancelled(upstream, sink, path, answer.trace_id, answer.body, answer.ended or 0)
        assert_ended(other)
        assert other.padding == 0 and other.body == upstream.sent(other.trace_id)
        assert request_of(upstream, other.trace_id).closed_by_peer is None
        (later,) = client.ask((path, passing))
        assert_ended(later)
        assert later.body == upstream.sent(later.trace_id)
    if isinstance(upstream, Http2Provider):
        assert upstream.connections - before <= 1, "a stream was cancelled by its connection"


@each_path
def test_a_client_over_http1_stops_a_provider_over_http2(
    gateway: MakeGateway, http2_provider: Http2Provider, clusters: dict[str, int], sink: Sink, path: str
) -> None:
    url = start(gateway, http2_provider, clusters, "cancel")
    http2_provider.pace = PACE
    answer = ask(url, path)
    assert answer.complete and answer.headers["connection"] == "close"
    assert_cancelled(http2_provider, sink, path, answer.trace_id, answer.body, answer.chunks[-1][0])
    assert ask(url, path, question(path, "The weather?")).complete


def test_many_streams_of_one_connection_end_one_after_the_other(upstream: Provider, url: str) -> None:
    upstream.pace = 0.02
    with Http2Client(url) as client:
        for _ in range(10):
            for answer in client.ask(*[(CHAT, question(CHAT, "Say hello."))] * 20, linger=0.0):
                assert_ended(answer)
                assert answer.body.endswith(b"data: [DONE]\n\n") and MARK not in answer.body
        (whole,) = client.ask((CHAT, question(CHAT, "Say hello.", stream=False)))
        assert b"No." in whole.body
        assert_ended(whole)


@pytest.mark.parametrize("trailers", [(), (("x-took", "1"),)], ids=["end", "trailers"])
def test_nothing_is_written_behind_the_end(upstream: Provider, url: str, trailers: tuple[tuple[str, str], ...]) -> None:
    """Also where the provider ends, with trailers or without, before its stream is cancelled."""

    async def ends_soon(reply: Reply) -> None:
        *events, last = recorded(MESSAGES, "Say hello.")
        await reply.start(200, [("content-type", "text/event-stream")])
        await reply.write(b"".join(events))
        await reply.pause(0.002)
        await reply.write(last)
        await reply.end(trailers)

    upstream.scripts["soon"] = ends_soon
    with Http2Client(url) as client:
        for _ in range(20):
            (answer,) = client.ask((MESSAGES, question(MESSAGES)), script="soon", linger=0.02)
            assert answer.ended is not None and answer.resets == []
            assert answer.body.count(b"event: message_stop") == 1 and MARK not in answer.body
        (later,) = client.ask((MESSAGES, question(MESSAGES, "The weather?")))
        assert_ended(later)


def test_a_stream_is_drained_for_a_while_and_then_ended(
    gateway: MakeGateway, upstream: Provider, clusters: dict[str, int], sink: Sink
) -> None:
    url = start(gateway, upstream, clusters, {"drain_for": "200ms"})
    upstream.pace = PACE
    with Http2Client(url) as client:
        (answer,) = client.ask((MESSAGES, question(MESSAGES)))
    assert answer.ended is not None and answer.resets == []
    assert answer.body.count(b"event: message_stop") == 1 and MARK not in answer.body
    request = request_of(upstream, answer.trace_id)
    eventually(lambda: request.closed_by_peer)
    assert sink.decision(answer.trace_id)["after_block"] == "cancelled"
