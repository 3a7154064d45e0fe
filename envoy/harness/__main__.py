"""`python -m harness <command>`: what the Makefile's targets call."""

from __future__ import annotations

import os
import subprocess
import sys

from harness import e2e_compose, release, toolchain, tools
from harness.errors import SetupError, progress
from harness.setup_check import undeclared


def run() -> int:
    _continue_in_venv()
    from harness import run  # Needs PyYAML, which is there only now.

    return run.main()


def rust() -> int:
    """Gets the Rust that `rust-toolchain.toml` of a folder of the project asks for."""
    toolchain.ensure(tools.ROOT / "".join(sys.argv[2:3]))
    return 0


def wasm() -> int:
    """Builds the filter, or the modules of the packages that the arguments name."""
    for package in sys.argv[2:]:
        tools.build_module(package)
    if not sys.argv[2:]:
        tools.build_filter()
    return 0


def envoy() -> int:
    """Gets Envoy where it is missing; prints where it is."""
    tools.ensure_venv(tools.HARNESS_REQUIREMENTS)
    print(tools.ensure_envoy())
    return 0


def setup_check() -> int:
    """Fails where a command of the project uses something of Rust that set-up does not bring."""
    missing = undeclared(tools.ROOT)
    print(*missing, sep="\n", end="\n" * bool(missing), file=sys.stderr)
    return 1 if missing else 0


def lint() -> int:
    """Checks the form of the Python files."""
    tools.ensure_venv(tools.E2E_REQUIREMENTS)
    ruff = [str(tools.VENV / "bin" / "ruff")]
    folders = [str(tools.ROOT / folder) for folder in ("benches", "envoy", "tests")]
    checks = ([*ruff, "check", "--quiet"], [*ruff, "format", "--check", "--quiet"])
    return max(subprocess.run([*check, *folders], check=False).returncode for check in checks)


def deployment() -> int:
    """Checks what deploys Weir: manifests, chart, configurations, rules; arguments go to pytest."""
    tools.ensure_venv(tools.HARNESS_REQUIREMENTS, tools.E2E_REQUIREMENTS, tools.DEPLOYMENT_REQUIREMENTS)
    environment = {**os.environ, "WEIR_TEST_ENVOY": str(tools.ensure_envoy())}
    for variable, program in (("WEIR_TEST_HELM", tools.ensure_helm()), ("WEIR_TEST_PROMTOOL", tools.ensure_promtool())):
        environment[variable] = str(program or "")
    if not tools.WEIR_WASM.exists():
        tools.build_filter()
    command = [str(tools.VENV_PYTHON), "-m", "pytest", "-c", str(tools.DEPLOYMENT / "pytest.ini"), *sys.argv[2:]]
    sys.stderr.flush()
    os.execve(command[0], [*command, str(tools.DEPLOYMENT)], environment)


def e2e_istio() -> int:
    """Runs end-to-end tests with what Istio makes of the manifests; arguments go to pytest."""
    statuses = []
    for name in ("istio-gateway-traffic-extension", "istio-sidecar-wasm-plugin", "istio-gateway-hold-heads"):
        progress(f"the configuration {name}")
        arguments = [sys.executable, "-m", "harness", "e2e", "-q", "-k", "test_tool_call_judge.py", *sys.argv[2:]]
        environment = {**os.environ, "WEIR_TEST_CONFIGURATION": name}
        statuses.append(subprocess.run(arguments, env=environment, check=False).returncode)
    return max(statuses)


def compose_tests() -> int:
    """Runs the tests of the compose harness; arguments go to pytest."""
    tools.ensure_venv(tools.HARNESS_REQUIREMENTS, tools.E2E_REQUIREMENTS)
    tools.ensure_envoy()
    tools.build_filter()
    tools.build_collector()
    return e2e_compose.main()


def licences() -> int:
    """Holds what the lock file names against deny.toml; arguments name the checks, advisories among them."""
    toolchain.ensure(tools.ROOT)
    deny = tools.ensure_cargo_tool("cargo-deny@0.20.2")
    checks = sys.argv[2:] or ["bans", "licenses", "sources"]
    return subprocess.run(
        [str(deny), "--workspace", "check", "--hide-inclusion-graph", *checks], cwd=tools.ROOT, check=False
    ).returncode


def collector() -> int:
    tools.build_collector()
    return 0


def page() -> int:
    """Runs the tests of the activity page in a browser; arguments go to Node."""
    browser = tools.ensure_page_tests()
    if browser is None:
        progress("skipped: the tests of the activity page (chromium, Node or npm is missing and cannot be installed)")
        return 0
    collector = tools.build_test_collector()
    environment = {**os.environ, "WEIR_TEST_COLLECTOR": str(collector), "WEIR_TEST_CHROMIUM": str(browser)}
    command = ["node", "--test", *sys.argv[2:], str(tools.PAGE_TESTS / "page.test.mjs")]
    return subprocess.run(command, env=environment, check=False).returncode


def e2e() -> int:
    """Runs the end-to-end tests; arguments go to pytest."""
    tools.ensure_venv(tools.HARNESS_REQUIREMENTS, tools.E2E_REQUIREMENTS)
    envoy = tools.ensure_envoy()
    redis = tools.ensure_redis()
    if redis is None:
        progress("redis-server is missing and cannot be installed without root: the Redis tests count as skipped")
    if not tools.ensure_mcp_conformance():
        progress("npm is missing: the conformance suite of MCP counts as skipped")
    javascript = tools.ensure_javascript_clients()
    if not javascript:
        progress(f"Node {tools.OLDEST_NODE} or npm is missing: the tests with clients for JavaScript count as skipped")
    tools.build_filter()
    collector = tools.build_test_collector()
    environment = {**os.environ, "WEIR_TEST_ENVOY": str(envoy), "WEIR_TEST_REDIS": str(redis or "")}
    environment["WEIR_TEST_COLLECTOR"] = str(collector)
    if javascript:
        environment["WEIR_TEST_JAVASCRIPT"] = "1"
    command = [str(tools.VENV_PYTHON), "-m", "pytest", "-c", str(tools.ROOT / "tests/e2e/pytest.ini"), *sys.argv[2:]]
    sys.stderr.flush()
    os.execve(command[0], [*command, str(tools.ROOT / "tests/e2e")], environment)


def soak() -> int:
    """Plays a mixed load with faults; arguments go to tests/soak."""
    tools.ensure_venv(tools.HARNESS_REQUIREMENTS, tools.E2E_REQUIREMENTS)
    environment = {**os.environ, "WEIR_TEST_ENVOY": str(tools.ensure_envoy())}
    tools.build_filter()
    paths = ("envoy", "tests", "tests/e2e")
    environment["PYTHONPATH"] = os.pathsep.join(str(tools.ROOT / path) for path in paths)
    command = [str(tools.VENV_PYTHON), "-m", "soak", *sys.argv[2:]]
    return subprocess.run(command, env=environment, check=False).returncode


def readers() -> int:
    """Feeds client libraries with what Weir lets through; arguments go to tests/readers."""
    if not tools.ensure_readers():
        progress(f"skipped: Node {tools.OLDEST_NODE} or npm is missing, and with it half of the readers")
        return 0
    tools.build_filter()
    tools.build_player()
    python = tools.READERS_VENV / "bin" / "python"
    command = [str(python), "-m", "oracle", *sys.argv[2:]]
    return subprocess.run(command, cwd=tools.READERS, check=False).returncode


def _continue_in_venv() -> None:
    """Starts over in the project's own Python where this one is not it."""
    tools.ensure_venv(tools.HARNESS_REQUIREMENTS)
    if not tools.VENV.samefile(sys.prefix):
        os.execv(tools.VENV_PYTHON, [str(tools.VENV_PYTHON), "-m", "harness", *sys.argv[1:]])


COMMANDS = {
    "collector": collector,
    "compose-down": e2e_compose.down,
    "compose-up": e2e_compose.up,
    "deployment": deployment,
    "e2e": e2e,
    "e2e-compose": compose_tests,
    "e2e-istio": e2e_istio,
    "envoy": envoy,
    "licences": licences,
    "lint": lint,
    "page": page,
    "readers": readers,
    "release": release.main,
    "run": run,
    "rust": rust,
    "setup-check": setup_check,
    "soak": soak,
    "wasm": wasm,
}


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        print(f"usage: python -m harness {'|'.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        return COMMANDS[sys.argv[1]]()
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
