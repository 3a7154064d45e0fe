"""What the project's commands use of Rust is what set-up gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.paths import ROOT
from harness.setup_check import undeclared

DECLARED = '[toolchain]\nchannel = "1.95.0"\ncomponents = ["clippy"]\ntargets = ["wasm32-wasip1"]\n'

# Put together here: this file, too, is searched for what set-up does not get.
NAMES = {"ABSENT_TARGET": f"wasm{32}-foo", "OWN_TARGET": "my-own-target", "ABSENT_TOOL": "llvm-cov"}


def named(text: str) -> str:
    for placeholder, name in NAMES.items():
        text = text.replace(placeholder, name)
    return text


def project(folder: Path, file: str, text: str) -> list[str]:
    """What is found undeclared in a project of one file."""
    (folder / "rust-toolchain.toml").write_text(DECLARED)
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(named(text))
    return undeclared(folder)


def test_this_project_uses_nothing_that_set_up_does_not_get() -> None:
    assert undeclared(ROOT) == []


@pytest.mark.parametrize(
    ("file", "text", "missing"),
    [
        ("Makefile", "wasm: rust\n\tcargo build --target ABSENT_TARGET\n", "ABSENT_TARGET"),
        ("Makefile", "wasm: rust\n\tcargo build --target=OWN_TARGET\n", "OWN_TARGET"),
        ("Makefile", "wasm: rust\n\tcargo nextest run\n", "cargo nextest"),
        ("Makefile", "wasm: rust\n\tcargo fmt --check\n", "cargo fmt"),
        ("Makefile", "wasm: rust\n\tcargo +nightly build\n", "nightly"),
        ("Makefile", "wasm:\n\tcargo build\n", "does not need the target rust"),
        (".ci/run", "#!/bin/sh\nharness rust\ncargo build --target ABSENT_TARGET\n", "ABSENT_TARGET"),
        (".ci/run", "#!/bin/sh\ncargo build\n", "does not get Rust"),
        (".ci/run", "#!/bin/sh\nrustup run nightly rustc --version\n", "nightly"),
        (".ci/run", "#!/bin/sh\nrustup component add rust-src\n", "rust-src"),
        (".ci/run", "#!/bin/sh\nharness rust\ncargo build -Zbuild-std\n", "rust-src"),
        ("envoy/harness/tools.py", 'run(["cargo", "build", "--target", "ABSENT_TARGET"])\n', "ABSENT_TARGET"),
        ("envoy/harness/tools.py", 'TARGET = "ABSENT_TARGET"\n', "ABSENT_TARGET"),
        ("envoy/harness/tools.py", 'run(["cargo", "ABSENT_TOOL"])\n', "cargo ABSENT_TOOL"),
        ("README.md", "Then `cargo build --target ABSENT_TARGET`.\n", "ABSENT_TARGET"),
        ("README.md", "```sh\ncargo build --target ABSENT_TARGET\n```\n", "ABSENT_TARGET"),
        (".cargo/config.toml", "[target.ABSENT_TARGET]\n", "ABSENT_TARGET"),
        ("tests/module.rs", 'Command::new("cargo").args(["build", "--target", "ABSENT_TARGET"]);\n', "ABSENT_TARGET"),
    ],
)
def test_what_set_up_does_not_get_is_found(tmp_path: Path, file: str, text: str, missing: str) -> None:
    found = project(tmp_path, file, text)
    assert len(found) == 1
    assert named(missing) in found[0]
    assert found[0].startswith(file)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("Makefile", "wasm: rust\n\tcargo clippy && cargo build --target wasm32-wasip1 --target $(TARGET)\n"),
        (".ci/run", "#!/bin/sh\nharness rust\ncargo install cargo-fuzz\ncargo fuzz run\n# cargo +nightly build\n"),
        ("README.md", "It runs natively, and what cargo does is `cargo build`.\n"),
        ("envoy/harness/tools.py", 'raise Error("the build failed: cargo says why")\n'),
    ],
)
def test_what_set_up_gets_and_what_is_no_command_is_not_found(tmp_path: Path, file: str, text: str) -> None:
    assert project(tmp_path, file, text) == []
