"""The client libraries for JavaScript, behind the face of those for Python: each library in a Node of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from support.clients import SCHEMAS, Client, Turn
from support.exchange import new_trace_id, trace_headers

FOLDER = Path(__file__).resolve().parents[1] / "javascript"


class Node:
    """A Node that serves one library: for all tests, because it takes longer to start than to answer. It ends with its
    standard input, which is when the tests do."""

    def __init__(self, library: str) -> None:
        self._process = subprocess.Popen(
            ["node", "main.mjs", library], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def send(self, **request: Any) -> dict[str, Any]:
        """What the library made of the answer."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, f"Node ended with {self._process.wait(10)}"
        answer = json.loads(line)
        assert "turn" in answer, answer["error"]
        return answer["turn"]


@cache
def node(library: str) -> Node:
    return Node(library)


class JavaScript(Client):
    """A conversation through the library that `name` names in `main.mjs`."""

    def __init__(self, url: str) -> None:
        if "WEIR_TEST_JAVASCRIPT" not in os.environ:
            pytest.skip("the client libraries for JavaScript need Node 20 and npm")
        self._url = url
        self._results: dict[str, list[dict[str, Any]]] = {}

    def send(self, prompt: str, *, stream: bool, history: Iterable[dict[str, Any]] = ()) -> Turn:
        trace_id = new_trace_id()
        turn = node(self.name).send(
            url=self._url,
            headers=trace_headers(trace_id),
            prompt=prompt,
            stream=stream,
            history=list(history),
            schemas=SCHEMAS,
        )
        assert turn["tokens"] > 0
        self._results[trace_id] = turn["results"]
        calls = [(name, arguments) for name, arguments in turn["calls"]]
        return Turn(trace_id, turn["text"], calls, turn["finish"], turn["message"])

    def results(self, turn: Turn) -> list[dict[str, Any]]:
        return self._results[turn.trace_id]

    def close(self) -> None:
        pass


class OpenAIForJavaScript(JavaScript):
    """`openai`, chat.completions."""

    name, finish_text, finish_calls = "openai-js", "stop", "tool_calls"


class AnthropicForJavaScript(JavaScript):
    """`@anthropic-ai/sdk`, messages."""

    name, finish_text, finish_calls = "anthropic-js", "end_turn", "tool_use"


class AiWithOpenAI(JavaScript):
    """Vercel's `ai`, chat.completions."""

    name, finish_text, finish_calls = "ai-openai", "stop", "tool-calls"


class AiWithAnthropic(JavaScript):
    """Vercel's `ai`, messages."""

    name, finish_text, finish_calls = "ai-anthropic", "stop", "tool-calls"


JAVASCRIPT_CLIENTS = (OpenAIForJavaScript, AnthropicForJavaScript, AiWithOpenAI, AiWithAnthropic)
