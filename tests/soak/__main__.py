"""`python -m soak [--seconds 600] [--seed N]`: plays, checks, and says what it found; 1 where something is wrong."""

from __future__ import annotations

import argparse
import os
import random
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.gateway import Gateway
from harness.http_server import Background, Reply
from support.sink import Sink

from soak import client, envoy
from soak.client import Played
from soak.peers import FaultyJudge, FaultyProvider, Plans
from soak.plan import Exchange

CLIENTS = 12
MOST_GROWTH_MIB = 24.0
"""From the second quarter to the last."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--reload-every", type=float, default=3.0)
    arguments = parser.parse_args()
    print(f"soak: {arguments.seconds:.0f} s, --seed {arguments.seed}", flush=True)
    background = Background()
    try:
        with tempfile.TemporaryDirectory(prefix="weir-soak-") as folder:
            wrong = run(arguments, background, Path(folder))
    finally:
        background.close()
    for line in wrong[:20]:
        print(f"wrong: {line}")
    print("soak: " + (f"{len(wrong)} wrong; again with --seed {arguments.seed}" if wrong else "nothing is wrong"))
    return 1 if wrong else 0


def run(arguments: argparse.Namespace, background: Background, folder: Path) -> list[str]:
    plans, sink = Plans(), Sink()
    provider, judge = FaultyProvider(plans), FaultyJudge(plans)
    for server in (provider, judge, sink):
        background.run(server.start())
    ports = {"provider": provider.port, "judge": judge.port, "collector": sink.port}
    discovered = envoy.Discovered(folder, ports)
    gateway = envoy.start(Path(os.environ["WEIR_TEST_ENVOY"]), discovered, folder)
    try:
        played, reloads, memory = _play(arguments, plans, discovered, gateway, sink)
        wrong = [line for each in played for line in each.wrong]
        wrong += [f"the provider got {harm}" for harm in provider.harm]
        turned_away = sum(each.turned_away for each in played)
        if turned_away > reloads[1] * CLIENTS:
            wrong.append(f"{turned_away} connections were turned away by {reloads[1]} listeners that went")
        wrong += _check(gateway, sink, played, memory)
    finally:
        gateway.stop()
    kinds = sum((each.kinds for each in played), Counter())
    print(f"soak: {dict(sorted(kinds.items()))}")
    print(f"soak: reloads of the filter and of the listener {reloads}, turned away {turned_away}")
    print(f"soak: MiB by quarters {memory.quarters()}")
    return wrong


def _play(
    arguments: argparse.Namespace, plans: Plans, discovered: envoy.Discovered, gateway: Gateway, sink: Sink
) -> tuple[list[Played], tuple[int, int], envoy.Memory]:
    url, over = gateway.url, threading.Event()
    until = time.monotonic() + arguments.seconds
    memory = envoy.Memory(gateway.process.pid)
    played = [Played() for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS + 2) as pool:
        dice = random.Random(f"{arguments.seed} reloads")
        reloading = pool.submit(envoy.reload_at_random, discovered, dice, over, arguments.reload_every)
        away = pool.submit(_be_away_at_random, sink, random.Random(f"{arguments.seed} collector"), over)
        clients = [
            pool.submit(client.play, url, f"{arguments.seed} {number}", until, plans, each)
            for number, each in enumerate(played)
        ]
        while any(not each.done() for each in clients):
            memory.sample()
            time.sleep(1)
        over.set()
        away.result()
        for each in clients:
            each.result()
        return played, reloading.result(), memory


def _be_away_at_random(sink: Sink, dice: random.Random, over: threading.Event) -> None:
    """The collector refuses, or keeps silent, for some seconds now and then."""

    async def refuses(reply: Reply) -> None:
        await reply.send(503, b"")

    async def is_silent(reply: Reply) -> None:
        await reply.pause(60)

    while not over.wait(dice.uniform(3, 10)):
        sink.behaviour = dice.choice((refuses, is_silent))
        over.wait(dice.uniform(1, 4))
        sink.behaviour = None
    sink.behaviour = None


def _check(gateway: Gateway, sink: Sink, played: list[Played], memory: envoy.Memory) -> list[str]:
    wrong = [f"a stream has not ended: {name} {value}" for name, value in envoy.wait_until_idle(gateway, 20).items()]
    wrong += gateway.trouble()
    exchanges = {trace_id: plan for each in played for trace_id, plan in each.exchanges.items()}
    decisions = _decisions(sink, exchanges)
    dropped = sum(value for name, value in gateway.counters("weir.events.dropped").items())
    missing = [trace_id for trace_id in exchanges if not decisions[trace_id]]
    recorded = len(exchanges) - len(missing)
    print(f"soak: {len(exchanges)} exchanges, {recorded} with their event, {dropped} events counted as lost")
    if len(missing) > dropped:
        wrong.append(f"{len(missing)} exchanges have no event, and {dropped} events are counted as lost: {missing[:5]}")
    wrong += [f"{len(each)} enforcement events: {trace_id}" for trace_id, each in decisions.items() if len(each) > 1]
    for trace_id, plan in exchanges.items():
        if plan.is_whole and decisions[trace_id] and decisions[trace_id] != [plan.decision]:
            wrong.append(f"decided {decisions[trace_id]}, not {plan.decision}: {trace_id} {plan}")
    _, second, _, last = memory.quarters()
    if last - second > MOST_GROWTH_MIB:
        wrong.append(f"the memory grows: {memory.quarters()} MiB")
    return wrong + sink.faults()


def _decisions(sink: Sink, exchanges: dict[str, Exchange]) -> dict[str, list[str]]:
    """The decisions of each exchange, once all are there, or for half a minute."""
    until = time.monotonic() + 30
    while True:
        found: dict[str, list[str]] = {trace_id: [] for trace_id in exchanges}
        for event in sink.events():
            if event["event_type"] == "enforcement" and event.get("trace_id") in found:
                found[event["trace_id"]].append(event["metadata"]["decision"])
        if all(found.values()) or time.monotonic() > until:
            return found
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
