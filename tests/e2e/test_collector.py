"""Events on their way out of the filter, and the collector that keeps them: in memory and in a real Redis."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis as redis_client
from conftest import MakeGateway
from harness import judge as judges
from harness.http_server import Reply
from harness.processes import Process, ProcessGroup
from harness.run import collect_command, watch
from support.documents import REFUSED_CLUSTER, Document, tool_call_judge
from support.exchange import CHAT, Answer, ask, question
from support.legality import read_legal
from support.sink import Sink

Start = Callable[..., "Collector"]


def sending_to(cluster: str, **options: Any) -> Document:
    """The shipped policy with its events sent elsewhere."""
    policy = tool_call_judge()
    return {**policy, "events": {**policy["events"], "cluster": cluster, **options}}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Collector:
    """A running `weir collect`."""

    def __init__(self, folder: Path, port: int, redis_url: str | None, process: Process | None = None) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        folder.mkdir(parents=True, exist_ok=True)
        command = collect_command(port, redis_url)
        self.process = process or Process("The collector", command, folder / f"collector-{port}.log")
        self.wait_until_healthy()

    def wait_until_healthy(self) -> None:
        self.process.wait_until(self._healthy)

    def _healthy(self) -> bool:
        try:
            return self._get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def _get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, trust_env=False, timeout=10)

    def page(self) -> str:
        return self._get("/ui/activity/live").text

    def events(self) -> list[dict[str, Any]]:
        return [stored["event"] for stored in self._get("/v1/events?limit=1000").json()["events"]]

    def wait_for(self, trace_id: str, event_type: str, seconds: float = 10.0) -> dict[str, Any]:
        """The first event of that type in that exchange, as soon as it is there."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for event in self.events():
                if event.get("trace_id") == trace_id and event["event_type"] == event_type:
                    return event
            time.sleep(0.02)
        raise AssertionError(f"{event_type!r} did not arrive within {seconds} s")


@pytest.fixture
def collect(tmp_path: Path) -> Iterator[Start]:
    """Starts collectors; ends them after the test."""
    running: list[Collector] = []

    def start(port: int | None = None, redis_url: str | None = None) -> Collector:
        running.append(Collector(tmp_path, port or free_port(), redis_url))
        return running[-1]

    yield start
    for collector in running:
        collector.process.stop()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """The address of a Redis of the test's own, that writes every change to disk."""
    binary = os.environ.get("WEIR_TEST_REDIS")
    if not binary:
        pytest.skip("redis-server is not installed here")
    port = free_port()
    options = (
        "--port",
        port,
        "--bind",
        "127.0.0.1",
        "--dir",
        tmp_path,
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
    )
    process = Process("Redis", [binary, *map(str, options)], tmp_path / "redis.log")
    with redis_client.Redis(port=port) as client:

        def ready() -> bool:
            try:
                return bool(client.ping())
            except redis_client.ConnectionError:
                return False

        process.wait_until(ready)
        yield f"redis://127.0.0.1:{port}/0"
    process.stop()


def blocked_exchange(gateway: MakeGateway, clusters: dict[str, int], collector: Collector) -> Answer:
    envoy = gateway(tool_call_judge(), clusters={**clusters, "collector": collector.port})
    answer = ask(envoy.url, CHAT, question(CHAT, "Delete it."))
    assert read_legal(CHAT, answer.body).names == []
    return answer


def test_event_is_in_the_collector_and_its_page_is_there(
    gateway: MakeGateway, clusters: dict[str, int], judge: judges.Judge, collect: Start
) -> None:
    collector = collect()
    answer = blocked_exchange(gateway, clusters, collector)
    assert collector.wait_for(answer.trace_id, "judge.blocked")["kind"] == "policy_action"
    assert collector.wait_for(answer.trace_id, "enforcement")["metadata"]["effective_decision"] != "allow"
    assert "<html" in collector.page()


def test_events_of_a_killed_collector_are_in_redis(
    gateway: MakeGateway, clusters: dict[str, int], judge: judges.Judge, collect: Start, redis: str
) -> None:
    first = collect(redis_url=redis)
    answer = blocked_exchange(gateway, clusters, first)
    before = first.wait_for(answer.trace_id, "enforcement")
    first.process.kill()
    second = collect(redis_url=redis)
    assert second.wait_for(answer.trace_id, "enforcement") == before
    assert second.wait_for(answer.trace_id, "judge.blocked")


def test_two_collectors_share_one_redis(
    gateway: MakeGateway, clusters: dict[str, int], judge: judges.Judge, collect: Start, redis: str
) -> None:
    one, other = collect(redis_url=redis), collect(redis_url=redis)
    answer = blocked_exchange(gateway, clusters, one)
    one.wait_for(answer.trace_id, "enforcement")
    assert other.wait_for(answer.trace_id, "enforcement")
    ids = [event["id"] for event in other.events()]
    assert len(ids) == len(set(ids))


def test_events_wait_for_a_collector_that_restarts(
    gateway: MakeGateway, clusters: dict[str, int], judge: judges.Judge, collect: Start, redis: str
) -> None:
    collector = collect(redis_url=redis)
    blocked_exchange(gateway, clusters, collector)
    collector.process.kill()
    meanwhile = blocked_exchange(gateway, clusters, collector)
    again = collect(port=collector.port, redis_url=redis)
    assert again.wait_for(meanwhile.trace_id, "enforcement", seconds=30)


def test_fault_20_a_killed_collector_is_started_again_with_its_events(
    gateway: MakeGateway, clusters: dict[str, int], judge: judges.Judge, tmp_path: Path
) -> None:
    port = free_port()
    with ProcessGroup() as processes:
        command = collect_command(port, data=tmp_path / "events.redb")
        process = processes.add(Process("The collector", command, tmp_path / "log"))
        collector = Collector(tmp_path, port, None, process)
        before = blocked_exchange(gateway, clusters, collector)
        seen = collector.wait_for(before.trace_id, "enforcement")
        os.kill(collector.process.pid, 9)
        deadline = time.monotonic() + 10
        while processes.first_dead() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        watch(processes)
        collector.wait_until_healthy()
        assert collector.wait_for(before.trace_id, "enforcement") == seen
        after = blocked_exchange(gateway, clusters, collector)
        assert collector.wait_for(after.trace_id, "enforcement", seconds=30)


@pytest.mark.parametrize("cluster", [REFUSED_CLUSTER, "nowhere"])
def test_without_a_collector_exchanges_go_on(gateway: MakeGateway, judge: judges.Judge, cluster: str) -> None:
    envoy = gateway(sending_to(cluster))
    for _ in range(5):
        seen = read_legal(CHAT, ask(envoy.url, CHAT, question(CHAT, "Do both.")).body)
        assert seen.names == ["get_weather"]


async def _hangs(reply: Reply) -> None:
    await judges.hangs(reply)


async def _refuses(reply: Reply) -> None:
    await reply.send_json(503, {"error": {"message": "not now"}})


@pytest.mark.parametrize("behaviour", [_hangs, _refuses, judges.resets], ids=["hangs", "503", "resets"])
def test_collector_that_fails_delays_nothing_and_gets_its_events_later(
    gateway: MakeGateway, judge: judges.Judge, sink: Sink, behaviour: Any
) -> None:
    envoy = gateway(tool_call_judge())
    sink.behaviour = behaviour
    asked = len(sink.requests)
    answer = ask(envoy.url, CHAT, question(CHAT, "Do both."))
    assert read_legal(CHAT, answer.body).names == ["get_weather"]
    deadline = time.monotonic() + 10
    while len(sink.requests) == asked:
        assert time.monotonic() < deadline, "the batch was never sent"
        time.sleep(0.01)
    sink.behaviour = None
    assert sink.decision(answer.trace_id, seconds=30)["effective_decision"] != "allow"


def test_full_queue_drops_events_and_says_how_many(gateway: MakeGateway, judge: judges.Judge, sink: Sink) -> None:
    envoy = gateway(sending_to("collector", queue=8))
    sink.behaviour = _refuses
    for _ in range(20):
        assert ask(envoy.url, CHAT, question(CHAT, "Do both.")).complete
    sink.behaviour = None
    last = ask(envoy.url, CHAT, question(CHAT, "Do both."))
    sink.decision(last.trace_id, seconds=30)
    assert any(batch["dropped"] > 0 for batch in sink.batches())
