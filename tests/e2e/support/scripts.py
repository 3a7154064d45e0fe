"""Scripts for the mock provider: what it sends, in which pieces, with which pauses, and how it ends."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence

from harness import anthropic_messages, openai_chat, openai_responses
from harness.answers import Answer, answer_to
from harness.http_server import Handler, Reply

from support.exchange import CHAT, MESSAGES, RESPONSES, question

DIALECTS = {CHAT: openai_chat, MESSAGES: anthropic_messages, RESPONSES: openai_responses}
Register = Callable[[Handler], str]
"""Makes a script known to the mock provider; returns its name."""
EVENT_STREAM = ("content-type", "text/event-stream")


def recorded(path: str, answer: str | Answer) -> list[bytes]:
    """The events of the mock's streamed answer, or of its answer to a prompt, for scripts that alter them."""
    answer = answer_to(answer) if isinstance(answer, str) else answer
    return list(DIALECTS[path].events(question(path), answer))


def streams(pieces: Sequence[bytes], pause: float = 0.0, headers: Sequence[tuple[str, str]] = ()) -> Handler:
    """Sends the pieces as they are cut, and ends properly."""

    async def script(reply: Reply) -> None:
        await reply.start(200, [EVENT_STREAM, *headers])
        for piece in pieces:
            await reply.write(piece)
            if pause:
                await reply.pause(pause)
        await reply.end()

    return script


def trails(pieces: Sequence[bytes]) -> Handler:
    """Sends the pieces and ends with trailers."""

    async def script(reply: Reply) -> None:
        await reply.start(200, [EVENT_STREAM, ("trailer", "x-checksum")])
        for piece in pieces:
            await reply.write(piece)
        await reply.end([("x-checksum", "none")])

    return script


def cuts(pieces: Sequence[bytes], *, reset: bool, wait_for: threading.Event | None = None) -> Handler:
    """Sends the pieces and then loses the connection, at once or when the test says so."""

    async def script(reply: Reply) -> None:
        await reply.start(200, [EVENT_STREAM])
        for piece in pieces:
            await reply.write(piece)
        # Without a pause the end overtakes the bytes.
        await reply.pause(0.05)
        while wait_for is not None and not wait_for.is_set():
            await reply.pause(0.01)
        if reset:
            reply.reset()
        else:
            reply.cut()

    return script


def ends_without_length(pieces: Sequence[bytes]) -> Handler:
    """Ends the body by ending the connection, as HTTP/1.0 did."""

    async def script(reply: Reply) -> None:
        await reply.start(200, [EVENT_STREAM], framing="close")
        for piece in pieces:
            await reply.write(piece)
        reply.cut()

    return script


def replies(status: int, body: bytes, headers: Sequence[tuple[str, str]]) -> Handler:
    """Sends one whole reply."""

    async def script(reply: Reply) -> None:
        await reply.send(status, body, headers)

    return script


def never_ends(opening: Sequence[bytes], event: bytes, pace: float = 0.01) -> Handler:
    """Repeats one event until the peer leaves; counts in the request's notes."""

    async def script(reply: Reply) -> None:
        await reply.start(200, [EVENT_STREAM])
        for piece in opening:
            await reply.write(piece)
        while True:
            await reply.write(event)
            reply.request.notes["repeated"] = reply.request.notes.get("repeated", 0) + 1
            await reply.pause(pace)

    return script


def one_long_event(prefix: bytes, filler: bytes, size: int, suffix: bytes) -> Handler:
    """An event of `size` bytes."""

    async def script(reply: Reply) -> None:
        await reply.start(200, [EVENT_STREAM])
        await reply.write(prefix)
        sent = 0
        while sent < size:
            await reply.write(filler)
            sent += len(filler)
            reply.request.notes["sent"] = sent
        await reply.write(suffix)
        await reply.end()

    return script


def randomly_cut(body: bytes, seed: int) -> list[bytes]:
    """Cuts `body` into pieces of very different sizes."""
    generator = random.Random(seed)
    pieces, position = [], 0
    while position < len(body):
        size = generator.choice((1, 2, 3, 7, 64, 300, 1500, 9000))
        pieces.append(body[position : position + size])
        position += size
    return pieces
