"""Compressed bodies in both directions."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from conftest import MakeGateway
from harness.gateway import Gateway
from harness.http_server import Reply
from harness.judge import Judge
from harness.provider import Provider
from support import scripts
from support.documents import Document, no_op, reading, with_limits
from support.exchange import NAMES, PATHS, RESPONSES, ask, question
from support.legality import read_legal
from support.sink import Sink

each_path = pytest.mark.parametrize("path", PATHS, ids=NAMES.get)

READABLE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor(level=9, write_checksum=True).compress,
}
each_readable = pytest.mark.parametrize("encoding", READABLE)


def transforming(hold: str) -> Document:
    """What users say is written in capitals."""
    transform = {"case": "upper", "scope": [], "request": ["user"]}
    return {**no_op(), "chain": [{"use": "content_transform", "with": transform}], "envoy": {"request_hold": hold}}


@each_path
@each_readable
def test_encoded_request_is_judged_and_leaves_as_it_came(
    judged: Gateway, provider: Provider, judge: Judge, script: scripts.Register, path: str, encoding: str
) -> None:
    body = READABLE[encoding](json.dumps(question(path, "Do both. " + "I mean it. " * 5000)).encode())
    name = script(scripts.streams(scripts.recorded(path, "Do both.")))
    answer = ask(judged.url, path, body, headers={"content-encoding": encoding}, script=name)
    assert read_legal(path, answer.body).names == ["get_weather"]
    assert len(judge.requests) == 2
    assert provider.requests[0].body == body
    assert provider.requests[0].headers["content-encoding"] == encoding


@each_path
@each_readable
@pytest.mark.parametrize("hold", ["headers", "body"])
def test_encoded_request_that_is_rewritten_leaves_decoded(
    gateway: MakeGateway, provider: Provider, path: str, encoding: str, hold: str
) -> None:
    text = "say hello. " * 10_000 + random.Random(1).randbytes(500_000).hex()
    body = READABLE[encoding](json.dumps(question(path, text)).encode())
    rewriting = gateway(transforming(hold), hold_request_head=hold == "headers")
    answer = ask(rewriting.url, path, body, headers={"content-encoding": encoding})
    assert answer.status == 200
    request = provider.requests[0]
    assert "content-encoding" not in request.headers
    assert request.json()["input" if path == RESPONSES else "messages"][0]["content"] == text.upper()


@each_readable
def test_broken_and_endless_encodings(gateway: MakeGateway, provider: Provider, sink: Sink, encoding: str) -> None:
    path = PATHS[0]
    small = gateway(with_limits(reading(), max_request_bytes=100_000))
    encode = READABLE[encoding]
    whole = encode(json.dumps(question(path)).encode())
    bomb = encode(b" " * 20_000_000)
    assert len(bomb) < 50_000
    for body, status in [(whole[:-1], 400), (whole + b"more", 400), (whole + whole, 400), (b"plain", 400), (bomb, 413)]:
        answer = ask(small.url, path, body, headers={"content-encoding": encoding})
        assert answer.status == status, answer.body
        answer.error_message(path)
        assert sink.decision(answer.trace_id)["decision"] == "refuse"
    assert not provider.requests


@each_path
def test_unreadable_encoding_is_refused_with_those_that_are_readable(
    judged: Gateway, provider: Provider, path: str
) -> None:
    body = brotli.compress(json.dumps(question(path)).encode())
    answer = ask(judged.url, path, body, headers={"content-encoding": "br"})
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "gzip, deflate, zstd")
    answer.error_message(path)
    assert not provider.requests


@each_path
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_encoded_stream_is_judged_and_leaves_decoded(
    judged: Gateway, script: scripts.Register, path: str, encoding: str
) -> None:
    compressor = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    pieces = []
    for event in scripts.recorded(path, "Do both."):
        pieces.append(compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH))
    pieces.append(compressor.flush())
    handler = scripts.streams(pieces, 0.01, [("content-encoding", encoding)])
    answer = ask(judged.url, path, script=script(handler))
    assert answer.complete and "content-encoding" not in answer.headers
    assert read_legal(path, answer.body).names == ["get_weather"]
    assert len(answer.chunks) > 3, "what is decoded leaves at once"


@each_path
@each_readable
def test_encoded_whole_answer_is_judged(judged: Gateway, script: scripts.Register, path: str, encoding: str) -> None:
    plain = ask(judged.url, path, question(path, "Say hello.", stream=False)).body

    async def handler(reply: Reply) -> None:
        headers = [("content-type", "application/json"), ("content-encoding", encoding)]
        await reply.send(200, READABLE[encoding](plain), headers)

    answer = ask(judged.url, path, question(path, "Say hello.", stream=False), script=script(handler))
    assert (answer.status, answer.body) == (200, plain)


@each_path
@pytest.mark.parametrize("encoding", ["br", "zstd"])
def test_stream_in_an_unreadable_encoding_is_withheld(
    judged: Gateway, script: scripts.Register, sink: Sink, path: str, encoding: str
) -> None:
    body = b"".join(scripts.recorded(path, "Delete it."))
    encoded = brotli.compress(body) if encoding == "br" else READABLE["zstd"](body)
    headers = [scripts.EVENT_STREAM, ("content-encoding", encoding)]
    answer = ask(judged.url, path, script=script(scripts.replies(200, encoded, headers)))
    assert answer.status == 502
    answer.error_message(path)
    assert sink.decision(answer.trace_id)["reason_code"] == "RESPONSE_ENCODING"
