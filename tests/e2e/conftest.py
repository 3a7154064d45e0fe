"""Envoys, the mocks and the sink for the tests, and the check that no test leaves a wounded Envoy behind."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest
from harness import judge as judges
from harness.configurations import CONFIGURATIONS
from harness.gateway import Gateway, Settings
from harness.http_server import Background, Handler
from harness.judge import Judge
from harness.paths import TARGET, WEIR_WASM
from harness.processes import ProcessGroup
from harness.provider import Provider
from support import containers
from support.containers import ContainerGateway, ContainerSink
from support.documents import REFUSED_CLUSTER, Document, reading, tool_call_judge
from support.scripts import Register
from support.sink import Sink

ROOT_FOLDER = TARGET / "e2e" / str(os.getpid())
CONFIGURATION = CONFIGURATIONS[os.environ.get("WEIR_TEST_CONFIGURATION", "shipped")]


class MakeGateway(Protocol):
    """Starts Envoy with a policy document, or hands out the one that already runs with these settings."""

    def __call__(self, policy: Document | str | None, **settings: Any) -> Gateway: ...


@pytest.fixture(scope="session")
def background() -> Iterator[Background]:
    """The event loop of the mocks."""
    background = Background()
    yield background
    background.close()


@pytest.fixture(scope="session")
def the_provider(background: Background) -> Provider:
    """The provider of the whole session; tests use `provider`."""
    provider = Provider(containers.PROVIDER_PORT if containers.PROJECT else 0)
    provider.host = containers.host()
    background.run(provider.start())
    return provider


@pytest.fixture(scope="session")
def the_judge(background: Background) -> Judge:
    """The judge of the whole session; tests use `judge`."""
    judge = Judge(containers.JUDGE_PORT if containers.PROJECT else 0)
    judge.host = containers.host()
    background.run(judge.start())
    return judge


@pytest.fixture(scope="session")
def the_sink(background: Background) -> Sink:
    """The sink of the whole session; tests use `sink`."""
    sink = ContainerSink() if containers.PROJECT else Sink()
    background.run(sink.start())
    return sink


@pytest.fixture
def provider(the_provider: Provider) -> Iterator[Provider]:
    """The mock provider, as new."""
    the_provider.requests.clear()
    yield the_provider
    the_provider.scripts.clear()
    the_provider.pace = 0.0


@pytest.fixture
def judge(the_judge: Judge) -> Iterator[Judge]:
    """The mock judge, as new."""
    the_judge.requests.clear()
    the_judge.most_busy = 0
    yield the_judge
    the_judge.behaviour = judges.verdict


@pytest.fixture
def sink(the_sink: Sink) -> Iterator[Sink]:
    """The sink. It keeps the events of the whole session: tests ask for those of their own exchange."""
    yield the_sink
    the_sink.behaviour = None
    assert not the_sink.faults()


@pytest.fixture(scope="session")
def refused_port() -> Iterator[int]:
    """A port that is taken, so that nobody else gets it, but on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(scope="session")
def envoy_binary() -> Path:
    """Envoy 1.40, found by `make e2e`."""
    if "WEIR_TEST_ENVOY" not in os.environ:
        pytest.exit("start the end-to-end tests with `make e2e`: it gets Envoy and builds the filter", returncode=2)
    return Path(os.environ["WEIR_TEST_ENVOY"])


@pytest.fixture(scope="session")
def gateways() -> Iterator[dict[str, Gateway]]:
    """Every Envoy that runs, by its settings: starting one takes longer than most tests."""
    with ProcessGroup() as processes:
        running: dict[str, Gateway] = {}
        yield running
        if not containers.PROJECT:
            for gateway in running.values():
                processes.add(gateway.process)


@pytest.fixture(scope="session")
def clusters(the_provider: Provider, the_judge: Judge, the_sink: Sink, refused_port: int) -> dict[str, int]:
    """Port of each cluster."""
    return {
        "provider": the_provider.port,
        "judge": the_judge.port,
        "collector": the_sink.port,
        REFUSED_CLUSTER: refused_port,
    }


@pytest.fixture
def gateway(
    gateways: dict[str, Gateway], clusters: dict[str, int], envoy_binary: Path, provider: Provider
) -> Iterator[MakeGateway]:
    """Starts Envoy, or reuses one. After the test every Envoy must be alive and must have logged no Wasm error."""

    def make(policy: Document | str | None, **settings: Any) -> Gateway:
        if containers.PROJECT:
            return _in_container(gateways, policy, settings)
        wasm = WEIR_WASM if policy is not None else None
        base = Settings(clusters=clusters, policy=policy, wasm=wasm, configuration=CONFIGURATION)
        wanted = replace(base, **settings)
        key = json.dumps([policy, settings], sort_keys=True)
        found = gateways.get(key)
        if found is None or not found.process.alive():
            found = Gateway(envoy_binary, wanted, ROOT_FOLDER / f"envoy-{len(gateways)}")
            gateways[key] = found
            found.wait_until_ready()
        return found

    yield make
    if containers.PROJECT:
        assert not [line for each in gateways.values() for line in each.trouble()]
        return
    trouble = {str(each.process.log): lines for each in gateways.values() if (lines := each.trouble())}
    for key in [key for key, each in gateways.items() if not each.process.alive()]:
        del gateways[key]
    assert not trouble


def _in_container(running: dict[str, Gateway], policy: Document | str | None, settings: dict[str, Any]) -> Gateway:
    if settings or policy != tool_call_judge():
        pytest.skip("the Envoy in the container has the shipped policy document and settings")
    if not running:
        running["container"] = ContainerGateway(ROOT_FOLDER / "container")
    return running["container"]


@pytest.fixture
def judged(gateway: MakeGateway, judge: Judge) -> Gateway:
    """Envoy with the shipped policy: every tool call is judged."""
    return gateway(tool_call_judge())


@pytest.fixture
def passing(gateway: MakeGateway) -> Gateway:
    """Envoy with Weir and a policy that reads everything and finds nothing."""
    return gateway(reading())


@pytest.fixture
def plain(gateway: MakeGateway) -> Gateway:
    """Envoy without Weir: what the mocks do on their own."""
    return gateway(None)


@pytest.fixture
def script(provider: Provider) -> Register:
    """Registers scripts of the mock provider."""

    def register(handler: Handler) -> str:
        name = f"script-{len(provider.scripts)}"
        provider.scripts[name] = handler
        return name

    return register
