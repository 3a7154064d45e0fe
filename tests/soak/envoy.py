"""Envoy as the soak runs it: two workers, listener and filter by discovery, so that both can be read anew."""

from __future__ import annotations

import json
import os
import random
import socket
import statistics
import threading
import time
from pathlib import Path
from typing import Any

from harness.gateway import HTTP_FILTER, Gateway, Settings, render
from support.documents import tool_call_judge

from soak.peers import JUDGE_TIMEOUT

WORKERS = 2
DRAIN_SECONDS = 10
"""No exchange of a listener that is replaced lasts longer."""


class Discovered:
    """The files that Envoy reads its listener and its filter from."""

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._revision = 0
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        document = tool_call_judge(timeout=f"{int(JUDGE_TIMEOUT * 1000)}ms")
        document["events"] = {"cluster": "collector"}
        self.bootstrap = render(Settings(clusters=ports, policy=document, listener_port=port), folder)
        resources = self.bootstrap["static_resources"]
        self._listener = resources.pop("listeners")[0]
        manager = self._listener["filter_chains"][0]["filters"][0]["typed_config"]
        filters = manager["http_filters"]
        at = next(index for index, each in enumerate(filters) if each["name"] == HTTP_FILTER)
        self._plugin = filters[at]["typed_config"]
        source = {"path_config_source": {"path": str(folder / "filter.json")}, "resource_api_version": "V3"}
        filters[at] = {
            "name": "weir",
            "config_discovery": {"config_source": source, "type_urls": [self._plugin["@type"]]},
        }
        self.bootstrap["node"] = {"id": "soak", "cluster": "soak"}
        self.bootstrap["dynamic_resources"] = {
            "lds_config": {
                "path_config_source": {"path": str(folder / "listeners.json")},
                "resource_api_version": "V3",
            }
        }
        self.change_filter()
        self.change_listener()

    def change_filter(self) -> None:
        """Another revision of the policy document (ECDS)."""
        self._revision += 1
        document = json.loads(self._plugin["config"]["configuration"]["value"])
        document["policy"]["revision"] = self._revision
        self._plugin["config"]["configuration"]["value"] = json.dumps(document)
        kind = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
        self._write("filter.json", {"@type": kind, "name": "weir", "typed_config": self._plugin})

    def change_listener(self) -> None:
        """Another version of the listener (LDS): all its filters are made anew."""
        self._revision += 1
        manager = self._listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager["server_name"] = f"envoy-{self._revision}"
        self._write(
            "listeners.json", {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", **self._listener}
        )

    def _write(self, name: str, resource: dict[str, Any]) -> None:
        file = self._folder / f"{name}.new"
        file.write_text(json.dumps({"version_info": str(self._revision), "resources": [resource]}))
        # Envoy watches for files that are moved to their place.
        file.replace(self._folder / name)


def start(binary: Path, discovered: Discovered, folder: Path) -> Gateway:
    arguments = ("--drain-time-s", str(DRAIN_SECONDS), "--drain-strategy", "immediate")
    gateway = Gateway(binary, discovered.bootstrap, folder, concurrency=WORKERS, arguments=arguments)
    gateway.wait_until_ready()
    return gateway


class Memory:
    """What Envoy takes of the memory, once a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.samples: list[float] = []

    def sample(self) -> None:
        """Notes the resident MiB."""
        pages = int(Path(f"/proc/{self._pid}/statm").read_text().split()[1])
        self.samples.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)

    def quarters(self) -> list[float]:
        """The median of each quarter of the time."""
        size = max(1, len(self.samples) // 4)
        return [round(statistics.median(self.samples[at * size : (at + 1) * size]), 1) for at in range(4)]


def reload_at_random(
    discovered: Discovered, dice: random.Random, over: threading.Event, pause: float
) -> tuple[int, int]:
    """Changes filter or listener again and again; how often each."""
    filters = listeners = 0
    while not over.wait(dice.uniform(0.5, 1.5) * pause):
        if dice.random() < 0.8:
            discovered.change_filter()
            filters += 1
        else:
            discovered.change_listener()
            listeners += 1
    return filters, listeners


def wait_until_idle(gateway: Gateway, seconds: float) -> dict[str, int]:
    """The requests that are still active then, none if all have ended before."""
    until = time.monotonic() + seconds
    while True:
        active = gateway.counters("rq_active")
        names = ("http.llm.", "cluster.provider", "cluster.judge")
        left = {name: value for name, value in active.items() if value and any(part in name for part in names)}
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.2)
