"""One exchange under test: what was asked, what the provider answers, and how it comes."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oracle.policies import HARM, Policy
from oracle.reading import Response

ROOT = Path(__file__).resolve().parents[3]
PLAYER = ROOT / "target" / "debug" / "weir-readers-player"
_HI = [{"role": "user", "content": "hi"}]
_PATHS = {
    "chat.completions": "/v1/chat/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
    "mcp_tool": "/mcp",
}
DIALECTS = tuple(_PATHS)
BEHIND_THE_END = 1_000_000


def request_body(dialect: str, stream: bool) -> str:
    """A plain request."""
    if dialect == "mcp_tool":
        call = {"name": "run", "arguments": {}}
        return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
    body: dict[str, Any] = {"model": "m", "stream": stream}
    body |= {"input": "hi"} if dialect == "responses" else {"messages": _HI}
    if dialect == "messages":
        body["max_tokens"] = 99
    return json.dumps(body)


@dataclass
class Exchange:
    """What is played."""

    name: str
    dialect: str
    stream: bool
    """Whether the client asked for a stream."""
    response: Response
    request: str = ""
    splits: list[int] = field(default_factory=list)
    delay: int = 0
    how: list[str] = field(default_factory=list)
    """The mutations, in words."""

    def to_wire(self, policy: Policy, harm: bool) -> dict[str, Any]:
        """The line for the player."""
        head = [[":method", "POST"], [":path", _PATHS[self.dialect]], [":authority", "llm"]]
        head.append(["content-type", "application/json"])
        if self.dialect == "mcp_tool":
            head.append(["accept", "application/json, text/event-stream"])
        response = self.response.to_wire()
        status = [[":status", str(self.response.status)]]
        body = self.request or request_body(self.dialect, self.stream)
        return {
            "document": policy.document,
            "request": {"headers": head, "body": body.encode().decode("latin-1")},
            "response": {"headers": status + response["headers"], "body": response["body"]},
            "splits": self.splits,
            "delay": self.delay,
            "harm": HARM if harm else [],
        }


@dataclass
class Outcome:
    """What Weir made of it."""

    response: Response
    ended: bool
    reset: bool
    sent: bool
    questions: list[dict[str, Any]]
    events: list[dict[str, Any]]
    trap: str | None

    @property
    def reason(self) -> str:
        """The reason code of the exchange's last event."""
        for event in reversed(self.events):
            if event.get("event_type") == "enforcement":
                return str(event["metadata"].get("reason_code", ""))
        return ""

    @property
    def engine_errors(self) -> list[str]:
        """What the engine could not read, or refused."""
        known = {"request.received", "enforcement", "request"}
        words = [str(event.get("event_type")) for event in self.events if event.get("kind") != "policy_action"]
        return [word for word in words if word not in known]


class Player:
    """The process that runs weir.wasm."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([PLAYER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, exchange: Exchange, policy: Policy, harm: bool) -> None:
        """Begins to play an exchange."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(exchange.to_wire(policy, harm)) + "\n")
        self._process.stdin.flush()

    def receive(self) -> Outcome:
        """What came of the exchange that was sent first."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the player ended: is target/weir.wasm there?")
        said = json.loads(line)
        headers = [(name, value) for name, value in said["headers"] if not name.startswith(":")]
        response = Response(said["status"], headers, said["body"].encode("latin-1"))
        return Outcome(
            response, said["ended"], said["reset"], said["sent"], said["questions"], said["events"], said["trap"]
        )

    def play(self, exchange: Exchange, policy: Policy, harm: bool) -> Outcome:
        """Plays one exchange."""
        self.send(exchange, policy, harm)
        return self.receive()

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
