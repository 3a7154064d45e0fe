"""Plays exchanges, one after the other, and says where one came out otherwise than the model says."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
from harness import mcp_tools
from support.exchange import Answer, question, streaming
from support.legality import read

from soak.peers import Plans
from soak.plan import Exchange, draw

LONGEST = 30.0
"""No exchange takes longer: a judge is waited for a second."""


@dataclass
class Played:
    """What one client did."""

    exchanges: dict[str, Exchange] = field(default_factory=dict)
    """Those that got an answer, by trace."""
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    turned_away: int = 0
    """Connections that a listener that goes took, and closed before the first request."""


def play(url: str, seed: str, until: float, plans: Plans, played: Played) -> None:
    """Plays until then."""
    dice = random.Random(seed)
    while time.monotonic() < until:
        plan = draw(dice)
        answer = Answer()
        plans.begin(answer.trace_id, plan)
        began = time.monotonic()
        left = _ask(url, plan, answer)
        took = time.monotonic() - began
        if answer.status:
            played.exchanges[answer.trace_id] = plan
        played.kinds[plan.path] += 1
        played.kinds[f"judge {plan.judge}"] += 1
        played.kinds[f"provider {plan.provider}"] += 1
        played.kinds["client leaves"] += left
        if answer.status == 0 and isinstance(answer.failure, _CLOSED):
            played.turned_away += 1
            continue
        wrong = f"it took {took:.1f} s" if took > LONGEST else _wrong(plan, answer, left)
        if wrong:
            played.wrong.append(f"{wrong}: {answer.trace_id} {plan} {answer.failure!r} {answer.body[-600:]!r}")


def _ask(url: str, plan: Exchange, answer: Answer) -> bool:
    """Plays an exchange; whether the client left."""
    body = _call(plan) if plan.path == mcp_tools.PATH else question(plan.path, plan.prompt, stream=plan.stream)
    received = 0
    try:
        with streaming(
            url, plan.path, body, answer=answer, headers=_HEADERS, timeout=LONGEST, http2=plan.http2
        ) as response:
            for chunk in response.iter_raw():
                answer.chunks.append((time.monotonic(), chunk))
                received += len(chunk)
                if plan.leaves_after is not None and received > plan.leaves_after:
                    return True
    except httpx.TransportError as error:
        answer.failure = error
    return False


_CLOSED = (httpx.ConnectError, httpx.LocalProtocolError, httpx.RemoteProtocolError, httpx.ReadError)
_HEADERS = {"accept": "application/json, text/event-stream"}


def _call(plan: Exchange) -> dict[str, object]:
    call = plan.calls[0]
    params = {"name": call.name, "arguments": call.arguments}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def _wrong(plan: Exchange, answer: Answer, left: bool) -> str | None:
    """What is wrong with an outcome."""
    if b"rm -rf" in answer.body:
        return "harm came through"
    if answer.status != 200:
        # A provider may break off before its head has left.
        return None if plan.provider != "answers" and answer.status in (502, 503) else f"status {answer.status}"
    if left:
        return None
    if plan.provider == "answers" and not answer.complete:
        return "it was broken off"
    if plan.path == mcp_tools.PATH:
        return _wrong_result(plan, json.loads(answer.body))
    if not plan.stream:
        passed = answer.body.count(b"celsius")
        return None if passed == len(plan.passing) else f"{passed} calls passed"
    return _wrong_stream(plan, answer)


def _wrong_result(plan: Exchange, message: dict[str, dict[str, object]]) -> str | None:
    refused = bool(message["result"].get("isError"))
    return None if refused == (not plan.passing) else f"refused: {refused}"


def _wrong_stream(plan: Exchange, answer: Answer) -> str | None:
    if plan.provider == "answers":
        seen = read(plan.path, answer.body)
        if seen.broken:
            return f"no legal stream, {seen.broken}"
        return None if seen.names == plan.passing else f"calls {seen.names}"
    # Of what is cut off nothing leaves that was not decided; how much had left depends on the time.
    if not plan.passing and b"celsius" in answer.body:
        return "an undecided call came through"
    return None
