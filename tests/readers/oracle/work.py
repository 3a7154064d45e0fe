"""Shares exchanges out among processes."""

from __future__ import annotations

import argparse
import multiprocessing
import time
import traceback
from typing import Any

from oracle.exchange import DIALECTS
from oracle.policies import POLICIES


def play(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Plays what the arguments ask for: a row for each exchange."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    workers = [
        context.Process(target=_work, args=(arguments, share, queue), daemon=True) for share in range(arguments.jobs)
    ]
    for worker in workers:
        worker.start()
    rows, ended = [], 0
    while ended < len(workers):
        row = queue.get()
        if row is None:
            ended += 1
        elif isinstance(row, str):
            raise SystemExit(row)
        else:
            rows.append(row)
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise SystemExit(f"a worker ended with {worker.exitcode}")
    return rows


def _work(arguments: argparse.Namespace, share: int, queue: Any) -> None:
    """Plays each n-th exchange."""
    try:
        _play_share(arguments, share, queue)
        queue.put(None)
    except BaseException:
        queue.put(traceback.format_exc())


def _play_share(arguments: argparse.Namespace, share: int, queue: Any) -> None:
    from oracle import run

    suite = run.Suite()
    if not arguments.no_cases:
        plan = run.case_plan() if arguments.only_cases else [*run.case_plan(), *run.honest_plan()]
        for exchange, policy in plan[share :: arguments.jobs]:
            queue.put(_row(suite.try_out(exchange, policy), "case"))
        if share == 0:
            _connect(queue)
    if arguments.only_cases:
        suite.close()
        return
    policies = arguments.policy or list(POLICIES)
    dialects = arguments.dialect or list(DIALECTS)
    began = time.monotonic()
    for number in range(arguments.first + share, arguments.first + arguments.mutations, arguments.jobs):
        if time.monotonic() - began > arguments.seconds:
            break
        queue.put(_row(suite.mutate(arguments.seed, number, policies, dialects), "mutation"))
    suite.close()


def _connect(queue: Any) -> None:
    from oracle import connecting

    for name, why in connecting.failures():
        findings = [["connect", "", why]]
        row = {"source": "case", "name": name, "asked": "", "dialect": "mcp_tool", "policy": "", "findings": findings}
        queue.put({**row, "number": None, "how": [], "bypass": False, "reason": "", "refused": True})


def _row(result: Any, source: str) -> dict[str, Any]:
    findings = [[finding.what, finding.reader, finding.detail] for finding in result.findings]
    exchange = result.exchange
    return {
        "source": source,
        "number": result.number,
        "name": exchange.name,
        "asked": "stream" if exchange.stream else "whole",
        "dialect": exchange.dialect,
        "policy": result.policy.name,
        "how": exchange.how,
        "findings": findings,
        "bypass": any(finding.is_bypass for finding in result.findings),
        "reason": result.outcome.reason,
        "refused": result.is_refused,
    }
