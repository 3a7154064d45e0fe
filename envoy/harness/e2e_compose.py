"""`make e2e-compose`: brings the containers up, runs the tests against them, says what it saw, takes them down."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from harness import tools
from harness.compose import FILE, PROJECT, Compose, Engine, has_compose, make_images
from harness.errors import progress
from harness.paths import VENV

OVERRIDES = FILE.parent / "compose"
PORTS = {"WEIR_PORT": "11000", "WEIR_ADMIN_PORT": "11001", "WEIR_COLLECTOR_PORT": "11004", "WEIR_WORKERS": "1"}


def main() -> int:
    started = time.monotonic()
    engine = Engine()
    if not engine.answers():
        tools.ensure_system("dockerd", "docker.io iptables")
    if not has_compose(engine.environment):
        tools.ensure_system("docker-compose")
    tools.ensure_system("debootstrap")
    if reason := engine.start():
        progress(f"skipped: the compose harness needs Docker, and {reason}")
        return 0
    try:
        return _run(engine, started)
    finally:
        engine.stop()


def _run(engine: Engine, started: float) -> int:
    environment = {**engine.environment, **PORTS}
    make_images(environment)
    progress(f"images are there after {time.monotonic() - started:.0f} s")
    # The tests find out by these what runs; the Envoy of their own is not started.
    environment |= {"WEIR_TEST_COMPOSE": PROJECT, "WEIR_TEST_ENVOY": str(tools.ensure_envoy())}
    compose = Compose(environment, PROJECT, (FILE, OVERRIDES / "e2e.yaml", OVERRIDES / "e2e-mocks.yaml"))
    try:
        status = _pytest(environment, "tests/compose")
        # The same tests as without containers, with the same mocks: these run beside the containers.
        compose.up("envoy")
        status = max(status, _pytest(environment, "tests/e2e", "-k", "test_tool_call_judge.py"))
    finally:
        compose.down()
    progress(f"the compose run took {time.monotonic() - started:.0f} s")
    return status


def _pytest(environment: dict[str, str], folder: str, *arguments: str) -> int:
    tests = tools.ROOT / folder
    command = [
        str(VENV / "bin" / "python"),
        "-m",
        "pytest",
        "-c",
        str(tests / "pytest.ini"),
        *arguments,
        *sys.argv[2:],
        str(tests),
    ]
    return subprocess.run(command, env=environment, check=False).returncode


def up() -> int:
    """Starts everything by hand, with the demo traffic, and leaves it running."""
    environment = dict(os.environ)
    make_images(environment)
    compose = Compose(environment, project="weir")
    compose.run("--profile", "demo", "up", "-d", "--build")
    compose.wait_until_healthy()
    page = f"http://127.0.0.1:{environment.get('WEIR_COLLECTOR_PORT', '10004')}/ui/activity/live"
    token = environment.get("WEIR_COLLECTOR_TOKEN", "only-for-this-demonstration")
    print(f"Activity page:  {page} (token: {token})\nEnd it:         make compose-down")
    return 0


def down() -> int:
    Compose(dict(os.environ), project="weir").run(
        *("--profile", "demo", "--profile", "observe", "--profile", "cluster"), "down", "--volumes"
    )
    return 0
