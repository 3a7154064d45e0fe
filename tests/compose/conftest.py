"""The containers of envoy/docker-compose.yaml, as new for each test. `make e2e-compose` runs these tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from harness.compose import FILE, TOKEN, Compose
from harness.paths import ROOT
from traffic import Collector

OVERRIDE = ROOT / "envoy" / "compose" / "e2e.yaml"


@dataclass(frozen=True)
class Stack:
    """What runs, and where it is reached."""

    compose: Compose
    port: int
    admin_port: int
    collector: Collector


@pytest.fixture(scope="session")
def running() -> Iterator[Stack]:
    if "WEIR_TEST_COMPOSE" not in os.environ:
        pytest.exit("start these tests with `make e2e-compose`", returncode=2)
    compose = Compose(dict(os.environ), os.environ["WEIR_TEST_COMPOSE"], (FILE, OVERRIDE))
    collector = Collector(int(os.environ["WEIR_COLLECTOR_PORT"]), TOKEN)
    compose.down()
    compose.up()
    yield Stack(compose, int(os.environ["WEIR_PORT"]), int(os.environ["WEIR_ADMIN_PORT"]), collector)
    compose.down()


@pytest.fixture
def stack(running: Stack) -> Stack:
    """The containers, all of them well."""
    running.compose.wait_until_healthy()
    running.collector.wait_until_reachable()
    return running
