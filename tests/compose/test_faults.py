"""Faults, and what is promised of each: nothing acknowledged is lost, streams end legally, fail modes hold."""

from __future__ import annotations

import http.client
import threading
import time
from contextlib import suppress

from conftest import Stack
from harness.demo_client import CHAT, Conversation, Text
from traffic import Load, converse

HELD_BACK_CALL = "What is the weather?"


def assert_all_there(stack: Stack, load: Load) -> None:
    """Every exchange that a client saw the end of has its decision, and no sender dropped or misses anything."""
    assert not load.failures
    decisions = stack.collector.wait_for(load.traces)
    blocked = [trace for trace, decision in decisions.items() if decision["effective_decision"] == "refuse"]
    print(f"{len(decisions)} exchanges, all with their decision; {len(blocked)} with a blocked call")
    assert blocked
    assert stack.collector.losses() == {"missing": 0, "dropped": 0}


def test_collectors_are_killed_in_turn_under_load(stack: Stack) -> None:
    with Load(stack.port) as load:
        load.wait_for(8)
        for collector in ("collector-1", "collector-2"):
            stack.compose.kill(collector)
            load.wait_for(12)
            stack.compose.start(collector)
            stack.compose.wait_until_healthy()
        load.wait_for(4)
    assert_all_there(stack, load)


def test_both_collectors_are_killed_at_once(stack: Stack) -> None:
    with Load(stack.port) as load:
        load.wait_for(4)
        for collector in ("collector-1", "collector-2"):
            stack.compose.kill(collector)
        load.wait_for(12)
        for collector in ("collector-1", "collector-2"):
            stack.compose.start(collector)
    assert_all_there(stack, load)


def test_redis_is_cut_off(stack: Stack) -> None:
    redis = stack.compose.container("redis")
    with Load(stack.port) as load:
        load.wait_for(4)
        stack.compose.docker("network", "disconnect", stack.compose.network, redis)
        load.wait_for(12)
        stack.compose.docker("network", "connect", "--alias", "redis", stack.compose.network, redis)
    assert_all_there(stack, load)


def test_redis_is_killed(stack: Stack) -> None:
    before = converse(stack.port, CHAT, "Say hello.")
    stack.collector.wait_for({before.trace_id})
    stack.compose.kill("redis")
    with Load(stack.port) as load:
        load.wait_for(8)
        stack.compose.start("redis")
    assert_all_there(stack, load)
    # What was acknowledged before is there, too.
    stack.collector.wait_for({before.trace_id})


def test_the_disk_of_redis_is_full(stack: Stack) -> None:
    redis = stack.compose.container("redis")
    # Until nothing fits any more; the command fails then, as it must.
    fill = "dd if=/dev/zero of=/data/filler bs=65536; dd if=/dev/zero of=/data/filler2 bs=1"
    stack.compose.docker("exec", redis, "timeout", "20", "sh", "-c", fill, check=False)
    with Load(stack.port) as load:
        load.wait_for(12)
        # Streams go on; it is the collectors that are ill, and say so.
        deadline = time.monotonic() + 20
        while "MISCONF" not in stack.compose.logs("collector-1") + stack.compose.logs("collector-2"):
            assert time.monotonic() < deadline, "Redis never refused a write"
            time.sleep(0.3)
        stack.compose.docker("exec", redis, "rm", "/data/filler", "/data/filler2")
    assert_all_there(stack, load)


def test_the_judge_hangs(stack: Stack) -> None:
    judge = stack.compose.container("judge")
    stack.compose.docker("pause", judge)
    try:
        started = time.monotonic()
        seen = converse(stack.port, CHAT, HELD_BACK_CALL)
        waited = time.monotonic() - started
    finally:
        stack.compose.docker("unpause", judge)
    # `on_error` is `block`, and the judge's timeout 5 s.
    assert seen.calls == [] and seen.finish == "stop" and seen.text
    assert 4.5 < waited < 15
    decision = stack.collector.wait_for({seen.trace_id})[seen.trace_id]
    assert decision["effective_decision"] == "refuse"
    assert [call.name for call in converse(stack.port, CHAT, HELD_BACK_CALL).calls] == ["get_weather"]


def test_envoy_is_killed_in_mid_stream(stack: Stack) -> None:
    before = converse(stack.port, CHAT, "Say hello.")
    stack.collector.wait_for({before.trace_id})
    judge = stack.compose.container("judge")
    stack.compose.docker("pause", judge)
    pieces: list[object] = []
    got_text = threading.Event()
    conversation = Conversation(CHAT, HELD_BACK_CALL)

    def client() -> None:
        # Whether a broken connection is an error or an end is the client library's affair.
        with suppress(OSError, http.client.HTTPException):
            for _, piece in conversation.pieces(stack.port):
                pieces.append(piece)
                got_text.set()

    thread = threading.Thread(target=client)
    thread.start()
    try:
        assert got_text.wait(10)
        stack.compose.kill("envoy")
        thread.join(10)
    finally:
        stack.compose.docker("unpause", judge)
    # The client has text, the end of its connection, and nothing of the call that no judge had seen.
    assert all(isinstance(piece, Text) for piece in pieces)
    assert conversation.calls == [] and conversation.finish is None
    stack.compose.start("envoy")
    stack.compose.wait_until_healthy()
    stack.collector.wait_until_reachable()
    after = converse(stack.port, CHAT, HELD_BACK_CALL)
    assert [call.name for call in after.calls] == ["get_weather"]
    stack.collector.wait_for({before.trace_id, after.trace_id})
