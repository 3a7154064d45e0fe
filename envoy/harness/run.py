"""`make run`: the whole path on one machine, with six exchanges to look at."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from harness import tools
from harness.demo_client import CHAT
from harness.errors import SetupError, progress
from harness.gateway import Gateway, Settings, shipped_policy
from harness.http_server import Background
from harness.judge import Judge
from harness.paths import LOGS, collector
from harness.processes import Process, ProcessGroup, require_free_port
from harness.provider import Provider
from harness.scenes import RULE_SCENES, SCENES, configuration
from harness.show import Show, get

# Slow enough to watch the text arrive, and a held call wait for its verdict.
PACE_SECONDS = 0.03
JUDGE_SECONDS = 0.2
# A collector that cannot live is not started for ever.
MOST_RESTARTS = 20


@dataclass(frozen=True)
class Ports:
    """Where everything listens, on the loopback interface; each can be chosen by an environment variable."""

    envoy: int
    admin: int
    provider: int
    judge: int
    collector: int

    @classmethod
    def from_environment(cls) -> Ports:
        ports = {}
        for name, (variable, default) in _PORTS.items():
            text = os.environ.get(variable, str(default))
            if not text.isdigit() or not 0 < int(text) < 65536:
                raise SetupError(f"{variable}={text} is not a port: give a number from 1 to 65535.")
            ports[name] = int(text)
            require_free_port(ports[name], name, variable)
        if len(set(ports.values())) < len(ports):
            raise SetupError(f"Two of {', '.join(variable for variable, _ in _PORTS.values())} are the same port.")
        return cls(**ports)


_PORTS = {
    "envoy": ("WEIR_PORT", 10000),
    "admin": ("WEIR_ADMIN_PORT", 10001),
    "provider": ("WEIR_PROVIDER_PORT", 10002),
    "judge": ("WEIR_JUDGE_PORT", 10003),
    "collector": ("WEIR_COLLECTOR_PORT", 10004),
}


def main() -> int:
    """Runs the demonstration; the exit code says whether every outcome was the expected one."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _interrupt)
    once = os.environ.get("ONCE", "") not in ("", "0")
    ports = Ports.from_environment()
    envoy = tools.ensure_envoy()
    tools.build_filter()
    tools.build_collector()
    servers = Background()
    with ProcessGroup() as processes:
        try:
            provider = Provider(ports.provider, PACE_SECONDS)
            gateway = _start(processes, servers, ports, envoy, provider)
            show = Show(ports.envoy, ports.collector, provider)
            mistakes = [show.play(number, scene) for number, scene in enumerate((*SCENES, *RULE_SCENES), start=1)]
            trouble = gateway.trouble()
            for line in trouble:
                print(f"   NOT AS EXPECTED: Envoy's log says: {line}", flush=True)
            failed = any(mistakes) or bool(trouble)
            if not failed:
                print("\nAll exchanges came out as expected.")
            print(f"\nLogs:           {LOGS}", flush=True)
            if not once:
                _print_addresses(ports)
                _stay(processes)
            return int(failed)
        except KeyboardInterrupt:
            return 130
        finally:
            progress("ending what was started")
            servers.close()


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _start(processes: ProcessGroup, servers: Background, ports: Ports, envoy: Path, provider: Provider) -> Gateway:
    progress("starting the mock provider, the mock judge, the collector and Envoy")
    servers.run(provider.start())
    servers.run(Judge(ports.judge, JUDGE_SECONDS).start())
    command = collect_command(ports.collector, data=LOGS / "events.redb")
    collector = processes.add(Process("The collector", command, LOGS / "collector.log"))
    collector.wait_until(lambda: _answers(ports.collector, "/healthz"))
    settings = Settings(
        clusters={"provider": ports.provider, "judge": ports.judge, "collector": ports.collector},
        listener_port=ports.envoy,
        admin_port=ports.admin,
        policy=configuration(shipped_policy()),
    )
    gateway = Gateway(envoy, settings, LOGS)
    processes.add(gateway.process)
    gateway.wait_until_ready()
    return gateway


def collect_command(port: int, redis_url: str | None = None, data: Path | None = None) -> list[str | Path]:
    """The collector on a port of the loopback interface; in memory without a Redis or a file for events."""
    redis_url = redis_url or os.environ.get("REDIS_URL")
    store: list[str | Path] = ["--redis-url", redis_url] if redis_url else ["--data", data] if data else ["--memory"]
    return [collector(), "collect", "--listen", f"127.0.0.1:{port}", *store]


def _answers(port: int, path: str) -> bool:
    try:
        return get(port, path)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def _print_addresses(ports: Ports) -> None:
    url = f"http://127.0.0.1:{ports.envoy}{CHAT.path}"
    body = json.dumps(CHAT.request("Delete everything."))
    print(
        f"Activity page:  http://127.0.0.1:{ports.collector}/ui/activity/live"
        f"\nTry it:         curl -N {url} -H 'content-type: application/json' -d '{body}'"
        "\n                (a prompt with the word weather, delete or both asks for tool calls; rules act on the answer"
        "\n                to address and plans with the header 'x-policy-project: guard', and watch it with 'watch')",
        flush=True,
    )


def _stay(processes: ProcessGroup) -> None:
    print("\nCtrl-C ends everything.", flush=True)
    while True:
        watch(processes)
        time.sleep(0.5)


def watch(processes: ProcessGroup) -> None:
    """Starts a collector again that ended: its events are kept, and filters send again what it did not take."""
    dead = processes.first_dead()
    if dead is None:
        return
    if dead.name != "The collector" or dead.restarts >= MOST_RESTARTS:
        raise SetupError(f"{dead.name} ended: {dead.last_words()} (whole log: {dead.log})")
    progress(f"{dead.name} ended ({dead.last_words()}) and is started again")
    dead.restart()
