"""Child processes that never outlive the harness."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from harness.errors import SetupError

STOP_SECONDS = 5.0


class Process:
    """One child, its output in a file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        environment: dict[str, str] | None = None,
        output: Path | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.restarts = 0
        self._command = [str(word) for word in command]
        self._environment = {**os.environ, **(environment or {})}
        self._output = output
        self._cwd = cwd
        log.parent.mkdir(parents=True, exist_ok=True)
        self._child = self._start("wb")

    def _start(self, mode: str) -> subprocess.Popen[bytes]:
        with self.log.open(mode) as errors, (self._output or Path(os.devnull)).open(mode) as lines:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=lines if self._output else errors,
                stderr=errors,
                cwd=self._cwd,
                env=self._environment,
                # A session of its own: Ctrl-C in the terminal must not reach it before the harness ends it in order.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    def restart(self) -> None:
        """Starts it again after it ended; its log goes on."""
        self._child.wait()
        self.restarts += 1
        self._child = self._start("ab")

    @property
    def pid(self) -> int:
        return self._child.pid

    def alive(self) -> bool:
        return self._child.poll() is None

    def wait_until(self, ready: Callable[[], bool], seconds: float = 30.0) -> None:
        """Polls `ready`; says the last line of the log if the process ends or is too slow."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.alive():
                raise SetupError(f"{self.name} ended at once: {self.last_words()} (whole log: {self.log})")
            if time.monotonic() > deadline:
                raise SetupError(
                    f"{self.name} was not ready after {seconds:.0f} s: {self.last_words()} (whole log: {self.log})"
                )
            time.sleep(0.02)

    def last_words(self) -> str:
        """What the log says about the end: its first error, which the later ones follow from, or else its last line."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        errors = [line for line in lines if _ERROR.search(line)]
        return (errors[:1] or lines[-1:] or ["it said nothing"])[0].strip()

    def stop(self) -> None:
        """Asks the process to end; kills it when it does not."""
        if self.alive():
            self._child.terminate()
            try:
                self._child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
        self._child.wait()

    def kill(self) -> None:
        """Ends the process with no chance to tidy up, as a crash would."""
        self._child.kill()
        self._child.wait()


class ProcessGroup:
    """Processes that end together, in the reverse order of their start."""

    def __init__(self) -> None:
        self._processes: list[Process] = []

    def add(self, process: Process) -> Process:
        self._processes.append(process)
        return process

    def first_dead(self) -> Process | None:
        return next((process for process in self._processes if not process.alive()), None)

    def stop(self) -> None:
        while self._processes:
            self._processes.pop().stop()

    def __enter__(self) -> ProcessGroup:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def require_free_port(port: int, purpose: str, variable: str) -> None:
    """Says in one sentence that a port is taken, before anything has been started."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SetupError(
                f"Port {port} ({purpose}) is taken: choose another one with {variable}=<port>, or end what uses it."
            ) from error


_ERROR = re.compile(r"\[(error|critical)\]|\berror: |\bERROR\b")

_PR_SET_PDEATHSIG = 1
# Looked up in the parent: between fork and exec a child must do as little as possible.
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)


def _die_with_parent() -> None:
    """Linux ends the child when the harness itself is killed and cannot end it any more."""
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGTERM)
