"""All readers of a response: Python's in this process, JavaScript's in another, Go's as a model."""

from __future__ import annotations

import gc
import json
import subprocess
from pathlib import Path
from typing import Any

from oracle import go_model, python_readers
from oracle.mcp_reader import McpReader
from oracle.reading import Reading, Response

_JAVASCRIPT = Path(__file__).resolve().parents[1] / "javascript" / "main.mjs"

_MOST_KNOWN = 200


class Readers:
    """The client libraries, each behind a transport in memory."""

    def __init__(self) -> None:
        self._node = subprocess.Popen(
            ["node", _JAVASCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._mcp: McpReader | None = None
        self._known: dict[Any, dict[str, Reading]] = {}
        # The libraries bring a million objects that stay: collecting garbage among them takes longer than reading.
        gc.freeze()
        gc.disable()

    def read(self, dialect: str, stream: bool, response: Response) -> dict[str, Reading]:
        """What each reader makes of the response; known, if the same was read lately."""
        key = (dialect, stream, response.status, tuple(response.headers), response.body)
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
                gc.collect()
            self._known[key] = self._read(dialect, stream, response)
        return self._known[key]

    def _read(self, dialect: str, stream: bool, response: Response) -> dict[str, Reading]:
        assert self._node.stdin and self._node.stdout
        line = {"dialect": dialect, "stream": stream, "response": response.to_wire()}
        self._node.stdin.write(json.dumps(line) + "\n")
        self._node.stdin.flush()
        readings = python_readers.read(dialect, stream, response)
        if dialect == "chat.completions":
            readings["go-openai"] = go_model.read(stream, response)
        if dialect == "mcp_tool":
            self._mcp = self._mcp or McpReader()
            readings["mcp-py"] = self._mcp.read(response)
        said = self._node.stdout.readline()
        if not said:
            raise RuntimeError("the process of the JavaScript readers ended")
        for name, reading in json.loads(said).items():
            readings[name] = _from_javascript(reading)
        return readings

    def close(self) -> None:
        """Ends the process."""
        assert self._node.stdin
        self._node.stdin.close()
        self._node.wait()


def _from_javascript(reading: dict[str, Any]) -> Reading:
    text = reading.get("text")
    return Reading(reading["calls"], text if isinstance(text, str) else "", reading["texts"], reading.get("error"))
