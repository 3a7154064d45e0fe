"""The official MCP library must not notice Weir, unless a policy acts; and then see a result that says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import MakeGateway
from harness import judge as judges
from harness.gateway import Gateway
from harness.judge import Judge, question
from mcp import Client
from support.documents import Document, no_op, tool_call_judge
from support.exchange import new_trace_id, trace_headers
from support.mcp_server import VERSIONS, McpServer, post, with_client
from support.sink import Sink

Connect = Callable[[Document], Gateway]

DELETE = {"jsonrpc": "2.0", "id": "d", "method": "tools/call"}
DELETE["params"] = {"name": "run_shell", "arguments": {"command": "rm -rf /"}}

pytestmark = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture(
    scope="module",
    params=[(json, stateless) for json in (False, True) for stateless in (False, True)],
    ids=["stream-session", "stream-stateless", "json-session", "json-stateless"],
)
def running(request: pytest.FixtureRequest) -> Iterator[McpServer]:
    server = McpServer(*request.param)
    yield server
    server.stop()


@pytest.fixture
def server(running: McpServer) -> McpServer:
    """The server, as new."""
    running.calls.clear()
    running.requests.clear()
    return running


@pytest.fixture
def connect(gateway: MakeGateway, clusters: dict[str, int], server: McpServer) -> Connect:
    """Starts Envoy in front of the server."""
    return lambda policy: gateway(policy, clusters={**clusters, "provider": server.port})


@pytest.fixture
def judged(connect: Connect, judge: Judge) -> Gateway:
    return connect(tool_call_judge())


def texts(result: Any) -> str:
    return " ".join(item.text for item in result.content if item.type == "text")


def test_a_session_is_the_same_as_without_weir(connect: Connect, server: McpServer, version: str) -> None:
    async def session(client: Client) -> list[Any]:
        weather = await client.call_tool("get_weather", {"city": "Zürich"})
        found = [
            client.protocol_version,
            client.instructions,
            [tool.model_dump() for tool in (await client.list_tools()).tools],
            weather.model_dump(),
            (await client.list_resources()).model_dump(),
            (await client.read_resource("notes://today")).model_dump(),
            (await client.get_prompt("review", {"code": "a.rs"})).model_dump(),
        ]
        return found

    through = with_client(connect(no_op()).url, version, session)
    assert through == with_client(f"http://127.0.0.1:{server.port}", version, session)


def test_a_harmless_call_passes(judged: Gateway, judge: Judge, server: McpServer, version: str) -> None:
    result = with_client(judged.url, version, lambda client: client.call_tool("get_weather", {"city": "Zürich"}))
    assert not result.is_error
    assert result.structured_content == {"city": "Zürich", "sky": "clear"}
    assert len(judge.requests) == 1
    assert "get_weather" in question(judge.requests[0]) and "Zürich" in question(judge.requests[0])


def test_a_harmful_call_never_reaches_the_server(
    judged: Gateway, judge: Judge, server: McpServer, version: str
) -> None:
    async def work(client: Client) -> tuple[Any, Any]:
        refused = await client.call_tool("run_shell", {"command": "rm -rf /"})
        return refused, await client.call_tool("get_weather", {"city": "Basel"})

    refused, after = with_client(judged.url, version, work)
    assert refused.is_error
    assert "run_shell" in texts(refused), "the refusal says which call was blocked"
    assert not after.is_error, "the session goes on"
    assert server.calls == ["get_weather"]


@pytest.mark.parametrize(
    "behaviour", [judges.hangs, judges.resets, judges.answers(500, b"")], ids=["hangs", "resets", "500"]
)
def test_a_judge_that_fails_blocks(
    connect: Connect, judge: Judge, server: McpServer, version: str, behaviour: Any
) -> None:
    judge.behaviour = behaviour
    envoy = connect(tool_call_judge(timeout="500ms"))
    result = with_client(envoy.url, version, lambda client: client.call_tool("get_weather", {"city": "Bern"}))
    assert result.is_error
    assert server.calls == []


def test_a_denied_tool_is_neither_listed_nor_called(connect: Connect, server: McpServer, version: str) -> None:
    async def work(client: Client) -> tuple[list[str], Any]:
        names = [tool.name for tool in (await client.list_tools()).tools]
        return names, await client.call_tool("run_shell", {"command": "ls"})

    names, refused = with_client(connect(tool_call_judge(deny=["run_shell"])).url, version, work)
    assert names == ["get_weather", "measure", "choose"]
    assert refused.is_error
    assert server.calls == []


def test_progress_arrives(judged: Gateway, server: McpServer, version: str) -> None:
    seen: list[str] = []

    async def report(_: float, __: float | None, message: str | None) -> None:
        seen.append(message or "")

    async def work(client: Client) -> Any:
        return await client.call_tool("measure", progress_callback=report)

    assert texts(with_client(judged.url, version, work)) == "measured"
    # In a JSON answer there is no room for it.
    assert seen == ([] if server.json_response else ["step 1", "step 2", "step 3"])


def test_the_user_is_asked_while_another_call_waits_for_its_judge(
    judged: Gateway, judge: Judge, server: McpServer, version: str
) -> None:
    if version == "legacy" and (server.stateless or server.json_response):
        pytest.skip("such a server has no way to ask")

    async def behaviour(reply: Any) -> None:
        if "get_weather" in question(reply.request):
            await reply.pause(1.5)
        await judges.verdict(reply)

    judge.behaviour = behaviour
    order: list[str] = []

    async def work(client: Client) -> None:
        async def call(name: str, arguments: dict[str, Any]) -> str:
            result = await client.call_tool(name, arguments)
            order.append(name)
            return texts(result)

        _, chosen = await asyncio.gather(call("get_weather", {"city": "Chur"}), call("choose", {}))
        assert chosen == "France"

    with_client(judged.url, version, work)
    assert order == ["choose", "get_weather"]


def test_session_headers_are_kept(judged: Gateway, server: McpServer, version: str) -> None:
    with_client(judged.url, version, lambda client: client.call_tool("get_weather", {"city": "Chur"}))
    methods = [method for method, _ in server.requests]
    versions = {
        headers["mcp-protocol-version"] for method, headers in server.requests if "mcp-protocol-version" in headers
    }
    if version != "legacy":
        assert versions == {version}
        return
    assert len(versions) == 1
    if not server.stateless:
        sessions = {headers["mcp-session-id"] for _, headers in server.requests if "mcp-session-id" in headers}
        assert len(sessions) == 1
        assert {"GET", "DELETE"} <= set(methods)


def test_events_say_what_was_decided(judged: Gateway, sink: Sink, server: McpServer, version: str) -> None:
    trace_id = new_trace_id()
    answer = post(judged.url, DELETE, **trace_headers(trace_id))
    assert (answer.status_code, answer.json()["id"], answer.json()["result"]["isError"]) == (200, "d", True)
    decision = sink.decision(trace_id)
    assert (decision["policy_target"], decision["decision"]) == ("mcp_tool", "refuse")
    assert "judge.blocked" in sink.types(trace_id)
    assert {event["policy_target"] for event in sink.events(trace_id)} == {"mcp_tool"}


def test_headers_that_disagree_with_the_body_are_refused(judged: Gateway, server: McpServer, version: str) -> None:
    answer = post(
        judged.url, DELETE, mcp_protocol_version="2026-07-28", mcp_method="tools/call", mcp_name="get_weather"
    )
    assert (answer.status_code, answer.json()["id"], answer.json()["error"]["code"]) == (400, "d", -32020)
    assert server.requests == []


def test_what_is_no_message_is_refused(judged: Gateway, server: McpServer, version: str) -> None:
    answer = post(judged.url, {"jsonrpc": "2.0", "id": 1})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert answer.json()["error"]["code"] == -32700
    assert server.requests == []
