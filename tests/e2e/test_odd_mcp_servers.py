"""Official clients of MCP get on with odd servers through Weir as they do without, and policies see what they see."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import MakeGateway
from harness.gateway import Gateway
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from support.documents import Document, document
from support.javascript import node
from support.odd_mcp_server import PLAIN_JSON, Manner, OddMcpServer

MANNERS = {
    "202": Manner(),
    "202-text": Manner(headers={"content-type": "text/plain"}, body="Accepted"),
    "202-untyped-text": Manner(body="Accepted"),
    "202-json-text": Manner(headers=PLAIN_JSON, body="Accepted"),
    "202-null": Manner(headers=PLAIN_JSON, body="null"),
    "200-null": Manner(200, PLAIN_JSON, "null"),
    "200-object": Manner(200, PLAIN_JSON, "{}"),
    "200-empty": Manner(200, PLAIN_JSON, ""),
    "200-empty-stream": Manner(200, {"content-type": "text/event-stream"}, ""),
    "204": Manner(204),
    "ids-as-strings": Manner(shown_id=str),
    "ids-as-strings-streamed": Manner(shown_id=str, streams=True),
    "events-of-other-names": Manner(streams=True, before="event: keepalive\ndata: {}\n\n"),
    "comments": Manner(streams=True, before=": ping\n\nretry: 100\n\n"),
    "charset": Manner(content_type="application/json; charset=us-ascii"),
    "charset-streamed": Manner(streams=True, content_type="text/event-stream; charset=iso-8859-1"),
}


@pytest.fixture(scope="module")
def running() -> Iterator[OddMcpServer]:
    server = OddMcpServer()
    yield server
    server.stop()


@pytest.fixture(params=MANNERS.values(), ids=MANNERS.keys())
def server(request: pytest.FixtureRequest, running: OddMcpServer) -> OddMcpServer:
    """The server, in one of its manners."""
    running.manner = request.param
    return running


def rewriting() -> Document:
    """A policy that looks at every text."""
    return document([{"use": "content_transform", "with": {"replace": [{"find": "nightingale", "with": "[x]"}]}}])


@pytest.fixture
def envoy(gateway: MakeGateway, clusters: dict[str, int], server: OddMcpServer) -> Gateway:
    return gateway(rewriting(), clusters={**clusters, "provider": server.port})


def in_python(url: str) -> tuple[list[str], list[str]]:
    async def session() -> tuple[list[str], list[str]]:
        async with Client(streamable_http_client(f"{url}/mcp"), mode="legacy", read_timeout_seconds=10) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            result = await client.call_tool(tools[0], {})
            return tools, [item.text for item in result.content if item.type == "text"]

    return asyncio.run(session())


def in_javascript(url: str) -> tuple[list[str], list[str]]:
    if "WEIR_TEST_JAVASCRIPT" not in os.environ:
        pytest.skip("the client libraries for JavaScript need Node 20 and npm")
    turn = node("mcp-js").send(url=url)
    return turn["tools"], turn["texts"]


@pytest.mark.parametrize("session", [in_python, in_javascript])
def test_a_session_is_the_same_as_without_weir(envoy: Gateway, server: OddMcpServer, session: Any) -> None:
    assert session(f"http://127.0.0.1:{server.port}") == (["look"], ["a nightingale"])
    assert session(envoy.url) == (["look"], ["a [x]"])
