"""The configurations in envoy/sidecar: a document for each route, and one that is read anew without losing a stream."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import judge as judges
from harness.answers import WEATHER, Answer
from harness.gateway import Gateway
from harness.http_server import Handler, Reply
from harness.judge import Judge
from harness.paths import ROOT
from harness.provider import Provider
from support import containers, scripts
from support.exchange import CHAT, MESSAGES, ask, question
from support.exchange import Answer as Response
from support.legality import read_legal
from support.sink import Sink

SIDECAR = ROOT / "envoy" / "sidecar"
RELOADS = 200
NEW_MACHINES = 30
STREAMS = 6

pytestmark = pytest.mark.skipif(bool(containers.PROJECT), reason="these start an Envoy of their own")


def placed(file: Path, clusters: dict[str, int]) -> str:
    """The text of a configuration, with the ports of this test."""
    ports = {10000: 0, 10001: 0, 10002: clusters["provider"], 10003: clusters["judge"], 10004: clusters["collector"]}
    return re.sub(r"(?<=port_value: )\d+", lambda found: str(ports[int(found[0])]), file.read_text())


@pytest.fixture
def start(envoy_binary: Path, tmp_path: Path) -> Iterator[Any]:
    """Starts Envoy with a configuration."""
    running: list[Gateway] = []

    def start(config: dict[str, Any], **environment: str) -> Gateway:
        gateway = Gateway(envoy_binary, config, tmp_path, environment=environment)
        running.append(gateway)
        gateway.wait_until_ready()
        return gateway

    yield start
    for gateway in running:
        assert not gateway.trouble()
        gateway.stop()


def test_each_route_has_its_own_document(start: Any, clusters: dict[str, int], judge: Judge, sink: Sink) -> None:
    envoy = start(yaml.safe_load(placed(SIDECAR / "per-route.yaml", clusters)))
    judge.behaviour = judges.says(json.dumps({"probability": 0.3, "explanation": "Perhaps."}))
    # The document of this route blocks from 0.1 on, that of all others from 0.6.
    blocked, passed = (ask(envoy.url, path, question(path, "What is the weather?")) for path in (MESSAGES, CHAT))
    assert read_legal(MESSAGES, blocked.body).names == []
    assert read_legal(CHAT, passed.body).names == ["get_weather"]
    assert sink.decision(blocked.trace_id)["policy_id"] == "anthropic"
    assert sink.decision(passed.trace_id)["policy_id"] == "default"


def test_no_route_passes_without_a_document(start: Any, clusters: dict[str, int]) -> None:
    envoy = start(yaml.safe_load(placed(SIDECAR / "per-route.yaml", clusters)))
    for path in ("/v1/Messages", "/V1/chat/completions", "/v1/responses", "//v1/messages"):
        answer = ask(envoy.url, path, question(CHAT if "chat" in path else MESSAGES, "Delete everything."))
        assert b"rm -rf" not in answer.body, path


class Reloading:
    """An Envoy whose filter comes from a file."""

    def __init__(self, start: Any, clusters: dict[str, int], folder: Path) -> None:
        self._file = folder / "extension.json"
        self._extension = yaml.safe_load(placed(SIDECAR / "reload-extension.yaml", clusters))
        self.put(revision=0)
        config = yaml.safe_load(
            placed(SIDECAR / "reload.yaml", clusters).replace("envoy/sidecar/reload-extension.yaml", str(self._file))
        )
        self.envoy: Gateway = start(config)

    def put(self, *, revision: int, machine: str = "weir") -> None:
        """Renames a new file over the old one."""
        plugin = self._extension["resources"][0]["typed_config"]["config"]
        document = json.loads(plugin["configuration"]["value"])
        document["policy"]["revision"] = revision
        plugin["configuration"]["value"] = json.dumps(document)
        plugin["vm_config"]["vm_id"] = machine
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self._extension))
        new.replace(self._file)

    def reloads(self) -> int:
        counters = self.envoy.counters("extension_config_discovery")
        return sum(value for name, value in counters.items() if name.endswith("config_reload"))

    def machines(self) -> int:
        return sum(self.envoy.counters("wasm.envoy.wasm.runtime.v8.active").values())

    def reload(self, **change: Any) -> None:
        before = self.reloads()
        self.put(**change)
        deadline = time.monotonic() + 20
        while self.reloads() == before:
            assert time.monotonic() < deadline, "the file was not read anew"
            time.sleep(0.005)

    def resident_kib(self) -> int:
        status = Path(f"/proc/{self.envoy.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])  # type: ignore[index]


def until(over: threading.Event, path: str) -> Handler:
    """A stream with text, and a call that comes when `over` is set."""
    pieces = scripts.recorded(path, Answer("Looking.", (WEATHER,)))

    async def handler(reply: Reply) -> None:
        await reply.start(200, [("content-type", "text/event-stream")])
        for piece in pieces[:2]:
            await reply.write(piece)
        while not over.is_set():
            await reply.pause(0.02)
        for piece in pieces[2:]:
            await reply.write(piece)
        await reply.end()

    return handler


@pytest.mark.timeout(300)
def test_it_is_read_anew_under_open_streams(
    start: Any, clusters: dict[str, int], provider: Provider, script: scripts.Register, sink: Sink, tmp_path: Path
) -> None:
    reloading = Reloading(start, clusters, tmp_path)
    over = threading.Event()
    name = script(until(over, CHAT))
    answers: list[Response] = []
    clients = [
        threading.Thread(target=lambda: answers.append(ask(reloading.envoy.url, CHAT, script=name, timeout=200)))
        for _ in range(STREAMS)
    ]
    for client in clients:
        client.start()
    while len(provider.requests) < STREAMS:
        time.sleep(0.01)

    machines = reloading.machines()
    sizes = []
    for revision in range(1, RELOADS + 1):
        reloading.reload(revision=revision)
        if revision % 50 == 0:
            between = ask(reloading.envoy.url, CHAT, question(CHAT, "Do both."))
            assert read_legal(CHAT, between.body).names == ["get_weather"]
            assert sink.decision(between.trace_id)["policy_revision"] == revision
            sizes.append(reloading.resident_kib())
    # A new document needs no new virtual machine.
    assert reloading.machines() == machines

    over.set()
    for client in clients:
        client.join(30)
    for answer in answers:
        # Streams end as they began: with the document that they began with.
        assert read_legal(CHAT, answer.body).names == ["get_weather"]
        assert sink.decision(answer.trace_id)["policy_revision"] == 0
    assert len(answers) == STREAMS
    print(f"resident KiB after 50, 100, 150 and 200 reloads: {sizes}")
    assert sizes[-1] - sizes[0] < 8192


@pytest.mark.timeout(300)
def test_old_machines_go(start: Any, clusters: dict[str, int], tmp_path: Path) -> None:
    reloading = Reloading(start, clusters, tmp_path)
    assert read_legal(CHAT, ask(reloading.envoy.url, CHAT).body).text
    machines = reloading.machines()
    sizes = []
    for number in range(NEW_MACHINES):
        reloading.reload(revision=number, machine=f"weir-{number}")
        assert read_legal(CHAT, ask(reloading.envoy.url, CHAT).body).text
        sizes.append(reloading.resident_kib())
    deadline = time.monotonic() + 20
    while reloading.machines() > machines:
        assert time.monotonic() < deadline, f"{reloading.machines()} virtual machines are still there"
        time.sleep(0.1)
    print(
        f"resident KiB after {NEW_MACHINES // 3}, {NEW_MACHINES} new machines: {sizes[NEW_MACHINES // 3]}, {sizes[-1]}"
    )
    assert sizes[-1] < sizes[NEW_MACHINES // 3] * 1.25


def test_a_wrong_document_changes_nothing(start: Any, clusters: dict[str, int], tmp_path: Path, sink: Sink) -> None:
    reloading = Reloading(start, clusters, tmp_path)
    reloading._extension["resources"][0]["typed_config"]["config"]["configuration"]["value"] = json.dumps(
        {"policy": {"id": "wrong", "revision": 1}, "chain": [{"use": "no_such_policy"}]}
    )
    before = reloading.envoy.counters("extension_config_discovery")
    reloading.put(revision=9)
    deadline = time.monotonic() + 20
    while reloading.envoy.counters("extension_config_discovery") == before:
        assert time.monotonic() < deadline, "the file was not read"
        time.sleep(0.02)
    answer = ask(reloading.envoy.url, CHAT, question(CHAT, "Do both."))
    assert read_legal(CHAT, answer.body).names == ["get_weather"]
    assert sink.decision(answer.trace_id)["policy_id"] == "reloaded"
    # It says so; that is no trouble of the module's.
    assert any("no_such_policy" in line for line in reloading.envoy.trouble())


def test_a_new_secret_is_shown_at_once(
    envoy_binary: Path, clusters: dict[str, int], tmp_path: Path, judge: Judge
) -> None:
    """A VM reads its variables when it starts, and a changed one starts a new VM: envoy/README.md, "Secrets"."""
    text = placed(SIDECAR / "reload-extension.yaml", clusters)
    extension = yaml.safe_load(text)
    plugin = extension["resources"][0]["typed_config"]["config"]
    document = json.loads(plugin["configuration"]["value"])
    document["judges"]["main"]["api_key_env"] = "JUDGE_KEY"
    plugin["configuration"]["value"] = json.dumps(document)
    file = tmp_path / "extension.json"

    def put(key: str, machine: str) -> None:
        plugin["vm_config"]["vm_id"] = machine
        plugin["vm_config"]["environment_variables"] = {"key_values": {"JUDGE_KEY": key}}
        new = file.with_suffix(".new")
        new.write_text(json.dumps(extension))
        new.replace(file)

    put("first-key", "weir")
    config = placed(SIDECAR / "reload.yaml", clusters).replace("envoy/sidecar/reload-extension.yaml", str(file))
    envoy = Gateway(envoy_binary, yaml.safe_load(config), tmp_path)
    try:
        envoy.wait_until_ready()

        def shown() -> str:
            judge.requests.clear()
            ask(envoy.url, CHAT, question(CHAT, "What is the weather?"))
            return judge.requests[0].headers["authorization"]

        def loaded() -> int:
            return sum(
                v for name, v in envoy.counters("extension_config_discovery").items() if name.endswith("config_reload")
            )

        assert shown() == "Bearer first-key"
        before = loaded()
        put("second-key", "weir")
        while loaded() == before:
            time.sleep(0.02)
        assert shown() == "Bearer second-key"
        assert not envoy.trouble()
    finally:
        envoy.stop()
