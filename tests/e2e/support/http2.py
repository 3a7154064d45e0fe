"""The mock provider, and a client, over cleartext HTTP/2 with prior knowledge."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from harness.http_server import Headers, PeerClosed, Reply, Request
from harness.provider import Provider

from support.exchange import new_trace_id, trace_headers


class Http2Provider(Provider):
    """Answers as the provider does."""

    connections = 0
    """How many there were."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(ConnectionError, ProtocolError, asyncio.CancelledError):
            await _Connection(self, reader, writer).run()
        writer.close()

    def receive(self, reply: Reply) -> asyncio.Task[None]:
        """Answers a request that has come whole."""
        self.requests.append(reply.request)
        return asyncio.ensure_future(self._answer_until_closed(reply))

    async def _answer_until_closed(self, reply: Reply) -> None:
        try:
            await self._handler(reply)
        except (PeerClosed, ProtocolError):
            reply.request.closed_by_peer = time.monotonic()


class _Connection:
    def __init__(self, provider: Http2Provider, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.writer = writer
        self.window_opened = asyncio.Event()
        self._provider = provider
        self._reader = reader
        self._streams: dict[int, _Stream] = {}

    async def run(self) -> None:
        self.h2.initiate_connection()
        await self.flush()
        while data := await self._reader.read(65_536):
            for event in self.h2.receive_data(data):
                self._take(event)
            await self.flush()
        for stream in self._streams.values():
            stream.reply.peer_left.set()

    async def flush(self) -> None:
        if data := self.h2.data_to_send():
            self.writer.write(data)
            await self.writer.drain()

    def _take(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            headers = dict(event.headers)
            request = Request(headers[":method"], headers[":path"], headers)
            self._streams[event.stream_id] = _Stream(Http2Reply(request, self, event.stream_id))
        elif isinstance(event, DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self._streams[event.stream_id].reply.request.body += event.data
        elif isinstance(event, StreamEnded):
            stream = self._streams[event.stream_id]
            stream.task = self._provider.receive(stream.reply)
        elif isinstance(event, StreamReset):
            self._streams[event.stream_id].reply.peer_left.set()
        elif isinstance(event, WindowUpdated):
            self.window_opened.set()


class _Stream:
    def __init__(self, reply: Http2Reply) -> None:
        self.reply = reply
        self.task: asyncio.Task[None] | None = None


class Http2Reply(Reply):
    """The answer to one request; its bytes are frames."""

    def __init__(self, request: Request, connection: _Connection, stream: int) -> None:
        self.request = request
        self.started = False
        self.keep_alive = True
        self.peer_left = asyncio.Event()
        self._connection = connection
        self._stream = stream

    async def start(self, status: int = 200, headers: Headers = (), *, framing: str = "chunked") -> None:
        del framing
        self.started = True
        self._connection.h2.send_headers(self._stream, [(":status", str(status)), *headers])
        await self._connection.flush()

    async def write(self, data: bytes) -> None:
        h2 = self._connection.h2
        while data:
            if self.peer_left.is_set():
                raise PeerClosed
            room = min(h2.local_flow_control_window(self._stream), h2.max_outbound_frame_size)
            if room:
                h2.send_data(self._stream, data[:room])
                data = data[room:]
                await self._connection.flush()
            else:
                self._connection.window_opened.clear()
                await self._connection.window_opened.wait()

    async def pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.peer_left.wait(), seconds)
            raise PeerClosed

    async def end(self, trailers: Headers = ()) -> None:
        if trailers := list(trailers):
            self._connection.h2.send_headers(self._stream, trailers, end_stream=True)
        else:
            self._connection.h2.end_stream(self._stream)
        await self._connection.flush()
        self.request.replied = time.monotonic()


@dataclass
class StreamAnswer:
    """What came back on one stream of a client's connection."""

    trace_id: str = field(default_factory=new_trace_id)
    status: int = 0
    body: bytes = b""
    padding: int = 0
    """Bytes of frames beside what they say."""
    last_data: float = 0.0
    ended: float | None = None
    """When it ended in an orderly way: on the clock of `time.monotonic`."""
    resets: list[int] = field(default_factory=list)
    """Codes of resets, also of those behind the end."""


class Http2Client:
    """One connection, whose streams run side by side."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=30)
        self._authority = f"{host}:{port}"
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._streams: dict[int, StreamAnswer] = {}
        self._h2.initiate_connection()
        self._flush()

    def __enter__(self) -> Http2Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, *questions: tuple[str, Any], script: str = "", linger: float = 0.1) -> list[StreamAnswer]:
        """Asks all at once, reads until all streams are over, and for `linger` seconds behind that."""
        asked = [self._send(path, json.dumps(body).encode(), script) for path, body in questions]
        while any(answer.ended is None and not answer.resets for answer in asked):
            self._read(30)
        until = time.monotonic() + linger
        while (left := until - time.monotonic()) > 0:
            with suppress(TimeoutError):
                self._read(left)
        return asked

    def _send(self, path: str, body: bytes, script: str) -> StreamAnswer:
        stream, answer = self._h2.get_next_available_stream_id(), StreamAnswer()
        self._streams[stream] = answer
        fields = {
            ":method": "POST",
            ":path": path,
            ":scheme": "http",
            ":authority": self._authority,
            "content-type": "application/json",
            "content-length": str(len(body)),
            **trace_headers(answer.trace_id),
            **({"x-mock-script": script} if script else {}),
        }
        self._h2.send_headers(stream, list(fields.items()))
        self._h2.send_data(stream, body, end_stream=True)
        self._flush()
        return answer

    def _read(self, seconds: float) -> None:
        self._socket.settimeout(seconds)
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionError("the connection ended")
        now = time.monotonic()
        for event in self._h2.receive_data(data):
            self._take(event, now)
        self._flush()

    def _take(self, event: Event, now: float) -> None:
        assert not isinstance(event, ConnectionTerminated), event
        answer = self._streams.get(getattr(event, "stream_id", 0))
        if answer is None:
            return
        if isinstance(event, ResponseReceived):
            answer.status = int(dict(event.headers)[":status"])
        elif isinstance(event, DataReceived):
            answer.body += event.data
            answer.last_data = now
            answer.padding += event.flow_controlled_length - len(event.data)
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            answer.ended = now
        elif isinstance(event, StreamReset):
            answer.resets.append(int(event.error_code))

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._socket.sendall(data)
