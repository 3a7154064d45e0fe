"""Rust as the project declares it, in `rust-toolchain.toml` alone, and how it gets onto the machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.errors import SetupError, progress

FILE = "rust-toolchain.toml"


@dataclass(frozen=True)
class Toolchain:
    """What a `rust-toolchain.toml` asks for."""

    channel: str
    components: tuple[str, ...]
    targets: tuple[str, ...]


def declared(folder: Path) -> Toolchain:
    """What the file of that folder asks for."""
    # Python reads TOML by itself only from 3.11 on.
    text = re.sub(r"#.*", "", (folder / FILE).read_text())
    channel = re.search(r'^channel\s*=\s*"([^"]+)"', text, re.MULTILINE)
    if channel is None:
        raise SetupError(f"{folder / FILE} names no channel.")

    def listed(key: str) -> tuple[str, ...]:
        found = re.search(rf"^{key}\s*=\s*\[([^\]]*)\]", text, re.MULTILINE)
        return tuple(re.findall(r'"([^"]+)"', found.group(1))) if found else ()

    return Toolchain(channel.group(1), listed("components"), listed("targets"))


def ensure(folder: Path) -> None:
    """Installs what the file of that folder asks for and is missing.

    Said outright, not left to rustup's automatic installation: that can be switched off, and it adds no target to a
    toolchain that is there.
    """
    wanted = declared(folder)
    if not shutil.which("rustup"):
        if shutil.which("cargo"):
            return  # A toolchain that the system manages: cargo says itself what is missing.
        raise SetupError("Rust is missing: install it with rustup, from https://rustup.rs.")
    installed = _installed(wanted.channel)
    if installed is None:
        progress(f"installing Rust {wanted.channel}")
        _rustup("toolchain", "install", wanted.channel, "--profile", "minimal", "--no-self-update")
        installed = _installed(wanted.channel) or []
    for component in wanted.components:
        if not any(one == component or one.startswith(f"{component}-") for one in installed):
            _add("component", component, wanted.channel)
    for target in wanted.targets:
        if f"rust-std-{target}" not in installed:
            _add("target", target, wanted.channel)


def _installed(channel: str) -> list[str] | None:
    """The components of a toolchain, targets among them as `rust-std-<target>`; None: there is no such toolchain."""
    command = ["rustup", "component", "list", "--installed", "--toolchain", channel]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if listed.returncode else listed.stdout.split()


def _add(kind: str, name: str, channel: str) -> None:
    progress(f"adding the {kind} {name} to Rust {channel}")
    _rustup(kind, "add", name, "--toolchain", channel)


def _rustup(*arguments: str) -> None:
    if subprocess.run(["rustup", *arguments], check=False, stdout=sys.stderr).returncode:
        raise SetupError(f"`rustup {' '.join(arguments)}` failed: is there a network?")
