"""What is given away: licences, images that tools for images can read, checksums; documents name tests that exist."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from harness import release, tools
from harness.paths import ROOT, WEIR_WASM

LICENCES = ROOT / "docs" / "licences.md"
SECURITY = ROOT / "docs" / "security.md"

needs_skopeo = pytest.mark.skipif(tools.ensure_system("skopeo") is None, reason="skopeo is not here")
needs_umoci = pytest.mark.skipif(tools.ensure_system("umoci") is None, reason="umoci is not here")


def printed(*command: str | Path) -> str:
    result = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_list_of_licences_is_that_of_the_module() -> None:
    listed = printed(
        *(
            "cargo",
            "tree",
            "--locked",
            "--package",
            "weir-plugin",
            "--target",
            "wasm32-wasip1",
            "--edges",
            "normal,no-proc-macro",
        ),
        *("--prefix", "none", "--format", "{p}|{l}"),
    )
    crates = sorted({re.sub(r" \(.*?\)", "", line) for line in listed.splitlines() if "weir" not in line.split("|")[0]})
    rows = "".join(f"| {name} | {licence} |\n" for name, licence in (crate.split("|", 1) for crate in crates))
    assert rows in LICENCES.read_text(), f"docs/licences.md must have these rows:\n{rows}"


@pytest.mark.parametrize("test", sorted(set(re.findall(r"`((?:test_)?[a-z]+(?:_[a-z0-9]+)+)`", SECURITY.read_text()))))
def test_documents_on_security_name_tests_that_exist(test: str) -> None:
    words = {"tool_call_judge", "content_transform", "on_error", "request_hold"}
    folders = ("tests", "collector", "policies", "src")
    sources = [file for folder in folders for kind in ("*.rs", "*.py") for file in (ROOT / folder).rglob(kind)]
    assert test in words or any(re.search(rf"\b(?:fn|def) {test}\(", file.read_text()) for file in sources)


def manifest(layout: Path) -> dict[str, object]:
    [entry] = json.loads((layout / "index.json").read_text())["manifests"]
    return json.loads(blob(layout, entry["digest"]))


def blob(layout: Path, digest: str) -> bytes:
    content = (layout / "blobs" / digest.replace(":", "/")).read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest.partition(":")[2]
    return content


@needs_skopeo
@needs_umoci
def test_the_compatible_image_has_the_module_as_plugin_wasm(tmp_path: Path) -> None:
    layout = tmp_path / "image"
    release.compatible_image(WEIR_WASM.read_bytes(), layout, "1.0")
    inspected = json.loads(printed("skopeo", "inspect", f"oci:{layout}:1.0"))
    assert len(inspected["Layers"]) == 1
    assert (inspected["Architecture"], inspected["Os"]) == ("wasm", "wasip1")
    printed("umoci", "raw", "unpack", "--rootless", "--image", f"{layout}:1.0", tmp_path / "root")
    files = [file for file in (tmp_path / "root").rglob("*") if file.is_file()]
    assert [file.name for file in files] == ["plugin.wasm"]
    assert files[0].read_bytes() == WEIR_WASM.read_bytes()


@needs_skopeo
def test_the_artifact_has_exactly_two_layers(tmp_path: Path) -> None:
    layout = tmp_path / "image"
    release.artifact_image(WEIR_WASM.read_bytes(), layout, "1.0")
    raw = json.loads(printed("skopeo", "inspect", "--raw", f"oci:{layout}:1.0"))
    assert [each["mediaType"] for each in raw["layers"]] == [release.CONFIG_TYPE, release.LAYER_TYPE]
    assert raw["config"]["mediaType"] == release.CONFIG_TYPE
    assert blob(layout, raw["layers"][1]["digest"]) == WEIR_WASM.read_bytes()


@needs_skopeo
def test_an_image_survives_a_copy_to_an_archive(tmp_path: Path) -> None:
    release.compatible_image(WEIR_WASM.read_bytes(), tmp_path / "image", "1.0")
    archive = tmp_path / "image.tar"
    policy = ("--insecure-policy",)
    printed("skopeo", *policy, "copy", f"oci:{tmp_path / 'image'}:1.0", f"oci-archive:{archive}:1.0")
    with tarfile.open(archive) as packed:
        assert "index.json" in packed.getnames()


def test_the_same_module_makes_the_same_image(tmp_path: Path) -> None:
    for name in ("one", "two"):
        release.compatible_image(WEIR_WASM.read_bytes(), tmp_path / name, "1.0")
    assert (tmp_path / "one" / "index.json").read_bytes() == (tmp_path / "two" / "index.json").read_bytes()


def test_what_is_given_away_has_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "RELEASE", tmp_path)
    (tmp_path / "weir.wasm").write_bytes(b"module")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "image.tar").write_bytes(b"image")
    release.checksums()
    assert (
        shutil.which("sha256sum") is None
        or "FAILED"
        not in subprocess.run(
            ["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
    )
    assert len((tmp_path / "SHA256SUMS").read_text().splitlines()) == 2


def test_the_bill_of_materials_names_every_crate_with_licence_and_checksum() -> None:
    bill = release.bill_of_materials("weir.wasm", "weir-plugin", tools.WASM_TARGET)
    crates = [each for each in bill["components"] if not each["name"].startswith("weir")]  # type: ignore[attr-defined]
    assert len(crates) > 20
    assert {"proxy-wasm", "serde_json"} <= {each["name"] for each in crates}
    for crate in crates:
        assert crate["licenses"] and crate["hashes"], crate
