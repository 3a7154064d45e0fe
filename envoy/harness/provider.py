"""The mock provider: all dialects, streamed and not, or any script that a test registers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import ModuleType

from harness import anthropic_messages, mcp_tools, openai_chat, openai_responses
from harness.answers import InvalidRequest
from harness.http_server import Handler, Reply, Server

SCRIPT_HEADER = "x-mock-script"
DIALECTS: dict[str, ModuleType] = {each.PATH: each for each in (openai_chat, openai_responses, anthropic_messages)}


class Provider(Server):
    """Answers like the real APIs do, `pace` seconds apart.

    A request with the header `x-mock-script: <name>` is answered by `scripts[name]` instead.
    """

    def __init__(self, port: int = 0, pace: float = 0.0) -> None:
        super().__init__(self.answer, port)
        self.pace = pace
        self.scripts: dict[str, Handler] = {}

    def sent(self, trace_id: str) -> bytes:
        """What it streamed in the exchange of that trace."""
        requests = [each for each in self.requests if trace_id in each.headers.get("traceparent", "")]
        return b"".join(request.notes.get("sent", b"") for request in requests)

    async def answer(self, reply: Reply) -> None:
        """Answers one request: as its script does if it names one, else as the API at its path does."""
        request = reply.request
        if script := self.scripts.get(request.headers.get(SCRIPT_HEADER, "")):
            await script(reply)
            return
        if request.path.partition("?")[0] == mcp_tools.PATH:
            await mcp_tools.answer(reply)
            return
        dialect = DIALECTS.get(request.path.partition("?")[0])
        if dialect is None or request.method != "POST":
            await reply.send_json(404, {"error": {"message": f"Unknown request URL: {request.method} {request.path}"}})
            return
        try:
            body = json.loads(request.body)
            dialect.validate(body)
        except (ValueError, RecursionError):
            await reply.send_json(*dialect.error(400, "We could not parse the JSON body of your request."))
            return
        except InvalidRequest as invalid:
            await reply.send_json(*dialect.error(400, str(invalid), invalid.param))
            return
        answer = dialect.answer(body)
        if body.get("stream"):
            await self._stream(reply, dialect.events(body, answer))
        else:
            await reply.send_json(200, dialect.whole(body, answer), _HEADERS)

    async def _stream(self, reply: Reply, events: Iterator[bytes]) -> None:
        await reply.start(200, [("content-type", "text/event-stream; charset=utf-8"), *_HEADERS])
        for produced, event in enumerate(events, start=1):
            await reply.write(event)
            reply.request.notes["events"] = produced
            reply.request.notes["sent"] = reply.request.notes.get("sent", b"") + event
            if self.pace:
                await reply.pause(self.pace)
        await reply.end()


_HEADERS = [("x-request-id", "req_mock"), ("cache-control", "no-cache")]
