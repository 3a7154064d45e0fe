"""The containers of envoy/docker-compose.yaml in place of what the tests start themselves.

The mocks stay with the tests: the containers reach them at the address that the machine has towards containers.
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.compose import FILE, TOKEN, Compose
from harness.gateway import Gateway
from harness.http_server import Handler

from support.sink import Event, Sink

PROJECT = os.environ.get("WEIR_TEST_COMPOSE", "")
PROVIDER_PORT = 8080
JUDGE_PORT = 8081


def host() -> str:
    """The machine's address towards containers, or the loopback one where there are none."""
    if not PROJECT:
        return "127.0.0.1"
    return _compose().docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}").strip()


class ContainerGateway(Gateway):
    """The Envoy in the container: it has the shipped policy document, and no other."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._compose = _compose()
        self._folder = folder
        self._seen = 0
        self._admin_address = folder / "admin-address.txt"
        self._admin_address.write_text(f"127.0.0.1:{os.environ['WEIR_ADMIN_PORT']}")

    @property
    def port(self) -> int:
        return int(os.environ["WEIR_PORT"])

    @property
    def access_log(self) -> Path:  # type: ignore[override]
        file = self._folder / "access.log"
        file.write_text(self._compose.logs("envoy"))
        return file

    def trouble(self) -> list[str]:
        lines = self._compose.logs("envoy").splitlines()
        new, self._seen = lines[self._seen :], len(lines)
        return self.wasm_trouble(new)


class ContainerSink(Sink):
    """What the collectors in containers have. They cannot be told to fail."""

    @property
    def behaviour(self) -> Handler | None:
        return None

    @behaviour.setter
    def behaviour(self, value: Handler | None) -> None:
        if value is not None:
            pytest.skip("the collectors in containers cannot be told to fail")

    def events(self, trace_id: str | None = None) -> Iterator[Event]:
        """The newest thousand events, oldest first."""
        found = [stored["event"] for stored in _get("/v1/events?limit=1000")["events"]]
        return (event for event in reversed(found) if trace_id in (None, event.get("trace_id")))

    def faults(self) -> list[str]:
        senders = _get("/v1/senders")["senders"]
        return [f"a sender misses events: {sender}" for sender in senders if sender["missing"] or sender["dropped"]]


def _get(path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["WEIR_COLLECTOR_PORT"]), timeout=10)
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {TOKEN}"})
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _compose() -> Compose:
    return Compose(dict(os.environ), PROJECT, (FILE,))
