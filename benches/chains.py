#!/usr/bin/env python3
"""Measures what policies cost that are switched on, with few streams at once and with many.

Plain Envoy, a filter that only reads and, where it is there, another gateway (LiteLLM's proxy) are measured beside
them. All take turns in one run; docs/benchmarks.md has the figures of one.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import resource
import sys
from pathlib import Path
from statistics import median
from typing import Any

import litellm_proxy
import run
from measure import Figures, Load
from proxy import ROOT, BenchError, Filter, Ports, Proxy
from table import render_rows

PLAIN, READER = "plain Envoy", "Wasm, reads each chunk"
# Streams at once, the events of each answer, and the answers of each: together about as many events everywhere.
AT_ONCE = {1: (4000, 1), 16: (1000, 1), 256: (100, 1), 2000: (16, 1)}
# Another gateway takes a hundred times as long for an event, does not hold as many streams, and takes a hundred events
# that say the same for a fault of the model.
AT_ONCE_ELSEWHERE = {1: (80, 4), 16: (60, 1), 256: (6, 1)}
# Text in which nothing is found, and text of which a part is replaced in every event.
PLAIN_WORDS = "The third build machine is almost full. "
REDACTED_WORDS = "Write to ada@example.com about the third build machine. "
ENDING_EVENTS = 3
# Of which about 110 are text.
EVENT_BYTES = 400


def main() -> None:
    arguments = parse_arguments()
    run.FOLDER.mkdir(parents=True, exist_ok=True)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    cores = sorted(os.sched_getaffinity(0))
    proxy_core, load_core = cores[:2] if len(cores) > 1 else (None, None)
    ports = Ports(arguments.ports)
    load = Load(arguments.load, ports, load_core)
    with contextlib.ExitStack() as stack:
        proxies: dict[str, Any] = {}
        for number, (name, wasm_filter) in enumerate(filters(arguments).items()):
            file_name = "".join(character if character.isalnum() else "-" for character in name)
            proxy = Proxy(file_name, number, ports, wasm_filter, run.FOLDER, proxy_core)
            proxies[name] = stack.enter_context(contextlib.closing(proxy))
        if arguments.litellm:
            for number, guardrail in enumerate((False, True)):
                proxy = litellm_proxy.LiteLlm(arguments.litellm, ports, number, guardrail, run.FOLDER, proxy_core)
                proxies[proxy.name] = stack.enter_context(contextlib.closing(proxy))
        costs = measure_all(load, proxies, arguments.repeats)
    report(costs, arguments)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--module", type=Path, default=ROOT / "target/weir.wasm")
    parser.add_argument("--reader", type=Path, default=ROOT / "target/wasm32-wasip1/wasm/weir_bench_reader.wasm")
    parser.add_argument("--load", type=Path, default=ROOT / "target/release/weir-bench-load")
    parser.add_argument("--litellm", type=Path, help="the program litellm; without it no other gateway is measured")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--ports", type=int, default=18500, help="first of the 40 loopback ports that are used")
    arguments = parser.parse_args()
    for needed in (arguments.module, arguments.reader, arguments.load):
        if not needed.exists():
            raise BenchError(f"{needed} is missing: `make bench-chains` builds it")
    return arguments


def filters(arguments: argparse.Namespace) -> dict[str, Filter | None]:
    """The filter of each proxy, by what stands in the table."""
    weir = {
        "weir no_op": run.NOOP_CHAIN,
        "weir tool_call_judge": run.JUDGE_CHAIN,
        "weir content_transform, 100 terms": run.TRANSFORM_CHAIN,
        "weir rules, 1,000 terms and detectors": rules(1000),
        "weir rules, 10,000 terms and detectors": rules(10_000),
        "weir rules, a value redacted in each event": rules(1000),
    }
    documents = {name: Filter(arguments.module, run.policy_document(chain)) for name, chain in weir.items()}
    return {PLAIN: None, READER: Filter(arguments.reader, "read"), **documents}


def rules(terms: int) -> list[dict[str, Any]]:
    """Terms of which none is found, and the detectors of the preset for chats."""
    preset = json.loads((ROOT / "policies/presets/chat.json").read_text())
    detectors = next(policy["with"]["rules"] for policy in preset["chain"] if policy["use"] == "rules")
    sought = {"id": "terms", "match": {"terms": [f"project nightingale {number}" for number in range(terms)]}}
    return [{"use": "rules", "with": {"rules": [sought, *detectors]}}]


def measure_all(load: Load, proxies: dict[str, Any], repeats: int) -> dict[str, dict[int, list[float]]]:
    """Microseconds of the proxy's processor for each event that the provider wrote, by proxy and streams at once."""
    costs: dict[str, dict[int, list[float]]] = {name: {} for name in proxies}
    for name, proxy in proxies.items():
        run.progress(f"warming up: {name}")
        cost_of(load, proxy, name, 16, 60, 2)
    for repeat in range(repeats):
        order = list(proxies.items())
        for name, proxy in order if repeat % 2 == 0 else reversed(order):
            for streams, (events, rounds) in at_once(proxy).items():
                run.progress(f"repeat {repeat + 1} of {repeats}: {name}, {streams} streams")
                costs[name].setdefault(streams, []).append(cost_of(load, proxy, name, streams, events, rounds))
    return costs


def at_once(proxy: Any) -> dict[int, tuple[int, int]]:
    return AT_ONCE if isinstance(proxy, Proxy) else AT_ONCE_ELSEWHERE


def cost_of(load: Load, proxy: Any, name: str, streams: int, events: int, rounds: int) -> float:
    words = REDACTED_WORDS if "redacted" in name else PLAIN_WORDS
    decided, (used, _) = proxy.decided_exchanges(), proxy.worker_seconds()
    report = load.run(
        proxy, "lock-step", streams=streams, events=events, rounds=rounds, words=words, event_size=EVENT_BYTES
    )
    used = proxy.worker_seconds()[0] - used
    check(name, report, proxy.decided_exchanges() - decided)
    return used / (streams * rounds * (events + ENDING_EVENTS)) * 1e6


def check(name: str, report: Figures, decided: int) -> None:
    """What a filter leaves out costs nothing, and protects nobody."""
    governed = report["exchanges"] if name.startswith("weir") and "redacted" not in name else 0
    if decided != governed:
        raise BenchError(f"{name}: {decided} of {report['exchanges']} exchanges were allowed, not {governed}")
    if "redacted" in name and report["altered"] != report["exchanges"]:
        raise BenchError(f"{name}: only {report['altered']} of {report['exchanges']} answers were changed")


def report(costs: dict[str, dict[int, list[float]]], arguments: argparse.Namespace) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    path = run.FOLDER / f"chains-{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps({"time": now.isoformat(timespec="seconds"), "microseconds": costs}, indent=2))
    run.progress("")
    rows = [
        ("worker µs an event (× plain, × reader)", *(f"{streams:,} stream{'s' * (streams > 1)}" for streams in AT_ONCE))
    ]
    rows += [(name, *(cell(costs, name, streams) for streams in AT_ONCE)) for name in costs]
    print(render_rows(rows))
    print(f"\nAll repeats: {path.relative_to(ROOT)}. The module: {arguments.module.stat().st_size:,} bytes.")


def cell(costs: dict[str, dict[int, list[float]]], name: str, streams: int) -> str:
    mine = costs[name].get(streams)
    if mine is None:
        return "–"
    # Turn by turn, so that a machine that gets slower during the run does not look like a slower filter.
    ratios = [
        median(own / other for own, other in zip(mine, costs[yardstick][streams], strict=True))
        for yardstick in (PLAIN, READER)
    ]
    return f"{median(mine):.1f} ({ratios[0]:.2f}, {ratios[1]:.2f})"


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"bench: {error}")
