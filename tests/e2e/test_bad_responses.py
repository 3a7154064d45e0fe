"""What a bad response gets: nothing unjudged leaves, what is not a stream keeps its status, and the worker lives."""

from __future__ import annotations

import gzip
import json

import pytest
from conftest import MakeGateway
from harness.answers import ToolCall
from harness.gateway import Gateway
from harness.provider import Provider
from support import scripts
from support.documents import tool_call_judge, with_limits
from support.exchange import CHAT, MESSAGES, NAMES, PATHS, ask, question
from support.legality import read_legal
from support.sink import Sink

each_path = pytest.mark.parametrize("path", PATHS, ids=NAMES.get)

JSON_TYPE = ("content-type", "application/json")


@pytest.fixture(autouse=True)
def next_request_works(judged: Gateway) -> None:
    """After each test: Envoy still answers. (That it lives and logged nothing is checked by `gateway`.)"""
    yield
    for path in PATHS:
        assert read_legal(path, ask(judged.url, path).body).text


@each_path
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 503, 529])
def test_upstream_error_keeps_status_headers_and_body(
    judged: Gateway, script: scripts.Register, sink: Sink, path: str, status: int, stream: bool
) -> None:
    body = json.dumps({"error": {"message": "slow down", "type": "rate_limit", "unknown": 1.10}}).encode()
    headers = [JSON_TYPE, ("retry-after", "7"), ("x-ratelimit-remaining-requests", "0"), ("request-id", "req_1")]
    answer = ask(judged.url, path, question(path, stream=stream), script=script(scripts.replies(status, body, headers)))
    assert (answer.status, answer.body) == (status, body)
    for name, value in headers:
        assert answer.headers[name] == value
    assert sink.decision(answer.trace_id)["status"] == status


@each_path
def test_upstream_error_that_is_not_json_is_kept(judged: Gateway, script: scripts.Register, path: str) -> None:
    body = b"<html>Bad gateway</html>"
    answer = ask(judged.url, path, script=script(scripts.replies(502, body, [("content-type", "text/html")])))
    assert (answer.status, answer.body, answer.headers["content-type"]) == (502, body, "text/html")


@each_path
def test_upstream_that_refuses_the_connection(gateway: MakeGateway, clusters: dict[str, int], path: str) -> None:
    without_provider = gateway(tool_call_judge(), clusters={**clusters, "provider": clusters["refused"]})
    answer = ask(without_provider.url, path)
    assert answer.status == 503


@each_path
def test_whole_json_though_a_stream_was_asked_for(judged: Gateway, script: scripts.Register, path: str) -> None:
    dialect = scripts.DIALECTS[path]
    whole = dialect.whole(question(path), scripts.answer_to("Do both."))
    handler = scripts.replies(200, json.dumps(whole).encode(), [JSON_TYPE])
    answer = ask(judged.url, path, script=script(handler))
    assert b"rm -rf" not in answer.body
    if answer.status == 200:
        assert "get_weather" in json.dumps(answer.json())
    else:
        answer.error_message(path)


@each_path
@pytest.mark.parametrize("kind", ["text/html", "application/octet-stream", None])
def test_body_of_another_type_never_carries_a_call_past_the_judge(
    judged: Gateway, script: scripts.Register, path: str, kind: str | None
) -> None:
    body = b"".join(scripts.recorded(path, "Be silent."))
    headers = [("content-type", kind)] if kind else []
    answer = ask(judged.url, path, script=script(scripts.replies(200, body, headers)))
    assert b"run_shell" not in answer.body or b"blocked" in answer.body.lower()
    assert b"rm -rf" not in answer.body


@each_path
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "cut"])
def test_stream_that_breaks_off_in_the_text(
    judged: Gateway, script: scripts.Register, sink: Sink, path: str, reset: bool
) -> None:
    pieces = scripts.recorded(path, "Say hello.")[:6]
    answer = ask(judged.url, path, script=script(scripts.cuts(pieces, reset=reset)))
    assert not answer.complete, "a cut stream must not look complete"
    assert b"[DONE]" not in answer.body and b"message_stop" not in answer.body
    assert sink.decision(answer.trace_id)


@each_path
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "cut"])
def test_call_that_breaks_off_never_leaves(
    judged: Gateway, script: scripts.Register, sink: Sink, path: str, reset: bool
) -> None:
    events = scripts.recorded(path, "Be silent.")
    pieces = events[: next(i for i, event in enumerate(events) if b"rm" in event) + 1]
    answer = ask(judged.url, path, script=script(scripts.cuts(pieces, reset=reset)))
    assert b"rm" not in answer.body
    assert sink.decision(answer.trace_id)


@each_path
def test_stream_that_ends_in_the_middle_of_a_call(
    judged: Gateway, script: scripts.Register, sink: Sink, path: str
) -> None:
    """The HTTP body ends properly, the dialect's stream does not: arguments that are not JSON are not released."""
    events = scripts.recorded(path, "What is the weather?")
    pieces = events[: next(i for i, event in enumerate(events) if b"cit" in event) + 1]
    answer = ask(judged.url, path, script=script(scripts.streams(pieces)))
    assert b"cit" not in answer.body
    assert sink.decision(answer.trace_id)["effective_decision"] != "allow"


@each_path
def test_stream_whose_last_event_has_no_blank_line(judged: Gateway, script: scripts.Register, path: str) -> None:
    body = b"".join(scripts.recorded(path, "Do both.")).rstrip(b"\n")
    answer = ask(judged.url, path, script=script(scripts.streams([body])))
    assert read_legal(path, answer.body).names == ["get_weather"]


@each_path
def test_stream_that_ends_behind_the_verdicts(judged: Gateway, script: scripts.Register, path: str) -> None:
    """All has come, both verdicts too, and only then the end, without a byte: what the second let go leaves with it."""
    body = b"".join(scripts.recorded(path, "Do both."))
    for pause in (0.01, 0.05, 0.3):
        answer = ask(judged.url, path, script=script(scripts.streams([body], pause)))
        assert read_legal(path, answer.body).names == ["get_weather"]


@each_path
def test_stream_that_ends_with_its_connection(judged: Gateway, script: scripts.Register, path: str) -> None:
    pieces = scripts.recorded(path, "Do both.")
    answer = ask(judged.url, path, script=script(scripts.ends_without_length(pieces)))
    assert read_legal(path, answer.body).names == ["get_weather"]


@each_path
@pytest.mark.parametrize("ending", [b"\r\n", b"\r"], ids=["crlf", "cr"])
def test_stream_with_other_line_ends(judged: Gateway, script: scripts.Register, path: str, ending: bytes) -> None:
    body = b"".join(scripts.recorded(path, "Do both.")).replace(b"\n", ending)
    answer = ask(judged.url, path, script=script(scripts.streams(scripts.randomly_cut(body, 1))))
    assert read_legal(path, answer.body).names == ["get_weather"]


@each_path
def test_stream_with_a_content_length(judged: Gateway, script: scripts.Register, path: str) -> None:
    """The refusal is longer than the call: the upstream's content-length must not cut it."""
    body = b"".join(scripts.recorded(path, "Be silent."))
    answer = ask(judged.url, path, script=script(scripts.replies(200, body, [scripts.EVENT_STREAM])))
    assert answer.complete
    seen = read_legal(path, answer.body)
    assert seen.names == [] and "run_shell" in seen.text


@each_path
def test_event_with_broken_json(judged: Gateway, script: scripts.Register, sink: Sink, path: str) -> None:
    pieces = [*scripts.recorded(path, "Say hello.")[:4], b'data: {"choices": [{"delta": rm -rf /\n\n']
    answer = ask(judged.url, path, script=script(scripts.streams(pieces)))
    assert b"rm -rf" not in answer.body
    assert sink.decision(answer.trace_id)["effective_decision"] != "allow"


@each_path
def test_compressed_response_is_never_passed_unread(judged: Gateway, script: scripts.Register, path: str) -> None:
    body = gzip.compress(b"".join(scripts.recorded(path, "Be silent.")))
    headers = [scripts.EVENT_STREAM, ("content-encoding", "gzip")]
    answer = ask(judged.url, path, script=script(scripts.replies(200, body, headers)))
    plain = gzip.decompress(answer.body) if answer.body.startswith(b"\x1f\x8b") else answer.body
    assert b"rm -rf" not in plain


@each_path
def test_event_of_100_megabytes(
    judged: Gateway, script: scripts.Register, provider: Provider, sink: Sink, path: str
) -> None:
    event = scripts.recorded(path, "Say hello.")
    prefix = b"".join(event[:4]) + b'data: {"unheard_of": "'
    handler = scripts.one_long_event(prefix, b"x" * 65_536, 100_000_000, b'"}\n\n')
    answer = ask(judged.url, path, script=script(handler))
    assert len(answer.body) < 20_000_000
    assert sink.decision(answer.trace_id)["effective_decision"] != "allow"
    assert provider.requests[0].notes["sent"] > 1_000_000


@each_path
def test_call_larger_than_what_may_be_held(
    gateway: MakeGateway, script: scripts.Register, sink: Sink, path: str
) -> None:
    small = gateway(with_limits(tool_call_judge(), max_held_bytes=65_536))
    call = ToolCall("write_file", {"content": "x" * 200_000})
    pieces = scripts.recorded(path, scripts.Answer("Writing.", (call,)))
    answer = ask(small.url, path, script=script(scripts.streams(pieces)))
    assert b"xxxxx" not in answer.body
    assert sink.decision(answer.trace_id)["effective_decision"] != "allow"


@each_path
def test_whole_body_that_is_not_json(judged: Gateway, script: scripts.Register, sink: Sink, path: str) -> None:
    handler = scripts.replies(200, b'{"choices": rm -rf /', [JSON_TYPE])
    answer = ask(judged.url, path, question(path, stream=False), script=script(handler))
    assert b"rm -rf" not in answer.body
    assert answer.status >= 500
    answer.error_message(path)
    assert sink.decision(answer.trace_id)["effective_decision"] != "allow"


@each_path
def test_empty_response(judged: Gateway, script: scripts.Register, path: str) -> None:
    answer = ask(judged.url, path, script=script(scripts.replies(200, b"", [scripts.EVENT_STREAM])))
    assert answer.status in (200, 502)


def test_arguments_hidden_behind_escapes_are_judged_as_the_client_reads_them(
    judged: Gateway, script: scripts.Register
) -> None:
    hidden = "".join(f"\\u{ord(letter):04x}" for letter in "rm -rf /")
    events = scripts.recorded(CHAT, scripts.Answer("", (ToolCall("run_shell", {"command": "¤"}),)))
    body = b"".join(events).replace("¤".encode(), hidden.encode().replace(b"\\", b"\\\\"))
    answer = ask(judged.url, CHAT, script=script(scripts.streams([body])))
    assert read_legal(CHAT, answer.body).names == []


def test_input_that_comes_whole_with_the_start_of_the_block_is_judged(
    judged: Gateway, script: scripts.Register
) -> None:
    events = scripts.recorded(MESSAGES, "Be silent.")
    start = next(event for event in events if b"content_block_start" in event)
    whole = start.replace(b'"input":{}', b'"input":{"command":"rm -rf /"}')
    pieces = [whole if event is start else event for event in events if b"input_json_delta" not in event]
    answer = ask(judged.url, MESSAGES, script=script(scripts.streams(pieces)))
    assert b"rm -rf" not in answer.body
    assert read_legal(MESSAGES, answer.body).names == []
