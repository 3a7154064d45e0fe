"""Every configuration of Envoy in the tree is one that Envoy accepts, with its policy document; nothing starts."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import istio
from harness.gateway import shipped
from harness.paths import ROOT, WEIR_WASM

ENVOY = os.environ.get("WEIR_TEST_ENVOY", "")
SKIPPED = {".git", ".tools", "node_modules", "target", "snapshots"}


def is_bootstrap(file: Path) -> bool:
    if SKIPPED & set(file.relative_to(ROOT).parts):
        return False
    return "\nstatic_resources:" in file.read_text()


BOOTSTRAPS = sorted(file for file in ROOT.rglob("*.yaml") if is_bootstrap(file))
LOADERS = sorted(
    file
    for pattern in (
        "traffic-extension.yaml",
        "wasm-plugin.yaml",
        "envoy-filter-hold-heads.yaml",
        "envoy-extension-policy.yaml",
    )
    for file in (ROOT / "envoy" / "istio").rglob(pattern)
)


def validate(config: Path) -> str:
    """What Envoy says against a configuration; empty if nothing."""
    command = [ENVOY, "--mode", "validate", "-c", str(config)]
    # The variables that some of them give to the module.
    environment = {**os.environ, "JUDGE_KEY": "a-key", "WEIR_COLLECTOR_TOKEN": "a-token-of-16-characters-or-more"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return "" if result.returncode == 0 else result.stderr[-2000:] or "it failed"


def test_there_are_configurations() -> None:
    assert ROOT / "envoy" / "envoy.yaml" in BOOTSTRAPS
    assert len(LOADERS) == 7


@pytest.mark.parametrize("file", BOOTSTRAPS, ids=lambda file: str(file.relative_to(ROOT)))
def test_envoy_accepts_the_configuration(file: Path, tmp_path: Path) -> None:
    here = tmp_path / "envoy.yaml"
    # Containers have the module elsewhere.
    here.write_text(file.read_text().replace("/etc/weir/weir.wasm", str(WEIR_WASM)))
    assert validate(here) == ""


@pytest.mark.parametrize("file", LOADERS, ids=lambda file: str(file.relative_to(ROOT)))
def test_envoy_accepts_the_document_of_the_manifest(file: Path, tmp_path: Path) -> None:
    [resource] = [each for each in yaml.safe_load_all(file.read_text()) if each]
    if resource["kind"] == "EnvoyExtensionPolicy":
        document = resource["spec"]["wasm"][0]["config"]
    else:
        document = istio.document(resource)
    assert validate(with_document(document, tmp_path)) == ""


def test_a_wrong_document_is_found(tmp_path: Path) -> None:
    assert "chain[0].use" in validate(with_document({"policy": {"id": "x"}, "chain": [{"use": "no_such"}]}, tmp_path))


def with_document(document: dict[str, Any], folder: Path) -> Path:
    config = shipped()
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["http_filters"][0]["typed_config"]["config"]["configuration"]["value"] = json.dumps(document)
    file = folder / "envoy.json"
    file.write_text(json.dumps(config))
    return file
