"""All containers together: what `make run` shows, in four dialects, with Prometheus' and the collector's view of it."""

from __future__ import annotations

import http.client
import json

import pytest
from conftest import Stack
from harness.scenes import SCENES, Exchange, Scene
from traffic import converse


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.title)
def test_scene(stack: Stack, scene: Scene) -> None:
    seen = converse(stack.port, scene.dialect, scene.prompt)
    decision = stack.collector.wait_for({seen.trace_id})[seen.trace_id]
    print(f"{scene.title}: {seen.text!r}, calls {[call.name for call in seen.calls]}, {decision['effective_decision']}")
    assert scene.mistake(Exchange(seen, decision)) is None


@pytest.mark.parametrize(("tool", "blocked"), [("get_weather", False), ("run_shell", True)])
def test_tool_of_an_mcp_server(stack: Stack, tool: str, blocked: bool) -> None:
    command = {"command": "rm -rf /"} if blocked else {"city": "Zürich"}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": command}}
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=20)
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    connection.request("POST", "/mcp", json.dumps(message), headers)
    response = connection.getresponse()
    result = json.loads(response.read())["result"]
    assert bool(result.get("isError")) is blocked
    assert ("ran with" in result["content"][0]["text"]) is not blocked


def test_no_container_is_root_or_can_write_to_its_image(stack: Stack) -> None:
    for service in stack.compose.states():
        [inspected] = json.loads(stack.compose.docker("inspect", stack.compose.container(service)))
        assert inspected["HostConfig"]["ReadonlyRootfs"], service
        assert inspected["Config"]["User"].partition(":")[0] not in ("", "0", "root"), service


def test_events_need_the_token(stack: Stack) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", stack.collector.port, timeout=5)
    connection.request("GET", "/v1/events")
    assert connection.getresponse().status == 401


def test_statistics_are_there_for_prometheus(stack: Stack) -> None:
    converse(stack.port, SCENES[2].dialect, SCENES[2].prompt)
    connection = http.client.HTTPConnection("127.0.0.1", stack.admin_port, timeout=5)
    connection.request("GET", "/stats/prometheus")
    text = connection.getresponse().read().decode()
    assert "weir_decisions" in text
