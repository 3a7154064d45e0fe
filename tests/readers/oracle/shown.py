"""What a client shows, gathered from its objects: strings under the keys that applications show, joined by place."""

from __future__ import annotations

import re
from typing import Any

SHOWN = re.compile(
    r"(text|content|refusal|reasoning|reasoning_content|reasoning_text|reasoning_details|thinking|thinking_blocks"
    r"|summary|transcript|explanation|token|parsed|message|output_text|cited_text|delta)"
)
# Where such keys stand. What stands elsewhere is told apart by a `?` in its place: no library here shows it.
HOLDS = re.compile(
    r"(choices|item|part|output|response|audio|logprobs|top_logprobs|annotations|citations?|stop_details|content_block)"
)
# Tool calls are no texts; seals are no language.
APART = re.compile(r"(tool_calls|function_call|input|arguments|partial_json|signature|encrypted_content)")
DEEPEST = 12


class Shown:
    """Joins strings by their place: the same part of the same message, over all deltas."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}

    def add(self, place: str, text: Any) -> None:
        """One more piece of the text at that place."""
        if isinstance(text, str) and text:
            self._texts.setdefault(place, []).append(text)

    def gather(self, value: Any, place: str, shown: bool = False, depth: int = 0) -> None:
        """All strings that applications show in `value`."""
        if depth > DEEPEST:
            return
        if isinstance(value, str):
            if shown:
                self.add(place, value)
        elif isinstance(value, list):
            for each in value:
                self.gather(each, place, shown, depth + 1)
        elif isinstance(value, dict):
            # Signed reasoning is never changed: its signature would no longer hold.
            if value.get("type") == "thinking" and value.get("signature"):
                return
            # What comes of a tool that the provider carries out is no text of the answer.
            if str(value.get("type")).endswith(("_tool_result", "_output")):
                return
            for key, each in value.items():
                if not APART.fullmatch(str(key)):
                    is_shown = SHOWN.fullmatch(str(key)) is not None
                    mark = "" if is_shown or HOLDS.fullmatch(str(key)) else "?"
                    self.gather(each, f"{place}.{mark}{key}", is_shown, depth + 1)

    def texts(self) -> dict[str, str]:
        """The texts by their places, each joined."""
        return {place: "".join(pieces) for place, pieces in self._texts.items()}
