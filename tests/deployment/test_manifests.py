"""The manifests in envoy/istio: valid, in step, and what Istio makes of them is what the end-to-end tests run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import istio
from harness.paths import ROOT
from support import schemas

ISTIO = ROOT / "envoy" / "istio"
FIXTURES = ROOT / "tests" / "e2e" / "istio"
FILES = sorted(ISTIO.rglob("*.yaml"))
VARIANTS = ("gateway", "sidecar")
LOADERS = {
    "traffic-extension": "traffic-extension",
    "wasm-plugin": "wasm-plugin",
    "hold-heads": "envoy-filter-hold-heads",
}

each_variant = pytest.mark.parametrize("variant", VARIANTS)


def resources(file: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(file.read_text()) if each]


def loader(variant: str, name: str) -> dict[str, Any]:
    [resource] = resources(ISTIO / variant / f"{LOADERS[name]}.yaml")
    return resource


@pytest.mark.custom_resources
@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ISTIO)))
def test_manifest_is_valid(file: Path) -> None:
    assert [fault for resource in resources(file) for fault in schemas.faults(resource)] == []


@pytest.mark.custom_resources
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "phase"), "SOMETIME"),
        (("spec", "prioritty"), 1),
        (("spec", "wasm", "failStrategie"), "FAIL_RELOAD"),
        (("spec", "wasm", "vmConfig"), {"env": [{"name": "A", "wert": "b"}]}),
    ],
)
def test_wrong_manifest_is_found(path: tuple[str, ...], value: Any) -> None:
    resource = loader("gateway", "traffic-extension")
    owner = resource
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = value
    assert list(schemas.faults(resource))


@pytest.mark.parametrize("name", LOADERS)
@each_variant
def test_fixture_is_what_istio_makes_of_the_manifest(variant: str, name: str) -> None:
    assert yaml.safe_load((FIXTURES / f"{variant}-{name}.yaml").read_text()) == istio.extension(loader(variant, name))


@each_variant
def test_all_ways_to_load_it_have_the_same_document(variant: str) -> None:
    documents = [istio.document(loader(variant, name)) for name in LOADERS]
    held = [document.pop("envoy")["request_hold"] for document in documents]
    assert held == ["body", "body", "headers"]
    assert all(document == documents[0] for document in documents)


@each_variant
def test_documents_name_clusters_of_the_fixture(variant: str) -> None:
    bootstrap = yaml.safe_load((FIXTURES / f"{variant}.yaml").read_text())
    clusters = {each["name"] for each in bootstrap["static_resources"]["clusters"]}
    document = istio.document(loader(variant, "traffic-extension"))
    assert {document["judges"]["main"]["cluster"], document["events"]["cluster"]} <= clusters


@each_variant
def test_fixture_has_the_settings_that_the_manifest_merges(variant: str) -> None:
    [settings] = resources(ISTIO / variant / "envoy-filter-settings.yaml")
    bootstrap = yaml.safe_load((FIXTURES / f"{variant}.yaml").read_text())
    manager = bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    by_place = {each["applyTo"]: each["patch"]["value"] for each in settings["spec"]["configPatches"]}
    merged = by_place["NETWORK_FILTER"]["typed_config"]
    assert {key: manager[key] for key in merged} == merged
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        assert route["request_body_buffer_limit"] == by_place["HTTP_ROUTE"]["request_body_buffer_limit"]
        assert route["route"]["timeout"] == by_place["HTTP_ROUTE"]["route"]["timeout"]
