"""The measurements: runs the load generator against one proxy and reads what the proxy's worker has spent."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, ClassVar, Protocol

from proxy import BenchError, Ports, Proxy

Figures = dict[str, Any]
"""What was measured, by name."""

LOAD_WITHIN_SECONDS = 120
HELD_STREAMS = 1000
# Streams that end in a tool call are held half way through it.
TOOL_CALL_FRAGMENTS = 10


class Load:
    """The load generator on a core of its own."""

    def __init__(self, binary: Path, ports: Ports, core: int | None) -> None:
        self._command = [
            str(binary),
            *("--provider-port", str(ports.provider)),
            *("--judge-port", str(ports.judge)),
            *("--collector-port", str(ports.collector)),
        ]
        self._pin = (lambda: os.sched_setaffinity(0, {core})) if core is not None else None

    def start(self, proxy: Proxy, mode: str, **options: int | str) -> subprocess.Popen[str]:
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        return subprocess.Popen(
            [*self._command, "--proxy-port", str(proxy.port), mode, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=self._pin,
        )

    def run(self, proxy: Proxy, mode: str, **options: int | str) -> Figures:
        """The report of one measurement."""
        return self.finish(proxy, mode, self.start(proxy, mode, **options))

    def finish(self, proxy: Proxy, mode: str, process: subprocess.Popen[str]) -> Figures:
        """Lets the load generator come to its end: a held one ends when its standard input does."""
        try:
            output, _ = process.communicate(timeout=LOAD_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise BenchError(f"{mode} on {proxy.name} hangs: no result in {LOAD_WITHIN_SECONDS} s") from None
        proxy.check()
        if process.returncode != 0:
            raise BenchError(f"{mode} on {proxy.name} failed with exit code {process.returncode}")
        return json.loads(output.splitlines()[-1])


def warm_up(load: Load, proxy: Proxy) -> None:
    """V8 compiles a module a second time, for speed, once it is used."""
    load.run(proxy, "lock-step", streams=4, events=4000, rounds=1)
    load.run(proxy, "tool-calls", streams=4, rounds=20)


class Traffic(Protocol):
    """What the proxies get to do."""

    in_tool_call: ClassVar[bool]

    @staticmethod
    def cost(load: Load, proxy: Proxy) -> Figures: ...

    @staticmethod
    def delays(load: Load, proxy: Proxy) -> Figures: ...


class Text:
    """Answers of text alone."""

    in_tool_call: ClassVar = False

    @staticmethod
    def cost(load: Load, proxy: Proxy) -> Figures:
        return _worker_cost(load, proxy, "lock-step", streams=16, events=2000, rounds=1)

    @staticmethod
    def delays(load: Load, proxy: Proxy) -> Figures:
        paced = load.run(proxy, "paced", streams=16, events=300, interval_ms=10)
        short = load.run(proxy, "first-delta", exchanges=500)
        return {"transit": paced["transit_us"], "first_delta": short["first_delta_us"]}


def dialect_cost(load: Load, proxy: Proxy, dialect: str) -> Figures:
    """What text costs in a dialect. The fragments come in events of the same size in all."""
    return _worker_cost(load, proxy, "lock-step", streams=16, events=2000, rounds=1, dialect=dialect)


class ToolCalls:
    """Answers of text that end in a tool call."""

    in_tool_call: ClassVar = True

    @staticmethod
    def cost(load: Load, proxy: Proxy) -> Figures:
        return _worker_cost(load, proxy, "tool-calls", streams=64, rounds=8, fragments=TOOL_CALL_FRAGMENTS)

    @staticmethod
    def delays(load: Load, proxy: Proxy) -> Figures:
        calm = load.run(proxy, "tool-calls", streams=4, rounds=60, events=5, fragments=TOOL_CALL_FRAGMENTS)
        return {"tool_call": calm["tool_call_us"]}


def memory(load: Load, proxy: Proxy, in_tool_call: bool) -> Figures:
    """What a proxy needs for streams that stand open half way, after one stream has warmed it up."""
    load.run(proxy, "lock-step", streams=1, events=20_000, rounds=1)
    idle = proxy.resident_mib()
    fragments = TOOL_CALL_FRAGMENTS if in_tool_call else 0
    process = load.start(proxy, "hold", streams=HELD_STREAMS, fragments=fragments)
    process.stdout.readline()
    held = proxy.resident_mib()
    load.finish(proxy, "hold", process)
    return {"idle_mib": idle, "held_mib": held, "stream_kib": (held - idle) * 1024 / HELD_STREAMS}


def memory_of_workers(load: Load, proxy: Proxy, workers: int) -> float:
    """What a process needs once each of its workers has had streams: the kernel spreads connections over them."""
    load.run(proxy, "lock-step", streams=32 * workers, events=500, rounds=1)
    return proxy.resident_mib()


def _worker_cost(load: Load, proxy: Proxy, mode: str, **options: int | str) -> Figures:
    decided_before = proxy.decided_exchanges()
    used_before, waited_before = proxy.worker_seconds()
    report = load.run(proxy, mode, **options)
    used_after, waited_after = proxy.worker_seconds()
    used = used_after - used_before
    decided = proxy.decided_exchanges() - decided_before
    return {
        "worker_us_per_event": used / report["events"] * 1e6,
        "worker_waited": (waited_after - waited_before) / used,
        "bytes_per_event": report["bytes"] / report["events"],
        "events_per_second": report["events_per_second"],
        "altered": report["altered"] / report["exchanges"],
        "governed": decided / report["exchanges"],
        "judged": report["judged"] / report["exchanges"],
        "event_batches": report["event_batches"],
    }
