"""The MCP SDKs against servers that answer notifications in ways of their own: they must connect and call a tool."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import httpx2
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from oracle.exchange import PLAYER
from oracle.policies import POLICIES, Policy

_JSON = [["content-type", "application/json"]]
_WAYS: dict[str, dict[str, Any]] = {
    "202 without a body": {"status": 202, "headers": [], "body": ""},
    "202 with a text": {"status": 202, "headers": [["content-type", "text/plain"]], "body": "Accepted"},
    "202 with a text without a type": {"status": 202, "headers": [], "body": "Accepted"},
    "202 with JSON": {"status": 202, "headers": _JSON, "body": '{"status":"accepted"}'},
    "202 with null": {"status": 202, "headers": _JSON, "body": "null"},
    "200 with null": {"status": 200, "headers": _JSON, "body": "null"},
    "200 with {}": {"status": 200, "headers": _JSON, "body": "{}"},
    "204": {"status": 204, "headers": [], "body": ""},
}
_SCRIPT = Path(__file__).resolve().parents[1] / "javascript" / "connect.mjs"
_WELL = {"tools": ["echo"], "text": "hello"}
_TIMEOUT = 10.0


def failures() -> list[tuple[str, str]]:
    """Which client could not work with which server through which policy, and why; not where it cannot without Weir."""
    found = []
    for policy in POLICIES.values():
        for client, said in (("mcp-js", _javascript(policy)), ("mcp-py", _python(policy))):
            for way, outcome in said.items():
                well = {**_WELL, "text": outcome.get("text")} if policy.drops_calls else _WELL
                if outcome != well:
                    found.append((f"notification answered with {way}, {client}, {policy.name}", json.dumps(outcome)))
    return found


def _javascript(policy: Policy) -> dict[str, Any]:
    argument = json.dumps({"player": str(PLAYER), "document": policy.document, "ways": _WAYS})
    run = subprocess.run(["node", _SCRIPT, argument], capture_output=True, text=True, check=True, timeout=120)
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    return {line.pop("way"): line for line in lines}


def _python(policy: Policy) -> dict[str, Any]:
    with subprocess.Popen([PLAYER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as player:
        return {way: asyncio.run(_connect(player, policy, answer)) for way, answer in _WAYS.items()}


async def _connect(player: subprocess.Popen[str], policy: Policy, way: dict[str, Any]) -> dict[str, Any]:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        return _play(player, policy, request, way)

    try:
        async with (
            httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client,
            streamable_http_client("http://weir.test/mcp", http_client=client) as streams,
            ClientSession(streams[0], streams[1]) as session,
        ):
            await asyncio.wait_for(session.initialize(), _TIMEOUT)
            tools = await asyncio.wait_for(session.list_tools(), _TIMEOUT)
            result = await asyncio.wait_for(session.call_tool("echo", {}), _TIMEOUT)
            texts = [getattr(part, "text", "") for part in result.content]
            return {"tools": [tool.name for tool in tools.tools], "text": texts[0]}
    except Exception as error:
        return {"error": repr(error)}


def _play(
    player: subprocess.Popen[str], policy: Policy, request: httpx2.Request, way: dict[str, Any]
) -> httpx2.Response:
    assert player.stdin and player.stdout
    said = _serve(request, way)
    head = [[":method", request.method], [":path", "/mcp"], [":authority", "tools"]]
    head += [[name, value] for name, value in request.headers.items() if name not in ("host", "content-length")]
    line = {
        "document": policy.document,
        "request": {"headers": head, "body": request.content.decode("latin-1")},
        "response": {"headers": [[":status", str(said["status"])], *said["headers"]], "body": said["body"]},
    }
    player.stdin.write(json.dumps(line) + "\n")
    player.stdin.flush()
    outcome = json.loads(player.stdout.readline())
    if outcome["trap"]:
        raise RuntimeError(outcome["trap"])
    names = [(name, value) for name, value in outcome["headers"] if not name.startswith(":")]
    return httpx2.Response(outcome["status"], headers=names, content=outcome["body"].encode("latin-1"))


def _serve(request: httpx2.Request, way: dict[str, Any]) -> dict[str, Any]:
    if request.method != "POST":
        return {"status": 405, "headers": [], "body": ""}
    message = json.loads(request.content)
    if "id" not in message:
        return way
    results: dict[str, Any] = {
        "initialize": {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "server", "version": "1"},
        },
        "tools/list": {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]},
        "tools/call": {"content": [{"type": "text", "text": "hello"}]},
    }
    body = {"jsonrpc": "2.0", "id": message["id"], "result": results[message["method"]]}
    return {"status": 200, "headers": _JSON, "body": json.dumps(body)}
