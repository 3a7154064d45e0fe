#!/usr/bin/env python3
"""Measures Weir in Envoy against Envoy alone and against a filter that only reads, beside each other in one run.

All proxies run at the same time and one at a time has work; every repeat visits them all, each second one in the
opposite order. Envoy has one core and the load generator another. Results go to target/bench/.
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
from typing import Any

import budgets
import measure
import table
from measure import Figures, Load, Traffic
from proxy import ROOT, BenchError, Filter, Ports, Proxy

Filters = dict[str, Filter | None]
"""The filter of each proxy, by the proxy's name."""

FOLDER = ROOT / "target/bench"
NOOP_CHAIN = [{"use": "no_op"}]
JUDGE_CHAIN = [{"use": "tool_call_judge", "with": {"judge": "main", "threshold": 0.6, "on_error": "block"}}]
# Its rules find nothing, and what a rule could find must be looked for in all text.
TRANSFORM_CHAIN = [
    {
        "use": "content_transform",
        "with": {"replace": [{"find": f"project nightingale {n}", "with": "[internal]"} for n in range(100)]},
    }
]
# Which of the measured rows others are compared with.
PLAIN, EMPTY, READER, NOOP = "plain", "idle", "reader", "weir-noop"
JUDGE, TRANSFORM = "weir-judge", "weir-transform"
# The proxies that Weir runs in.
WEIR = (NOOP, JUDGE, TRANSFORM)
# Whose memory is measured with one worker and with more.
WORKERS = (1, 2, 4, 8)
# The dialects that the load generator speaks.
DIALECTS = ("chat.completions", "messages", "responses", "mcp_tool")
# Measurements of the worker's cost in each repeat.
TURNS = 4


def main() -> None:
    arguments = parse_arguments()
    FOLDER.mkdir(parents=True, exist_ok=True)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Every held stream has two sockets in Envoy and two in the load generator.
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    cores = sorted(os.sched_getaffinity(0))
    proxy_core, load_core = cores[:2] if len(cores) > 1 else (None, None)
    if proxy_core is None:
        print("only one core: Envoy and the load generator share it, the numbers will be poor", flush=True)

    ports = Ports(arguments.ports)
    load = Load(arguments.load, ports, load_core)
    filters = wasm_filters(arguments)
    rows = [row for row in all_rows() if row.proxy in filters]
    speed, dialects = measure_speed(rows, filters, load, ports, proxy_core, arguments.repeats)
    memory = measure_memory(rows, filters, load, ports, proxy_core, arguments.memory_repeats)
    workers = measure_workers(filters, load, ports, proxy_core)
    summaries = summarise(rows, speed, memory)
    report(arguments, summaries, speed, dialects, memory, workers)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    release = ROOT / "target/release"
    wasm = ROOT / "target/wasm32-wasip1/wasm"
    parser.add_argument("--module", type=Path, default=ROOT / "target/weir.wasm", help="Weir, as it is shipped")
    parser.add_argument("--reader", type=Path, default=wasm / "weir_bench_reader.wasm")
    parser.add_argument("--load", type=Path, default=release / "weir-bench-load")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory-repeats", type=int, default=3)
    parser.add_argument("--ports", type=int, default=18400, help="first of the 30 loopback ports that are used")
    arguments = parser.parse_args()
    for needed in (arguments.reader, arguments.load):
        if not needed.exists():
            raise BenchError(f"{needed} is missing: `make bench` builds it")
    return arguments


class RowPlan:
    """One row of the table: a proxy and the traffic it gets."""

    def __init__(self, name: str, label: str, proxy: str, traffic: type[Traffic]) -> None:
        self.name = name
        self.label = label
        self.proxy = proxy
        self.traffic = traffic

    def cost(self, load: Load, proxy: Proxy) -> Figures:
        judged = self.proxy == JUDGE and self.traffic is measure.ToolCalls
        return checked(self.label, self.traffic.cost(load, proxy), governed=self.proxy in WEIR, judged=judged)

    def compared_with(self, rows: list[RowPlan], proxy: str) -> RowPlan:
        """The row of another proxy that got the same traffic."""
        return next(row for row in rows if row.proxy == proxy and row.traffic is self.traffic)


def checked(label: str, cost: Figures, governed: bool, judged: bool) -> Figures:
    """The figures, if they are of what is said here: what a filter leaves out costs nothing, and protects nobody."""
    for what, expected in (("governed", governed), ("judged", judged), ("altered", False)):
        if cost[what] != expected:
            raise BenchError(f"{label}: {cost[what]:.0%} of the exchanges were {what}, not {int(expected):.0%}")
    return cost


def all_rows() -> list[RowPlan]:
    text, tools = measure.Text, measure.ToolCalls
    return [
        RowPlan("plain", "plain Envoy", PLAIN, text),
        RowPlan("idle", "Wasm, no-op callback", EMPTY, text),
        RowPlan("reader", "Wasm, reads each chunk", READER, text),
        RowPlan(NOOP, "weir no_op", NOOP, text),
        RowPlan("weir-judge", "weir tool_call_judge, text only", JUDGE, text),
        RowPlan(TRANSFORM, "weir content_transform, 100 terms", TRANSFORM, text),
        RowPlan("plain-tools", "plain Envoy, tool calls", PLAIN, tools),
        RowPlan("reader-tools", "Wasm, reads each chunk, tool calls", READER, tools),
        RowPlan("weir-judge-tools", "weir tool_call_judge, tool calls", JUDGE, tools),
    ]


def wasm_filters(arguments: argparse.Namespace) -> Filters:
    filters = {PLAIN: None, EMPTY: Filter(arguments.reader, "noop"), READER: Filter(arguments.reader, "read")}
    if arguments.module.exists():
        filters[NOOP] = Filter(arguments.module, policy_document(NOOP_CHAIN))
        filters[JUDGE] = Filter(arguments.module, policy_document(JUDGE_CHAIN))
        filters[TRANSFORM] = Filter(arguments.module, policy_document(TRANSFORM_CHAIN))
    else:
        print(f"{arguments.module} is missing: only the yardsticks are measured", flush=True)
    return filters


def policy_document(chain: list[dict[str, Any]]) -> str:
    return json.dumps(
        {
            "policy": {"id": "bench", "name": "Bench", "revision": 1},
            # The proxies have allow_on_headers_stop_iteration: true.
            "envoy": {"request_hold": "headers"},
            "targets": DIALECTS,
            "chain": chain,
            "judges": {
                "main": {
                    "cluster": "judge",
                    "authority": "judge",
                    "path": "/v1/chat/completions",
                    "model": "small-judge",
                    "timeout": "5s",
                }
            },
            "events": {"cluster": "collector", "authority": "collector", "path": "/v1/events"},
        }
    )


def measure_speed(
    rows: list[RowPlan], filters: Filters, load: Load, ports: Ports, core: int | None, repeats: int
) -> tuple[dict[str, dict[str, list[Figures]]], dict[str, dict[str, list[Figures]]]]:
    """What the rows cost, and what the dialects cost each proxy."""
    results: dict[str, dict[str, list[Figures]]] = {row.name: {"costs": [], "delays": []} for row in rows}
    dialects: dict[str, dict[str, list[Figures]]] = {
        dialect: {READER: [], TRANSFORM: []} for dialect in DIALECTS if TRANSFORM in filters
    }
    with contextlib.ExitStack() as stack:
        proxies = {}
        for number, (name, wasm_filter) in enumerate(filters.items()):
            proxy = Proxy(name, number, ports, wasm_filter, FOLDER, core)
            stack.enter_context(contextlib.closing(proxy))
            proxies[name] = proxy
            measure.warm_up(load, proxy)
        for repeat in range(repeats):
            order = rows if repeat % 2 == 0 else rows[::-1]
            # Many short turns: whatever else the machine does then meets all variants alike.
            for turn in range(TURNS):
                for row in order:
                    progress(f"repeat {repeat + 1} of {repeats}, turn {turn + 1} of {TURNS}: {row.label}")
                    results[row.name]["costs"].append(row.cost(load, proxies[row.proxy]))
                for dialect, costs in dialects.items():
                    for name in costs:
                        progress(f"repeat {repeat + 1} of {repeats}, turn {turn + 1} of {TURNS}: {dialect}, {name}")
                        cost = measure.dialect_cost(load, proxies[name], dialect)
                        costs[name].append(checked(f"{dialect}, {name}", cost, governed=name in WEIR, judged=False))
            for row in order:
                progress(f"repeat {repeat + 1} of {repeats}, delays: {row.label}")
                results[row.name]["delays"].append(row.traffic.delays(load, proxies[row.proxy]))
    return results, dialects


def measure_memory(
    rows: list[RowPlan], filters: Filters, load: Load, ports: Ports, core: int | None, repeats: int
) -> dict[str, list[Figures]]:
    results: dict[str, list[Figures]] = {row.name: [] for row in rows}
    for repeat in range(repeats):
        for row in rows:
            progress(f"memory {repeat + 1} of {repeats}: {row.label}")
            # A process that has held streams keeps their memory, so each sample needs a new one.
            proxy = Proxy(f"{row.name}-memory", 0, ports, filters[row.proxy], FOLDER, core)
            with contextlib.closing(proxy):
                results[row.name].append(measure.memory(load, proxy, row.traffic.in_tool_call))
    return results


def measure_workers(filters: Filters, load: Load, ports: Ports, core: int | None) -> dict[str, dict[int, float]]:
    """The memory of a process, by its filter and the number of its workers."""
    results: dict[str, dict[int, float]] = {name: {} for name in (PLAIN, JUDGE) if name in filters}
    for name, by_workers in results.items():
        for workers in WORKERS:
            progress(f"memory of {name} with {workers} workers")
            proxy = Proxy(f"{name}-{workers}-workers", 0, ports, filters[name], FOLDER, core, workers)
            with contextlib.closing(proxy):
                by_workers[workers] = measure.memory_of_workers(load, proxy, workers)
    return results


def summarise(
    rows: list[RowPlan], speed: dict[str, dict[str, list[Figures]]], memory: dict[str, list[Figures]]
) -> list[Figures]:
    measured = {row.name: table.Row(row.label, **speed[row.name], memory=memory[row.name]) for row in rows}
    return [
        measured[row.name].summary(
            plain=measured[row.compared_with(rows, PLAIN).name],
            reader=measured[row.compared_with(rows, READER).name],
            # It keeps nothing of a stream, whatever the traffic.
            empty=measured[EMPTY],
            name=row.name,
        )
        for row in rows
    ]


def report(
    arguments: argparse.Namespace,
    summaries: list[Figures],
    speed: Figures,
    dialects: Figures,
    memory: Figures,
    workers: dict[str, dict[int, float]],
) -> None:
    size = arguments.module.stat().st_size if arguments.module.exists() else None
    now = datetime.datetime.now(datetime.timezone.utc)
    result = {
        "time": now.isoformat(timespec="seconds"),
        "load_average": os.getloadavg(),
        "module_bytes": size,
        "rows": summaries,
        "workers_mib": workers,
        "budgets": (kept := budgets.of_envoy(summaries, workers, size) if size is not None else []),
        "repeats": {"speed": speed, "dialects": dialects, "memory": memory},
    }
    path = FOLDER / f"envoy-{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(result, indent=2))

    progress("")
    print(table.render(summaries))
    print()
    print("Added: to plain Envoy with the same traffic, whose own figures stand in parentheses.")
    print()
    print(table.render_dialects(dialects, READER, TRANSFORM))
    print()
    print(table.render_memory(summaries))
    print()
    print("An empty filter: the no-op callback, whose VM is there before any filter does something.")
    print()
    print(table.render_workers(workers))
    if size is not None:
        print()
        print(table.render_budgets(kept))
        print()
        print(f"weir.wasm: {size:,} bytes ({size / 1024:.0f} KiB)")
    for summary in summaries:
        if summary["worker_waited"] > 0.05:
            share = summary["worker_waited"]
            print(f"{summary['variant']}: the worker waited {share:.0%} of its time, something else ran on its core")
    print(f"all repeats: {path.relative_to(ROOT)}")


def progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"bench: {error}")
