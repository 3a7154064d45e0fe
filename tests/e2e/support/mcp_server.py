"""A server of the official MCP library, and its client, for tests that are written without `async`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ElicitRequestParams, ElicitResult
from pydantic import BaseModel
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

T = TypeVar("T")

VERSIONS = ["legacy", "2026-07-28"]
"""How a client of the library connects: with a handshake, or as the newest protocol has it."""


class Weather(BaseModel):
    city: str
    sky: str


class Country(BaseModel):
    country: str


@dataclass
class McpServer:
    """Tools of which one is harmful, a resource and a prompt."""

    json_response: bool
    stateless: bool
    calls: list[str] = field(default_factory=list)
    """The tools that were called, in order."""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Method and headers of every HTTP request."""

    def __post_init__(self) -> None:
        server = MCPServer("weather", instructions="Ask for the weather.")

        @server.tool()
        def get_weather(city: str) -> Weather:
            """Tells the weather of a city."""
            self.calls.append("get_weather")
            return Weather(city=city, sky="clear")

        @server.tool()
        def run_shell(command: str) -> str:
            """Runs a command."""
            self.calls.append("run_shell")
            return f"ran {command}"

        @server.tool()
        async def measure(context: Context) -> str:
            """Reports its progress."""
            for step in (1, 2, 3):
                await context.report_progress(step, 3, f"step {step}")
            return "measured"

        @server.tool()
        async def choose(context: Context) -> str:
            """Asks the user."""
            answer = await context.elicit("Which country?", Country)
            return answer.data.country if answer.action == "accept" and answer.data else "none"

        @server.resource("notes://today")
        def notes() -> str:
            """Notes of the day."""
            return "Water the plants."

        @server.prompt()
        def review(code: str) -> str:
            """Asks for a review."""
            return f"Please review {code}."

        app = server.streamable_http_app(json_response=self.json_response, stateless_http=self.stateless)
        config = uvicorn.Config(self._noting(app), host="127.0.0.1", port=0, log_level="warning", lifespan="on")
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._uvicorn.run, name="MCP server", daemon=True)

    def _noting(self, app: ASGIApp) -> ASGIApp:
        async def noting(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                request = Request(scope)
                self.requests.append((request.method, dict(request.headers)))
            await app(scope, receive, send)

        return noting

    def start(self) -> None:
        self._thread.start()
        while not self._uvicorn.started:
            if not self._thread.is_alive():
                raise AssertionError("the MCP server did not start")
            threading.Event().wait(0.02)

    @property
    def port(self) -> int:
        return int(self._uvicorn.servers[0].sockets[0].getsockname()[1])

    def stop(self) -> None:
        self._uvicorn.should_exit = True
        # Streams that clients left open must not keep it.
        self._uvicorn.force_exit = True
        self._thread.join(timeout=10)


async def _elicited(_: Any, __: ElicitRequestParams) -> ElicitResult:
    return ElicitResult(action="accept", content={"country": "France"})


def with_client(url: str, version: str, work: Callable[[Client], Awaitable[T]]) -> T:
    """Runs `work` with a client of the library that is connected to `url`."""

    async def run() -> T:
        transport = streamable_http_client(f"{url}/mcp")
        async with Client(transport, mode=version, elicitation_callback=_elicited, read_timeout_seconds=20) as client:
            return await work(client)

    return asyncio.run(run())


def post(url: str, body: Any, **headers: str) -> httpx.Response:
    """A request without the library: for what it would not send."""
    accepted = {"accept": "application/json, text/event-stream", **{name.replace("_", "-"): headers[name] for name in headers}}
    return httpx.post(f"{url}/mcp", json=body, headers=accepted, timeout=20)
