"""Weir beside filters that hold: another Weir, Envoy's buffer, a script. Nothing leaves before all have decided."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import MakeGateway
from support.documents import Document, reading, tool_call_judge
from support.exchange import CHAT, question

REPLY = b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[]}'


class Tap:
    """A provider that keeps every byte as it arrives, and answers once the request is whole."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.bytes = b""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            own = b""
            while chunk := connection.recv(65536):
                own += chunk
                self.bytes += chunk
                if b"the last word" in own and own.endswith((b"}", b"0\r\n\r\n")):
                    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                    connection.sendall(head % len(REPLY) + REPLY)
                    own = b""

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(scope="module")
def the_tap() -> Iterator[Tap]:
    tap = Tap()
    yield tap
    tap.close()


@pytest.fixture
def tap(the_tap: Tap) -> Tap:
    the_tap.bytes = b""
    return the_tap


def holding(policy: Document, hold: str) -> Document:
    return {**policy, "envoy": {"request_hold": hold}}


BUFFER: dict[str, Any] = {
    "name": "envoy.filters.http.buffer",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
        "max_request_bytes": 1048576,
    },
}

# Sends the head on and holds the body, as an external processor does that asks for whole bodies.
SCRIPT: dict[str, Any] = {
    "name": "envoy.filters.http.lua",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "default_source_code": {
            "inline_string": "function envoy_on_request(handle) local body = handle:body(); body:length() end"
        },
    },
}


def send_slowly(port: int, tap: Tap) -> bytes:
    """Sends all but the last byte of a request, waits, and sends that; what the client then reads.

    By then, not a byte of the body may have left.
    """
    body = json.dumps(question(CHAT, f"my secret, {'x' * 300}, and the last word", stream=False)).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        head = f"POST {CHAT} HTTP/1.1\r\nhost: llm\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        client.sendall(head.encode() + b"connection: close\r\nx-api-key: key\r\n\r\n")
        for half in (body[:200], body[200:-1]):
            client.sendall(half)
            time.sleep(0.7)
        assert b"secret" not in tap.bytes and b'"model"' not in tap.bytes, tap.bytes
        client.sendall(body[-1:])
        read = b""
        while chunk := client.recv(65536):
            read += chunk
        return read


@pytest.mark.parametrize("first", ["headers", "body"])
@pytest.mark.parametrize("second", ["headers", "body"])
def test_two_weirs_in_one_chain_let_nothing_go_before_the_request_is_whole(
    gateway: MakeGateway, clusters: dict[str, int], tap: Tap, first: str, second: str
) -> None:
    envoy = gateway(
        holding(tool_call_judge(), second),
        policy_before=holding(reading(), first),
        clusters={**clusters, "provider": tap.port},
    )
    for _ in range(2):
        tap.bytes = b""
        assert b" 200 OK" in send_slowly(envoy.port, tap)
        assert b"my secret" in tap.bytes


@pytest.mark.parametrize("before", [BUFFER, SCRIPT], ids=["buffer", "script"])
@pytest.mark.parametrize("hold", ["headers", "body"])
def test_a_filter_before_weir_that_holds_bodies_makes_it_conclude_nothing(
    gateway: MakeGateway, clusters: dict[str, int], tap: Tap, before: dict[str, Any], hold: str
) -> None:
    envoy = gateway(holding(reading(), hold), filters_before=(before,), clusters={**clusters, "provider": tap.port})
    for _ in range(2):
        tap.bytes = b""
        assert b" 200 OK" in send_slowly(envoy.port, tap)
        assert b"my secret" in tap.bytes
