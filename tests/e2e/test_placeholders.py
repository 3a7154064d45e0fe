"""Reversible placeholders: the provider never has the value, and the client reads it again.

The same natively, at every cut and with all bounds: policies/tests/placeholders.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from conftest import MakeGateway
from harness.answers import Answer, Pieces
from harness.gateway import Gateway, shipped_policy
from harness.http_server import Handler, Reply
from support import legality
from support.exchange import PATHS, ask, question
from support.leaks import Spelled
from support.scripts import DIALECTS, Register, streams
from support.sink import Sink

ADDRESS = "ann@corp.example"
PLACEHOLDER = re.compile(r"\[EMAIL_[0-9a-f]{12}\]")
# So that Envoy hands each delta to the filter by itself.
PAUSE_SECONDS = 0.002


@pytest.fixture
def guarded(gateway: MakeGateway) -> Gateway:
    shipped = shipped_policy()
    rules = [{"id": "email", "match": {"detect": ["email"]}, "reversible": True}]
    chain = [{"use": "rules", "with": {"key_env": "PLACEHOLDER_KEY", "rules": rules}}]
    document = {
        "policy": {"id": "placeholders"},
        "chain": chain,
        "events": shipped["events"],
        "envoy": shipped["envoy"],
    }
    return gateway(document, variables={"PLACEHOLDER_KEY": "a secret of thirty-two bytes, or more"})


def said(value: str) -> Answer:
    """Says `value` once for every place where it can be cut, and spells it out in the arguments of a call."""
    cuts = [("to " + value[:cut], value[cut:] + "; ") for cut in range(1, len(value))]
    arguments = Pieces(['{ "to": "', *value, '",  "n": 1.0 }'])
    return Answer(Pieces(piece for cut in cuts for piece in cut), (Spelled(arguments),))


class Echo:
    """A provider that says the placeholder which the request has."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.heard = ""
        self.placeholder = ""
        self.sent = b""

    async def __call__(self, reply: Reply) -> None:
        request: dict[str, Any] = reply.request.json()
        self.heard = reply.request.body.decode()
        [self.placeholder] = PLACEHOLDER.findall(self.heard)
        answer = said(self.placeholder)
        if request["stream"]:
            await streams(list(DIALECTS[self.path].events(request, answer)), PAUSE_SECONDS)(reply)
            return
        self.sent = json.dumps(DIALECTS[self.path].whole(request, answer), separators=(",", ":")).encode()
        await reply.send(200, self.sent, [("content-type", "application/json")])


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("path", PATHS)
def test_the_provider_has_a_placeholder_and_the_client_the_value(
    guarded: Gateway, script: Register, sink: Sink, path: str, stream: bool
) -> None:
    echo = Echo(path)
    handler: Handler = echo
    seen = ask(guarded.url, path, question(path, f"Write to {ADDRESS} now.", stream=stream), script=script(handler))
    assert seen.status == 200, seen.body
    assert seen.complete
    assert "ann@" not in echo.heard
    assert f"Write to {echo.placeholder} now." in echo.heard
    if stream:
        # Whatever is cut, each piece that brings text leaves by itself.
        assert len(seen.chunks) >= len(echo.placeholder) - 1
        expected = said(ADDRESS).calls[0].arguments
        read = legality.read_legal(path, seen.body)
        text = "".join(f"to {ADDRESS}; " for _ in range(1, len(echo.placeholder)))
        assert (read.text, read.calls) == (text, [("take_note", expected)])
    else:
        assert seen.body.decode() == echo.sent.decode().replace(echo.placeholder, ADDRESS)
    matched = sink.wait_for(seen.trace_id, "rules.matched")
    assert matched["metadata"]["restored"] == len(echo.placeholder)
    sink.decision(seen.trace_id)
    assert "ann@" not in json.dumps(list(sink.events(seen.trace_id)))
