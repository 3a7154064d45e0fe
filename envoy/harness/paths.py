"""Where things are: everything is found from this file, so that the working directory does not matter."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVOY_YAML = ROOT / "envoy" / "envoy.yaml"
TARGET = ROOT / "target"
WEIR_WASM = TARGET / "weir.wasm"
PLUGIN_WASM = TARGET / "wasm32-wasip1" / "wasm" / "weir_plugin.wasm"
WEIR = TARGET / "release" / "weir"
TOOLS = ROOT / ".tools"
VENV = TOOLS / "venv"
LOGS = TARGET / "run"
