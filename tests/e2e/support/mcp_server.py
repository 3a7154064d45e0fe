"""A server of the official MCP library, and its client, for tests that are written without `async`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import httpx
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp_types import ElicitRequestParams, ElicitResult
from pydantic import BaseModel
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from support.asgi import Served

T = TypeVar("T")

VERSIONS = ["legacy", "2026-07-28"]
"""How a client of the library connects: with a handshake, or as the newest protocol has it."""


class Weather(BaseModel):
    city: str
    sky: str


class Country(BaseModel):
    country: str


def _ask() -> Elicit[Country]:
    return Elicit("Which country?", Country)


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
        def choose(country: Annotated[Country, Resolve(_ask)]) -> str:
            """Asks the user: within the call, or, since 2026-07-28, by having it repeated with the answer."""
            return country.country

        @server.resource("notes://today")
        def notes() -> str:
            """Notes of the day."""
            return "Water the plants."

        @server.prompt()
        def review(code: str) -> str:
            """Asks for a review."""
            return f"Please review {code}."

        app = server.streamable_http_app(json_response=self.json_response, stateless_http=self.stateless)
        self._served = Served(self._noting(app))
        self.port = self._served.port

    def _noting(self, app: ASGIApp) -> ASGIApp:
        async def noting(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                request = Request(scope)
                self.requests.append((request.method, dict(request.headers)))
            await app(scope, receive, send)

        return noting

    def stop(self) -> None:
        self._served.stop()


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
    accepted = {
        "accept": "application/json, text/event-stream",
        **{name.replace("_", "-"): headers[name] for name in headers},
    }
    return httpx.post(f"{url}/mcp", json=body, headers=accepted, timeout=20)
