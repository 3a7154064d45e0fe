"""The tools of MCP, as the mock provider serves them: the harmless one and the harmful one, over streamable HTTP."""

from __future__ import annotations

import json
from typing import Any

from harness.answers import HARMFUL_TOOL, HARMLESS_TOOL
from harness.http_server import Reply

PATH = "/mcp"
_SCHEMA = {"type": "object", "additionalProperties": {"type": "string"}}
_TOOLS = [
    {"name": HARMLESS_TOOL, "description": "Tells the weather.", "inputSchema": _SCHEMA},
    {"name": HARMFUL_TOOL, "description": "Runs a command.", "inputSchema": _SCHEMA},
]


async def answer(reply: Reply) -> None:
    """Answers one message. It keeps no sessions and sends nothing by itself."""
    if reply.request.method != "POST":
        await reply.send(405, b"", [("allow", "POST")])
        return
    message = json.loads(reply.request.body)
    if "id" not in message:
        await reply.send(202, b"")
        return
    result = _result(message)
    body = {"error": {"code": -32601, "message": "Method not found"}} if result is None else {"result": result}
    await reply.send_json(200, {"jsonrpc": "2.0", "id": message["id"], **body})


def _result(message: dict[str, Any]) -> dict[str, Any] | None:
    params = message.get("params", {})
    match message.get("method"):
        case "initialize":
            return {
                "protocolVersion": params.get("protocolVersion", "2025-06-18"),
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "mock", "version": "1"},
            }
        case "ping":
            return {}
        case "tools/list":
            return {"tools": _TOOLS}
        case "tools/call":
            text = f"{params.get('name')} ran with {json.dumps(params.get('arguments', {}))}"
            return {"content": [{"type": "text", "text": text}]}
    return None
