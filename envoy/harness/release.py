"""`make release`: what is given away, under `target/release-artifacts`, with checksums and bills of materials."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from harness import tools
from harness.errors import SetupError, progress
from harness.paths import ROOT, TARGET, WEIR, WEIR_WASM

RELEASE = TARGET / "release-artifacts"
CHART = ROOT / "envoy" / "helm" / "weir"
# What proxies that take the artifact layout look for (spec of Wasm images, "artifact" variant).
CONFIG_TYPE = "application/vnd.module.wasm.config.v1+json"
LAYER_TYPE = "application/vnd.module.wasm.content.layer.v1+wasm"
# All times in images are this one, so that the same module makes the same image.
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))


def main() -> int:
    tools.build_filter()
    tools.build_collector()
    helm = tools.ensure_helm()
    shutil.rmtree(RELEASE, ignore_errors=True)
    images = RELEASE / "images"
    images.mkdir(parents=True)
    shutil.copyfile(WEIR_WASM, RELEASE / "weir.wasm")
    shutil.copy2(WEIR, RELEASE / "weir")
    module = WEIR_WASM.read_bytes()
    version = workspace_version()
    compatible_image(module, images / "weir-compat", version)
    artifact_image(module, images / "weir-artifact", version)
    collector_image(images)
    if helm is None:
        progress("left out: the chart, because Helm is not here")
    else:
        _run([str(helm), "package", str(CHART), "--destination", str(RELEASE)])
    bills_of_materials()
    checksums()
    for file in sorted(each for each in RELEASE.rglob("*") if each.is_file() and "blobs" not in each.parts):
        progress(f"{file.relative_to(ROOT)}  {file.stat().st_size / 1024:.0f} KiB")
    return 0


def workspace_version() -> str:
    metadata = json.loads(_run(["cargo", "metadata", "--format-version", "1", "--no-deps"]))
    return next(each["version"] for each in metadata["packages"] if each["name"] == "weir-plugin")


class Layout:
    """A folder in the OCI image layout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs" / "sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def put(self, content: bytes, media_type: str) -> dict[str, object]:
        """Keeps a blob; what describes it."""
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / "blobs" / "sha256" / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def finish(self, config: dict[str, object], layers: list[dict[str, object]], tag: str) -> None:
        media_type = "application/vnd.oci.image.manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers}
        entry = self.put(_json(manifest), media_type)
        entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
        (self.folder / "index.json").write_bytes(_json({"schemaVersion": 2, "manifests": [entry]}))


def compatible_image(module: bytes, folder: Path, tag: str) -> None:
    """An image as of `FROM scratch` and `COPY weir.wasm /plugin.wasm`: what Istio calls the compatible variant."""
    layer = _tar({"plugin.wasm": module})
    layout = Layout(folder)
    config = {
        "architecture": "wasm",
        "os": "wasip1",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    described = layout.put(layer, "application/vnd.oci.image.layer.v1.tar")
    layout.finish(layout.put(_json(config), "application/vnd.oci.image.config.v1+json"), [described], tag)


def artifact_image(module: bytes, folder: Path, tag: str) -> None:
    """The artifact variant: exactly two layers, the configuration and the module."""
    layout = Layout(folder)
    config = _json(
        {"type": "envoy_proxy", "abiVersions": ["v0-541b2c1155fffb15ccde92b8324f3e38f7339ba6"], "config": {}}
    )
    described = layout.put(config, CONFIG_TYPE)
    runtime = layout.put(config, CONFIG_TYPE)
    layout.finish(described, [runtime, layout.put(module, LAYER_TYPE)], tag)


def collector_image(images: Path) -> None:
    """The collector's, where a Docker engine is there to build it."""
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        progress("left out: the collector's image, because no Docker engine answers (collector/Dockerfile builds it)")
        return
    _run(["docker", "build", "--quiet", "--tag", "weir-collector:release", "--file", "collector/Dockerfile", "."])
    _run(["docker", "save", "--output", str(images / "weir-collector.tar"), "weir-collector:release"])


def bills_of_materials() -> None:
    """What is compiled into the module and into the collector, by the lock file, as CycloneDX."""
    for name, package, target in (("weir.wasm", "weir-plugin", tools.WASM_TARGET), ("weir", "weir-collector", None)):
        (RELEASE / f"{name}.cdx.json").write_text(json.dumps(bill_of_materials(name, package, target), indent=1) + "\n")


def bill_of_materials(name: str, package: str, target: str | None) -> dict[str, object]:
    command = ["cargo", "tree", "--locked", "--package", package, "--edges", "normal,no-proc-macro", "--prefix", "none"]
    listed = _run([*command, "--format", "{p}|{l}", *(["--target", target] if target else [])])
    hashes = _hashes()
    components = []
    for line in sorted({re.sub(r" \(.*?\)", "", each) for each in listed.splitlines()}):
        crate, _, licence = line.partition("|")
        crate_name, _, version = crate.partition(" v")
        found = hashes.get((crate_name, version))
        components.append(
            {
                "type": "library",
                "name": crate_name,
                "version": version,
                "purl": f"pkg:cargo/{crate_name}@{version}",
                "licenses": [{"expression": licence.replace("/", " OR ")}] if licence else [],
                "hashes": [{"alg": "SHA-256", "content": found}] if found else [],
            }
        )
    subject = {"type": "application", "name": name, "version": workspace_version()}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "metadata": {"component": subject},
        "components": components,
    }


def _hashes() -> dict[tuple[str, str], str]:
    """The checksums that the lock file has of what comes from the registry."""
    entries = re.findall(
        r'name = "([^"]+)"\nversion = "([^"]+)"\nsource = "[^"]+"\nchecksum = "([0-9a-f]{64})"',
        (ROOT / "Cargo.lock").read_text(),
    )
    return {(name, version): checksum for name, version, checksum in entries}


def checksums() -> None:
    files = sorted(each for each in RELEASE.rglob("*") if each.is_file())
    lines = (f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.relative_to(RELEASE)}\n" for each in files)
    (RELEASE / "SHA256SUMS").write_text("".join(lines))


def _tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), 0o644, EPOCH
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    result = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise SetupError(f"{' '.join(command)} failed:\n{result.stderr[-2000:]}")
    return result.stdout
