"""Where things are: everything is found from this file, so that the working directory does not matter."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVOY_YAML = ROOT / "envoy" / "envoy.yaml"
TARGET = ROOT / "target"
WEIR_WASM = TARGET / "weir.wasm"
PLUGIN_WASM = TARGET / "wasm32-wasip1" / "wasm" / "weir_plugin.wasm"
WEIR = TARGET / "release" / "weir"
# As `cargo test` builds it anyhow: with optimised code it would be built a second time for tests alone.
TEST_WEIR = TARGET / "debug" / "weir"
TOOLS = ROOT / ".tools"
VENV = TOOLS / "venv"
LOGS = TARGET / "run"


def collector() -> Path:
    """The binary of the collector: the one under test, or the one that is given away."""
    return Path(os.environ.get("WEIR_TEST_COLLECTOR", WEIR))
