"""The compose harness: containers for Envoy, Redis, two collectors and the mocks; started, disturbed and taken down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import SetupError, progress
from harness.paths import ROOT, TOOLS

FILE = ROOT / "envoy" / "docker-compose.yaml"
TOKEN = "only-for-this-demonstration"
PROJECT = "weir-e2e"


class Engine:
    """A Docker engine: the one that is there, or one of the project's own while it is needed."""

    def __init__(self) -> None:
        self._own: subprocess.Popen[bytes] | None = None
        self.environment = dict(os.environ)

    @property
    def is_own(self) -> bool:
        return self._own is not None

    def answers(self) -> bool:
        if shutil.which("docker") is None:
            return False
        result = subprocess.run(["docker", "info"], env=self.environment, capture_output=True, check=False)
        return result.returncode == 0 and b"Server Version" in result.stdout

    def start(self) -> str | None:
        """Finds or starts an engine; says why there is none."""
        if self.answers():
            return None
        if os.geteuid() != 0 or not shutil.which("dockerd"):
            return "no Docker engine answers, and none can be started here"
        folder = TOOLS / "docker"
        folder.mkdir(parents=True, exist_ok=True)
        # Paths of sockets must be short.
        socket = f"/run/weir-docker-{os.getpid()}.sock"
        command = [
            *("dockerd", "-H", f"unix://{socket}", "--data-root", str(folder / "data")),
            *("--exec-root", f"/run/weir-docker-{os.getpid()}", "--pidfile", str(folder / "pid")),
        ]
        (folder / "pid").unlink(missing_ok=True)
        with (folder / "log").open("wb") as log:
            self._own = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.environment["DOCKER_HOST"] = f"unix://{socket}"
        deadline = time.monotonic() + 30
        while not self.answers():
            if self._own.poll() is not None or time.monotonic() > deadline:
                self.stop()
                return f"a Docker engine cannot be started here ({folder / 'log'} says why)"
            time.sleep(0.3)
        return None

    def stop(self) -> None:
        if self._own is not None:
            self._own.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._own.wait(20)
            if self._own.poll() is None:
                self._own.kill()
                self._own.wait()


class Compose:
    """The containers of one project."""

    def __init__(self, environment: dict[str, str], project: str = PROJECT, files: Sequence[Path] = (FILE,)) -> None:
        self.environment = environment
        self.project = project
        self.files = tuple(files)
        self._command = compose_command(environment)

    def run(self, *arguments: str, check: bool = True) -> str:
        files = [word for file in self.files for word in ("-f", str(file))]
        command = [*self._command, "-p", self.project, *files, *arguments]
        return _run(command, self.environment, check=check)

    def docker(self, *arguments: str, check: bool = True) -> str:
        return _run(["docker", *arguments], self.environment, check=check)

    def up(self, *services: str, seconds: float = 60) -> None:
        """Starts the services, and waits until those that tell are healthy."""
        self.run("up", "-d", "--build", *services)
        self.wait_until_healthy(seconds)

    def down(self) -> None:
        self.run("down", "--volumes", "--remove-orphans", "--timeout", "3", check=False)

    def container(self, service: str) -> str:
        names = self.docker(
            *("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={self.project}"),
            *("--filter", f"label=com.docker.compose.service={service}"),
        )
        return names.split()[0]

    def states(self) -> dict[str, dict[str, Any]]:
        """State by service."""
        label = f"label=com.docker.compose.project={self.project}"
        ids = self.docker("ps", "--all", "--quiet", "--filter", label).split()
        if not ids:
            return {}
        found = json.loads(self.docker("inspect", *ids))
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each["State"] for each in found}

    def wait_until_healthy(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while True:
            states = self.states()
            ill = [name for name, state in states.items() if not _is_well(state)]
            if states and not ill:
                return
            if time.monotonic() > deadline:
                logs = self.run("logs", "--tail", "5", *ill, check=False)
                raise SetupError(f"not healthy after {seconds:.0f} s: {', '.join(ill)}\n{logs}")
            time.sleep(0.3)

    def kill(self, service: str) -> None:
        """Ends it with no chance to tidy up."""
        self.docker("kill", "--signal", "KILL", self.container(service))

    def start(self, service: str) -> None:
        self.docker("start", self.container(service))

    def logs(self, service: str) -> str:
        return self.docker("logs", self.container(service))

    @property
    def network(self) -> str:
        return f"{self.project}_default"


def _is_well(state: dict[str, Any]) -> bool:
    """Runs and is healthy, as far as it says; or has done what it was for."""
    if not state["Running"]:
        return state["Status"] == "exited" and state["ExitCode"] == 0
    return state.get("Health", {}).get("Status", "healthy") == "healthy"


def compose_command(environment: dict[str, str]) -> list[str]:
    if shutil.which("docker"):
        plugin = subprocess.run(["docker", "compose", "version"], env=environment, capture_output=True, check=False)
        if plugin.returncode == 0:
            return ["docker", "compose"]
    if found := shutil.which("docker-compose"):
        return [found]
    raise SetupError("neither `docker compose` nor `docker-compose` is here")


def has_compose(environment: dict[str, str]) -> bool:
    with suppress(SetupError):
        return bool(compose_command(environment))
    return False


def _run(command: list[str], environment: dict[str, str], *, check: bool = True) -> str:
    # What goes wrong is said on both; logs of containers come on both, too.
    result = subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if check and result.returncode:
        raise SetupError(f"{' '.join(command)} failed:\n{result.stdout[-3000:]}")
    return result.stdout


def make_images(environment: dict[str, str]) -> None:
    """Makes stand-ins for those images that cannot be pulled."""
    progress("images: those of the registry where it can be reached, else stand-ins (envoy/images/make)")
    if subprocess.run([str(ROOT / "envoy" / "images" / "make")], env=environment, check=False).returncode:
        raise SetupError("images could not be made: see above")
