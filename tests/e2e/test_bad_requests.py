"""What a bad request gets: an error in the dialect of its path, nothing at the provider, and an event."""

from __future__ import annotations

import json
import socket

import pytest
from conftest import MakeGateway
from harness.gateway import Gateway
from harness.judge import Judge
from harness.provider import Provider
from support.documents import tool_call_judge, with_limits
from support.exchange import CHAT, NAMES, PATHS, Answer, ask, question
from support.legality import read_legal
from support.sink import Sink

each_path = pytest.mark.parametrize("path", PATHS, ids=NAMES.get)


def assert_refused(answer: Answer, path: str, provider: Provider, sink: Sink, status: int) -> None:
    """The request got `status` and never reached the provider; one event tells of it."""
    assert answer.status == status, answer.body
    answer.error_message(path)
    assert not provider.requests
    assert sink.decision(answer.trace_id)["effective_decision"] != "allow"


def assert_next_request_works(gateway: Gateway, path: str) -> None:
    assert read_legal(path, ask(gateway.url, path).body).text


@each_path
@pytest.mark.parametrize(
    "body",
    [b"hello", b"", b'{"model": "mock", "messages": [', b"[]", b"null", b"\xff\xfe\x00"],
    ids=["text", "empty", "cut", "array", "null", "not-utf8"],
)
def test_body_that_is_no_request(judged: Gateway, provider: Provider, sink: Sink, path: str, body: bytes) -> None:
    answer = ask(judged.url, path, body)
    assert_refused(answer, path, provider, sink, 400)
    assert_next_request_works(judged, path)


@each_path
@pytest.mark.parametrize(
    "body",
    [b'{"messages": 7}', b'{"model":"mock","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"],
    ids=["wrong-type", "very-deep"],
)
def test_document_that_the_provider_refuses(judged: Gateway, path: str, body: bytes) -> None:
    """Whether the filter refuses it or leaves that to the provider: the client gets an error of its dialect."""
    answer = ask(judged.url, path, body)
    assert answer.status == 400
    answer.error_message(path)
    assert_next_request_works(judged, path)


@each_path
def test_body_over_the_limit_of_the_policy(gateway: MakeGateway, provider: Provider, sink: Sink, path: str) -> None:
    small = gateway(with_limits(tool_call_judge(), max_request_bytes=65_536))
    answer = ask(small.url, path, question(path, "x" * 100_000))
    assert_refused(answer, path, provider, sink, 413)
    assert_next_request_works(small, path)


@each_path
def test_large_body_within_the_limit_passes_unchanged(judged: Gateway, provider: Provider, path: str) -> None:
    body = json.dumps(question(path, "y" * 4_000_000)).encode()
    assert ask(judged.url, path, body).status == 200
    assert provider.requests[0].body == body


@each_path
def test_body_over_the_limit_of_envoy(judged: Gateway, provider: Provider, path: str) -> None:
    answer = ask(judged.url, path, question(path, "z" * 20_000_000))
    assert answer.status in (0, 413), "Envoy or the filter refuses it; the client may see its own write fail"
    assert not provider.requests or provider.requests[0].replied is None
    assert_next_request_works(judged, path)


@each_path
@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip", "x-unheard-of"])
def test_body_that_is_not_what_its_encoding_says(
    judged: Gateway, provider: Provider, sink: Sink, path: str, encoding: str
) -> None:
    answer = ask(judged.url, path, b"\x1b\x03\x00\xf8", headers={"content-encoding": encoding})
    assert answer.status in (400, 415)
    answer.error_message(path)
    assert not provider.requests
    assert sink.decision(answer.trace_id)["effective_decision"] != "allow"
    assert_next_request_works(judged, path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/Chat/Completions",
        "/V1/chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/%63ompletions",
        "/v1//chat/completions",
        "/v1/x/../chat/completions",
        "/v1/chat/completions?api-version=1",
    ],
)
def test_path_that_is_written_otherwise_is_governed_or_refused(
    judged: Gateway, provider: Provider, judge: Judge, path: str
) -> None:
    answer = ask(judged.url, path, question(CHAT, "Delete it."))
    if answer.status == 200:
        assert read_legal(CHAT, answer.body).names == []
        assert len(judge.requests) == 1
    else:
        # Refused by the filter or by Envoy, or unknown to the provider, who then answered itself.
        assert answer.status in (400, 403, 404)
    assert b"rm -rf" not in answer.body


@each_path
def test_header_value_that_is_not_utf8(judged: Gateway, path: str) -> None:
    body = json.dumps(question(path, "Do both.")).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n"
        f"x-name: M\xfcller\r\nuser-agent: \xff\xfe\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode("latin-1")
    with socket.create_connection(("127.0.0.1", judged.port), timeout=30) as client:
        client.sendall(head + body)
        received = b"".join(iter(lambda: client.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 200")
    assert b"rm -rf" not in received and b"get_weather" in received
    assert_next_request_works(judged, path)


@each_path
def test_client_that_leaves_in_the_middle_of_its_request(judged: Gateway, provider: Provider, path: str) -> None:
    with socket.create_connection(("127.0.0.1", judged.port), timeout=30) as client:
        client.sendall(f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{{".encode())
    assert_next_request_works(judged, path)
    assert len(provider.requests) == 1, "only the next request reached the provider"


@each_path
def test_duplicate_keys_do_not_hide_a_stream(judged: Gateway, path: str) -> None:
    """Whichever of two equal keys the provider reads, the call is judged."""
    body = json.dumps(question(path, "Delete it.")).encode()
    twice = body[:-1] + b', "stream": false}'
    answer = ask(judged.url, path, twice)
    assert b"rm -rf" not in answer.body


@each_path
def test_provider_sees_no_compression_offer(judged: Gateway, provider: Provider, path: str) -> None:
    ask(judged.url, path, headers={"accept-encoding": "gzip, br"})
    assert provider.requests[0].headers.get("accept-encoding") == "identity"


@each_path
def test_provider_gets_the_request_byte_for_byte(judged: Gateway, provider: Provider, path: str) -> None:
    body = json.dumps(question(path, "naïve 👋", unknown={"x": 1, "y": [1.10, None]}), indent=3).encode()
    ask(judged.url, path, body, headers={"authorization": "Bearer of-the-user", "x-own": "kept"})
    request = provider.requests[0]
    assert request.body == body
    assert (request.headers["authorization"], request.headers["x-own"]) == ("Bearer of-the-user", "kept")
