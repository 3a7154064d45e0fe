"""A small HTTP/1.1 server whose handlers control every byte and every pause.

Library servers hide exactly what the tests need: where a chunk ends, when a connection is reset, whether the
peer has gone. So the mocks write the wire format themselves.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

Headers = Iterable[tuple[str, str]]
T = TypeVar("T")

MAX_HEAD_BYTES = 1 << 20


class PeerClosed(Exception):
    """The peer closed the connection before the reply was complete."""


@dataclass
class Request:
    """One request as it arrived, and what became of its reply."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    arrived: float = field(default_factory=time.monotonic)
    """When the head was complete: on the clock of `time.monotonic`."""
    closed_by_peer: float | None = None
    """When the peer was seen to leave before the reply was complete."""
    replied: float | None = None
    """When the reply was complete."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What the handler wants to tell a test, for example how many tokens it produced."""

    def json(self) -> Any:
        return json.loads(self.body)


class Reply:
    """The answer to one request, written step by step."""

    def __init__(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self._writer = writer
        self._chunked = False
        self.started = False
        self.keep_alive = True
        # Envoy does not pipeline, so a read that returns means that the peer has gone.
        self._peer_left = asyncio.ensure_future(reader.read(1))
        # Nobody may ask any more how a peer left that reset the connection; unasked, asyncio prints it.
        self._peer_left.add_done_callback(lambda left: left.cancelled() or left.exception())

    async def start(self, status: int = 200, headers: Headers = (), *, framing: str = "chunked") -> None:
        """Sends the head. `framing` is "chunked", "close" (the end of the connection ends the body) or "none"
        (`headers` has a content-length)."""
        lines = [f"HTTP/1.1 {status} {_phrase(status)}", *(f"{name}: {value}" for name, value in headers)]
        self._chunked = framing == "chunked"
        if self._chunked:
            lines.append("transfer-encoding: chunked")
        if framing == "close":
            lines.append("connection: close")
            self.keep_alive = False
        self.started = True
        await self.write_raw(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def write(self, data: bytes) -> None:
        """Sends `data` as one chunk (an empty one would end a chunked body, so it is left out)."""
        if not data:
            return
        await self.write_raw(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)

    async def write_raw(self, data: bytes) -> None:
        """Sends bytes as they are, below all framing."""
        if self._peer_left.done():
            raise PeerClosed
        self._writer.write(data)
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise PeerClosed from error

    async def pause(self, seconds: float) -> None:
        """Waits, unless the peer leaves first."""
        done, _ = await asyncio.wait([self._peer_left], timeout=seconds)
        if done:
            raise PeerClosed

    async def end(self, trailers: Headers = ()) -> None:
        """Ends the body properly."""
        if self._chunked:
            lines = "".join(f"{name}: {value}\r\n" for name, value in trailers)
            await self.write_raw(b"0\r\n" + lines.encode("latin-1") + b"\r\n")
        self.request.replied = time.monotonic()

    async def send(self, status: int, body: bytes, headers: Headers = ()) -> None:
        """Sends a whole reply with a content-length."""
        await self.start(status, [*headers, ("content-length", str(len(body)))], framing="none")
        await self.write(body)
        await self.end()

    async def send_json(self, status: int, value: Any, headers: Headers = ()) -> None:
        await self.send(status, json.dumps(value).encode(), [("content-type", "application/json"), *headers])

    def cut(self) -> None:
        """Closes the connection without ending the body."""
        self.keep_alive = False
        self._writer.close()

    def reset(self) -> None:
        """Resets the connection, as a crashing upstream does."""
        self.keep_alive = False
        peer: socket.socket = self._writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def finish(self) -> bool:
        """Stops watching the peer; says whether the connection can serve another request."""
        if self._peer_left.done():
            return False
        self._peer_left.cancel()
        await asyncio.wait([self._peer_left])
        return self.keep_alive


Handler = Callable[[Reply], Awaitable[None]]


class Server:
    """Serves `handler`, on the loopback interface unless `host` is another address, and remembers every request."""

    def __init__(self, handler: Handler, port: int = 0) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self.port = port
        self.host = "127.0.0.1"
        self.requests: list[Request] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=MAX_HEAD_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._serve_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # The peer left between two requests, or the server is being stopped.
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = _parse_head(await reader.readuntil(b"\r\n\r\n"))
        self.requests.append(request)
        request.body = await _read_body(request, reader)
        reply = Reply(request, reader, writer)
        try:
            await self._handler(reply)
        except PeerClosed:
            request.closed_by_peer = time.monotonic()
            reply.keep_alive = False
        return await reply.finish()


class Background:
    """An event loop in a thread, so that servers can run beside synchronous code."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mock servers", daemon=True)
        self._thread.start()

    def run(self, work: Awaitable[T]) -> T:
        """Runs a coroutine in the loop and waits for its result."""

        async def awaited() -> T:
            return await work

        future: Future[T] = asyncio.run_coroutine_threadsafe(awaited(), self._loop)
        return future.result(timeout=30)

    def close(self) -> None:
        """Ends every server and connection of the loop, and the loop."""
        self.run(_cancel_all_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()


async def _cancel_all_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _parse_head(head: bytes) -> Request:
    line, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, path, _ = line.split(" ", 2)
    headers = {}
    for each in fields:
        name, _, value = each.partition(":")
        headers[name.lower()] = value.strip()
    return Request(method, path, headers)


async def _read_body(request: Request, reader: asyncio.StreamReader) -> bytes:
    if "chunked" not in request.headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(request.headers.get("content-length", "0")))
    body = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    while (await reader.readline()).strip():
        pass  # trailers
    return bytes(body)
