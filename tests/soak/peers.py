"""The peers of the soak: each does to an exchange what its plan says, found by its trace."""

from __future__ import annotations

import json
import threading

from harness import judge as judges
from harness.http_server import Reply
from harness.judge import Judge
from harness.provider import DIALECTS, Provider
from support.scripts import EVENT_STREAM

from soak.plan import Exchange

JUDGE_TIMEOUT = 5.0


class Plans:
    """The exchanges that are under way, by their traces."""

    def __init__(self) -> None:
        self._plans: dict[str, Exchange] = {}
        self._lock = threading.Lock()

    def begin(self, trace_id: str, plan: Exchange) -> None:
        with self._lock:
            self._plans[trace_id] = plan

    def of(self, reply: Reply) -> Exchange | None:
        """The exchange that a request belongs to."""
        trace_id = reply.request.headers.get("traceparent", "--").split("-")[1]
        return self._plans.get(trace_id)


class FaultyJudge(Judge):
    """Judges by the marks, and fails where the plan says so."""

    def __init__(self, plans: Plans) -> None:
        super().__init__()
        self.behaviour = self._behave
        self._plans = plans

    async def _behave(self, reply: Reply) -> None:
        plan = self._plans.of(reply)
        # Kept, the questions of an hour would be the memory of the soak.
        self.requests.clear()
        match plan.judge if plan else "answers":
            case "is late":
                await judges.waits(0.2)(reply)
            case "hangs":
                await judges.hangs(reply)
            case "refuses":
                await judges.answers(500, b"no")(reply)
            case "dies":
                await judges.resets_after_head(reply)
            case _:
                await judges.verdict(reply)


class FaultyProvider(Provider):
    """Answers as the provider does, and breaks off where the plan says so."""

    def __init__(self, plans: Plans) -> None:
        super().__init__()
        self._plans = plans
        self.harm: list[str] = []
        """Calls of MCP that must not have arrived."""

    async def answer(self, reply: Reply) -> None:
        self.requests.clear()
        plan = self._plans.of(reply)
        dialect = DIALECTS.get(reply.request.path)
        if dialect is None and b"rm -rf" in reply.request.body:
            self.harm.append(reply.request.body.decode())
        if plan is None or dialect is None or not plan.stream:
            await super().answer(reply)
            return
        body = json.loads(reply.request.body)
        await reply.start(200, [EVENT_STREAM])
        for number, event in enumerate(dialect.events(body, dialect.answer(body))):
            if plan.provider != "answers" and number == plan.broken_after:
                await reply.pause(0.02)
                if plan.provider == "resets":
                    reply.reset()
                else:
                    reply.cut()
                return
            await reply.write(event)
            if plan.pace:
                await reply.pause(plan.pace)
        await reply.end()
