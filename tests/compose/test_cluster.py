"""The profile `cluster`: collectors that keep their events in a Redis Cluster of three masters with a replica each."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from conftest import Stack
from harness.compose import FILE, TOKEN, Compose
from traffic import Collector

PORTS = {"WEIR_PORT": "11010", "WEIR_ADMIN_PORT": "11011", "WEIR_COLLECTOR_PORT": "11014"}
SENDERS = 12


@pytest.fixture
def clustered() -> Iterator[Stack]:
    lines = (FILE.parent / "compose" / "cluster.env").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    compose = Compose({**os.environ, **PORTS, **settings}, "weir-e2e-cluster")
    compose.down()
    compose.up(seconds=120)
    collector = Collector(int(PORTS["WEIR_COLLECTOR_PORT"]), TOKEN)
    collector.wait_until_reachable(60)
    yield Stack(compose, int(PORTS["WEIR_PORT"]), int(PORTS["WEIR_ADMIN_PORT"]), collector)
    compose.down()


def post(port: int, sender: str, sequence: int) -> None:
    """Sends an event until it is acknowledged."""
    event = {"id": f"{sender}-{sequence}", "kind": "request", "time_ms": 1, "event_type": "t", "severity": "info"}
    batch = {"sender": sender, "sequence": sequence, "events": [{**event, "summary": "an event"}]}
    headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/events", json.dumps(batch).encode(), headers)
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def masters(compose: Compose, without: str = "") -> list[str]:
    """The services whose Redis is a master."""
    names = [name for name in (f"redis-{number}" for number in range(1, 7)) if name != without]
    roles = {name: compose.docker("exec", compose.container(name), "redis-cli", "role") for name in names}
    return [name for name, role in roles.items() if role.startswith("master")]


@pytest.mark.timeout(400)
def test_what_is_acknowledged_outlives_a_master(clustered: Stack) -> None:
    port = clustered.collector.port
    for sender in range(SENDERS):
        post(port, f"s{sender}", 0)
    first = masters(clustered.compose)
    assert len(first) == 3, first
    clustered.compose.kill(first[0])
    # A replica takes its place. Events are acknowledged once they are on two Redis: it needs a replica of its own.
    deadline = time.monotonic() + 60
    while len(masters(clustered.compose, without=first[0])) < 3:
        assert time.monotonic() < deadline, "no replica takes its place"
        time.sleep(0.5)
    clustered.compose.start(first[0])
    for sender in range(SENDERS):
        post(port, f"s{sender}", 1)
    ids = sorted(event["id"] for event in clustered.collector.events())
    assert ids == sorted(f"s{sender}-{number}" for sender in range(SENDERS) for number in (0, 1))
