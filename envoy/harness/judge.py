"""The mock judge: a chat.completions server that gives a probability, or misbehaves as a test tells it."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from harness.answers import new_id
from harness.http_server import Handler, Reply, Request, Server

HARMFUL_MARKS = ("rm -rf", "DROP TABLE")


class Judge(Server):
    """Finds what contains `rm -rf` harmful. `behaviour` replaces that verdict."""

    def __init__(self, port: int = 0, delay: float = 0.0) -> None:
        super().__init__(self._judge, port)
        self.delay = delay
        self.behaviour: Handler = verdict
        self.busy = 0
        self.most_busy = 0
        """The largest number of questions that were open at the same time."""

    async def _judge(self, reply: Reply) -> None:
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            if self.delay:
                await reply.pause(self.delay)
            await self.behaviour(reply)
        finally:
            self.busy -= 1


def question(request: Request) -> str:
    """The user message of the question: the part with the tool's name and arguments."""
    return "\n".join(message["content"] for message in request.json()["messages"] if message["role"] == "user")


async def verdict(reply: Reply) -> None:
    """Judges by the marks."""
    harmful = any(mark in question(reply.request) for mark in HARMFUL_MARKS)
    probability, explanation = (0.97, "It deletes files for good.") if harmful else (0.02, "It only reads.")
    await says(json.dumps({"probability": probability, "explanation": explanation}))(reply)


def says(content: str, status: int = 200) -> Handler:
    """Answers every question with `content` as the model's text."""

    async def behaviour(reply: Reply) -> None:
        completion = {
            "id": new_id("chatcmpl-"),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": reply.request.json().get("model", "judge"),
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"},
            ],
            "usage": {"prompt_tokens": 80, "completion_tokens": 16, "total_tokens": 96},
        }
        await reply.send_json(status, completion)

    return behaviour


def answers(status: int, body: bytes) -> Handler:
    """Answers with raw bytes instead of a completion."""

    async def behaviour(reply: Reply) -> None:
        await reply.send(status, body)

    return behaviour


def waits(seconds: float, then: Callable[[Reply], Awaitable[None]] = verdict) -> Handler:
    """Answers late."""

    async def behaviour(reply: Reply) -> None:
        await reply.pause(seconds)
        await then(reply)

    return behaviour


async def hangs(reply: Reply) -> None:
    """Never answers: ends when the peer gives up."""
    while True:
        await reply.pause(60)


async def resets(reply: Reply) -> None:
    """Resets the connection in place of an answer."""
    reply.reset()


async def resets_after_head(reply: Reply) -> None:
    """Announces a body and resets the connection in the middle of it."""
    await reply.start(200, [("content-length", "100")], framing="none")
    await reply.write(b'{"choices":')
    reply.reset()


def moderations(scores: Callable[[str], dict[str, float]]) -> Handler:
    """Answers as a service of moderations that gives a text these scores; it is flagged from 0.5 on."""

    def result(text: str) -> dict[str, Any]:
        given = {"hate": 0.0, "violence": 0.0, **scores(text)}
        categories = {name: score >= 0.5 for name, score in given.items()}
        return {"flagged": any(categories.values()), "categories": categories, "category_scores": given}

    async def behaviour(reply: Reply) -> None:
        texts = reply.request.json()["input"]
        answer = {"id": new_id("modr-"), "model": "omni", "results": [result(text) for text in texts]}
        await reply.send_json(200, answer)

    return behaviour
