"""Finds what the project's commands use of Rust and no `rust-toolchain.toml` asks for.

A machine that has it all the same hides such a fault from everybody who works there: it shows on the next new machine.
`tests/fresh-machine` proves for what runs in it that set-up is enough; this finds what nobody ran.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from harness import toolchain
from harness.toolchain import Toolchain

GENERATED = {".git", ".tools", "node_modules", "target"}
# Recorded streams and what is made of them: they speak of whatever a model was asked.
RECORDED = {"corpus", "fixtures", "golden"}
COMMANDS_IN = {".json", ".md", ".mjs", ".py", ".rs", ".sh", ".toml", ".yaml", ".yml"}

COMPONENT_OF = {"clippy": "clippy", "fmt": "rustfmt", "miri": "miri"}
CARGO_ITSELF = """add bench build check clean doc fetch fix generate-lockfile help info init install locate-project
    login metadata new owner package pkgid publish remove report run rustc rustdoc search test tree uninstall update
    vendor version yank"""

ARCHITECTURE = r"(?:wasm32|wasm64|x86_64|i[56]86|aarch64|arm\w*|riscv\w+|thumb\w+)"
TRIPLE = re.compile(rf"(?<![\w-]){ARCHITECTURE}(?:-[a-z0-9_.]+)+")
TARGET = re.compile(r"--target[= ]+([a-z0-9_]\w*-[\w.-]+)")
TOOLCHAIN = re.compile(
    r"(?:\b(?:cargo|rustc) \+|\brustup run |--toolchain[= ]|RUSTUP_TOOLCHAIN=)[\"']?([a-z0-9][\w.-]*)"
)
COMPONENT = re.compile(r"\brustup (?:component add|.*(?:-c|--component)[ =])[\"' ]*([a-z][a-z-]+)")
NEEDS_SOURCE = re.compile(r"-Z ?build-std")
CARGO = re.compile(r"(?<![\w./-])cargo(?: \+[\w.-]+)? ([a-z][a-z-]*)")
# In a program a command is a string that begins so; elsewhere in it people are told something.
CARGO_IN_CODE = re.compile(CARGO.pattern.replace(r"(?<![\w./-])", r"(?<=[\"'])"))
INSTALLED = re.compile(r"cargo install\b[^\n]*?\bcargo-([a-z-]+)")
CODE = {".mjs", ".py", ".rs"}
GETS_RUST = "harness rust"


@dataclass
class Project:
    """What set-up brings, and the files that may need more."""

    root: Path
    toolchains: list[Toolchain] = field(default_factory=list)
    files: dict[Path, str] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> Project:
        project = cls(root)
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(set(folders) - GENERATED - RECORDED)
            for name in sorted(names):
                file = Path(folder, name)
                if name == toolchain.FILE:
                    project.toolchains.append(toolchain.declared(file.parent))
                elif text := _commands(file):
                    project.files[file.relative_to(root)] = text
        return project

    @cached_property
    def targets(self) -> set[str]:
        return {target for one in self.toolchains for target in one.targets}

    @cached_property
    def components(self) -> set[str]:
        return {component for one in self.toolchains for component in one.components}

    @cached_property
    def channels(self) -> set[str]:
        return {one.channel for one in self.toolchains}

    @cached_property
    def cargo_commands(self) -> set[str]:
        """What cargo can do here: by itself, by a component, or by a tool that the project installs."""
        by_component = {command for command, component in COMPONENT_OF.items() if component in self.components}
        installed = {name for text in self.files.values() for name in INSTALLED.findall(text)}
        return {*CARGO_ITSELF.split()} | by_component | installed


def undeclared(root: Path) -> list[str]:
    """A line for each use of something that set-up does not bring, and for each call of cargo without set-up."""
    project = Project.read(root)
    found = []
    for file, text in project.files.items():
        calls = CARGO_IN_CODE if file.suffix in CODE else CARGO
        for number, line in enumerate(text.splitlines(), 1):
            found += [f"{file}:{number}: {what}" for what in _missing(project, line, calls)]
        found += [f"{file}: {what}" for what in _without_set_up(file, text)]
    return found


def _missing(project: Project, line: str, calls: re.Pattern[str]) -> Iterator[str]:
    for target in sorted({*TARGET.findall(line), *TRIPLE.findall(line)} - project.targets):
        yield f"the target {target} stands in no {toolchain.FILE}"
    for channel in sorted(set(TOOLCHAIN.findall(line)) - project.channels):
        yield f"the toolchain {channel} stands in no {toolchain.FILE}"
    components = set(COMPONENT.findall(line)) | ({"rust-src"} if NEEDS_SOURCE.search(line) else set())
    for component in sorted(components - project.components):
        yield f"the component {component} stands in no {toolchain.FILE}"
    for command in sorted(set(calls.findall(line)) - project.cargo_commands):
        yield f"`cargo {command}` comes with no component of {toolchain.FILE}, and nothing installs it"


def _without_set_up(file: Path, text: str) -> Iterator[str]:
    if file.name == "Makefile":
        for target, needs, recipe in re.findall(r"^([\w-]+):([^=\n]*)\n((?:\t.*\n?)+)", text, re.MULTILINE):
            if CARGO.search(recipe) and "rust" not in needs.split():
                yield f"the target {target} calls cargo and does not need the target rust"
    elif re.match(r"#!.*sh\b", text) and CARGO.search(text) and GETS_RUST not in text:
        yield f"calls cargo and does not get Rust (`python3 -m {GETS_RUST}`)"


def _commands(file: Path) -> str | None:
    """The commands in a file, each on its line, without comments and prose; None: there can be none in it."""
    if (file.suffix and file.suffix not in COMMANDS_IN) or file.name.endswith("lock.json"):
        return None
    try:
        text = file.read_text()
    except UnicodeDecodeError:
        return None
    if file.suffix == ".md":
        return _code_of_markdown(text)
    if file.suffix in CODE:
        # An array of arguments reads like a line of a shell.
        text = re.sub(r"""["'],[ ]*["']""", " ", text)
    if file.suffix in {".mjs", ".rs"}:
        return re.sub(r"(^|\s)//.*", "", text, flags=re.MULTILINE)
    first, _, rest = text.partition("\n")
    return first + "\n" + re.sub(r"(^|[ \t])#.*", "", rest, flags=re.MULTILINE)


def _code_of_markdown(text: str) -> str:
    lines, fenced = [], False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
            lines.append("")
        elif fenced:
            lines.append(re.sub(r"(^|\s)#.*", "", line))
        else:
            lines.append("; ".join(re.findall(r"`([^`]+)`", line)))
    return "\n".join(lines)
