"""Reads an answer to `tools/call` through the MCP SDK for Python."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from oracle.reading import Reading, Response

_RESULT = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "server", "version": "1"},
}
# What of a result stands for nothing but itself: names, addresses and encoded data pass unread.
_UNREAD = {"_meta", "meta", "name", "uri", "type", "mimeType", "mime_type", "data", "blob", "id", "annotations", "role"}
_LEFT_OUT = {"content-length", "content-encoding", "transfer-encoding"}
_TIMEOUT = 1.0


class McpReader:
    """An event loop for the client, which is asynchronous."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def read(self, response: Response) -> Reading:
        """What the client makes of the response."""
        return self._loop.run_until_complete(_read(response))


async def _read(given: Response) -> Reading:
    head = [(name, value) for name, value in given.headers if name.lower() not in _LEFT_OUT]

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method != "POST":
            return httpx2.Response(405 if request.method == "GET" else 200)
        message = json.loads(request.content)
        if message.get("method") == "initialize":
            return httpx2.Response(200, json={"jsonrpc": "2.0", "id": message["id"], "result": _RESULT})
        if message.get("method") == "tools/list":
            tools = [{"name": "run", "inputSchema": {"type": "object"}}]
            return httpx2.Response(200, json={"jsonrpc": "2.0", "id": message["id"], "result": {"tools": tools}})
        if message.get("method") == "tools/call":
            # What is under test answers the request with the id 1, wherever the client begins to count.
            body = given.body
            if message["id"] != 1:
                body = body.replace(b'"id": 1', b'"id": %d' % message["id"])
            return httpx2.Response(given.status, headers=head, content=body)
        return httpx2.Response(202)

    texts: list[str] = []

    async def notified(message: Any) -> None:
        if hasattr(message, "model_dump"):
            _gather(message.model_dump(), texts)

    reading = Reading()
    try:
        async with (
            httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client,
            streamable_http_client("http://weir.test/mcp", http_client=client) as streams,
            ClientSession(streams[0], streams[1], message_handler=notified) as session,
        ):
            await session.initialize()
            result = await asyncio.wait_for(session.call_tool("run", {}), _TIMEOUT)
            whole = result.model_dump()
            parts = whole.get("content") or []
            reading.text = "".join(part.get("text") or "" for part in parts if part.get("type") == "text")
            _gather(whole, texts)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        reading.error = repr(_first(error))
        texts.append(reading.error)
    reading.texts = {str(number): text for number, text in enumerate(texts)}
    return reading


def _first(error: BaseException) -> BaseException:
    while grouped := getattr(error, "exceptions", None):
        error = grouped[0]
    return error


def _gather(value: Any, texts: list[str]) -> None:
    if isinstance(value, str):
        texts.append(value)
    elif isinstance(value, list):
        for each in value:
            _gather(each, texts)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key not in _UNREAD:
                _gather(each, texts)
