"""A server of MCP that answers as odd servers do: what is asked rightly enough, what is not asked in its own way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from support.asgi import Served

Headers = dict[str, str]

PLAIN_JSON: Headers = {"content-type": "application/json"}


@dataclass(frozen=True)
class Manner:
    """How a server answers."""

    status: int = 202
    headers: Headers = field(default_factory=dict)
    body: str = ""
    """What it says to a notification."""
    shown_id: Callable[[Any], Any] = lambda asked: asked
    """The id that an answer has."""
    streams: bool = False
    before: str = ""
    """What comes on a stream before the answer."""
    content_type: str | None = None
    """That of an answer, where it is not what it should be."""


RESULTS: dict[str, Any] = {
    "initialize": {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "odd", "version": "1"},
    },
    "tools/list": {"tools": [{"name": "look", "inputSchema": {"type": "object"}}]},
    "tools/call": {"content": [{"type": "text", "text": "a nightingale"}]},
}


class OddMcpServer:
    """A server without sessions that has one tool."""

    def __init__(self) -> None:
        self.manner = Manner()
        routes = [Route("/mcp", self._post, methods=["POST"]), Route("/mcp", _no_stream, methods=["GET", "DELETE"])]
        self._served = Served(Starlette(routes=routes))
        self.port = self._served.port

    async def _post(self, request: Request) -> Response:
        message = await request.json()
        manner = self.manner
        if "id" not in message:
            return Response(manner.body, manner.status, manner.headers)
        answer = {"jsonrpc": "2.0", "id": manner.shown_id(message["id"]), "result": RESULTS.get(message["method"], {})}
        text = json.dumps(answer)
        if manner.streams:
            text = f"{manner.before}event: message\ndata: {text}\n\n"
        kind = manner.content_type or ("text/event-stream" if manner.streams else "application/json")
        return Response(text, 200, {"content-type": kind})

    def stop(self) -> None:
        self._served.stop()


async def _no_stream(_: Request) -> Response:
    return Response(status_code=405)
