"""HTTP/1.1 and HTTP/2 on either side: the same exchanges come out the same."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from conftest import MakeGateway
from harness.gateway import Gateway
from harness.http_server import Background
from harness.judge import Judge
from harness.provider import Provider
from support import scripts
from support.documents import tool_call_judge
from support.exchange import MESSAGES, NAMES, PATHS, Answer, ask, question
from support.http2 import Http2Provider
from support.legality import read_legal
from support.sink import Sink

each_path = pytest.mark.parametrize("path", PATHS, ids=NAMES.get)


@pytest.fixture(scope="module")
def http2_provider(background: Background) -> Provider:
    provider = Http2Provider()
    background.run(provider.start())
    return provider


@dataclass
class Side:
    """Envoy with one version towards the provider, asked in one version."""

    gateway: Gateway
    provider: Provider
    client: str

    def ask(self, path: str, prompt: str, *, stream: bool = True, script: str | None = None) -> Answer:
        body = question(path, prompt, stream=stream)
        return ask(self.gateway.url, path, body, script=script, http2=self.client == "h2")


@pytest.fixture(params=["h1-h1", "h1-h2", "h2-h1", "h2-h2"])
def side(
    request: pytest.FixtureRequest,
    gateway: MakeGateway,
    provider: Provider,
    http2_provider: Provider,
    clusters: dict[str, int],
    judge: Judge,
) -> Iterator[Side]:
    """Client's version, and provider's."""
    client, _, upstream = request.param.partition("-")
    if upstream == "h1":
        yield Side(gateway(tool_call_judge()), provider, client)
        return
    http2_provider.requests.clear()
    moved = {**clusters, "provider": http2_provider.port}
    yield Side(gateway(tool_call_judge(), provider_http2=True, clusters=moved), http2_provider, client)
    http2_provider.scripts.clear()
    http2_provider.pace = 0.0


@each_path
def test_text_streams_as_it_comes(side: Side, path: str) -> None:
    side.provider.pace = 0.02
    answer = side.ask(path, "Say hello.")
    assert answer.complete and answer.headers["content-type"].startswith("text/event-stream")
    assert read_legal(path, answer.body).text
    assert len(answer.chunks) > 3, "events came one by one"


@each_path
def test_released_and_refused_calls(side: Side, path: str, sink: Sink) -> None:
    answer = side.ask(path, "Do both.")
    seen = read_legal(path, answer.body)
    assert "get_weather" in seen.names and b"rm -rf" not in answer.body
    assert sink.decision(answer.trace_id)["decision"] == "refuse"
    alone = side.ask(path, "Delete it.")
    assert read_legal(path, alone.body).names == [] and b"rm -rf" not in alone.body


@each_path
def test_whole_answers(side: Side, path: str) -> None:
    hello = side.ask(path, "Say hello.", stream=False)
    assert hello.status == 200 and hello.complete and b"Hello" in hello.body
    refused = side.ask(path, "Delete it.", stream=False)
    assert refused.status == 200 and b"BLOCKED" in refused.body and b"rm -rf" not in refused.body


@each_path
def test_upstream_trailers(side: Side, path: str) -> None:
    """HTTP/1 trailers are dropped by Envoy; those of HTTP/2 end the body, and arrive."""
    pieces = scripts.recorded(path, "Do both.")
    side.provider.scripts["trails"] = scripts.trails(pieces)
    for _ in range(2):
        answer = side.ask(path, "Do both.", script="trails")
        if answer.complete:
            seen = read_legal(path, answer.body)
            assert "get_weather" in seen.names
        assert b"rm -rf" not in answer.body
    assert answer.complete, "only the first response of a worker that ends so may be broken off"
    del side.provider.scripts["trails"]
    side.provider.pace = 0.02
    assert len(side.ask(path, "Say hello.").chunks) > 3, "text of which nothing is held still comes as it is sent"


def test_client_that_leaves_ends_the_upstream(side: Side) -> None:
    side.provider.pace = 0.05
    with (
        httpx.Client(http1=side.client == "h1", http2=side.client == "h2", trust_env=False) as client,
        client.stream("POST", side.gateway.url + MESSAGES, json=question(MESSAGES, "Say hello.")) as response,
    ):
        next(response.iter_raw())
    deadline = time.monotonic() + 10
    while side.provider.requests[-1].closed_by_peer is None:
        assert time.monotonic() < deadline, "the provider still sends"
        time.sleep(0.02)
