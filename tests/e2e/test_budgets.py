"""A budget of tokens holds for all streams of an Envoy together, on every worker of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness.answers import Answer, Pieces
from harness.configurations import CONFIGURATIONS
from harness.gateway import Gateway, Settings
from harness.paths import WEIR_WASM
from harness.processes import ProcessGroup
from harness.provider import Provider
from support import containers, exchange
from support.documents import document
from support.exchange import CHAT, ask, question
from support.scripts import Register, recorded, streams

STREAMS = 64
BYTES_PER_TOKEN = 4
"""By which the policy estimates, see policies/README.md."""
DELTA = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz "
DELTAS = 100
ALL_TOKENS = STREAMS * DELTAS * len(DELTA) // BYTES_PER_TOKEN
BUDGET_TOKENS = 20_000
REACHES_FOR_ALL = 10 * ALL_TOKENS
PAUSE_SECONDS = 0.02
"""Between deltas, so that the streams run beside each other."""


@pytest.fixture(params=[BUDGET_TOKENS, REACHES_FOR_ALL])
def budget(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
def limited(
    budget: int, clusters: dict[str, int], envoy_binary: Path, provider: Provider, tmp_path: Path
) -> Iterator[Gateway]:
    """Envoy with two workers and a budget that all callers share."""
    if containers.PROJECT:
        pytest.skip("the Envoy in the container has the shipped policy document and settings")
    policy = document([{"use": "budget", "with": {"tokens": budget, "every": "day", "of": "output"}}])
    settings = Settings(clusters=clusters, policy=policy, wasm=WEIR_WASM, configuration=CONFIGURATIONS["shipped"])
    with ProcessGroup() as processes:
        gateway = Gateway(envoy_binary, settings, tmp_path / "envoy", concurrency=2)
        processes.add(gateway.process)
        gateway.wait_until_ready()
        yield gateway
        assert not gateway.trouble()


def said(answer: exchange.Answer) -> tuple[str, str]:
    """The text of a streamed answer, and why it ended."""
    text, reason = "", ""
    for line in answer.body.splitlines():
        if line.startswith(b"data: {"):
            for choice in json.loads(line[6:])["choices"]:
                text += choice["delta"].get("content") or ""
                reason = choice.get("finish_reason") or reason
    return text, reason


def test_streams_that_run_at_once_share_a_budget(limited: Gateway, budget: int, script: Register) -> None:
    name = script(streams(recorded(CHAT, Answer(Pieces([DELTA] * DELTAS))), PAUSE_SECONDS))
    with ThreadPoolExecutor(STREAMS) as threads:
        answers = list(threads.map(lambda _: ask(limited.url, CHAT, question(CHAT), script=name), range(STREAMS)))
    assert all(answer.complete for answer in answers)
    assert {answer.status for answer in answers} <= {200, 429}
    texts = [said(answer) for answer in answers if answer.status == 200]
    tokens = sum(len(text) for text, _ in texts) // BYTES_PER_TOKEN
    if budget == REACHES_FOR_ALL:
        assert (len(texts), tokens) == (STREAMS, ALL_TOKENS)
        return
    # Each stream may have let go one delta that it could not pay for.
    assert tokens <= budget + STREAMS * (len(DELTA) // BYTES_PER_TOKEN + 1)
    assert tokens > budget * 3 // 4
    assert len(texts) == STREAMS, "all of them had begun before the budget was used up"
    assert {reason for _, reason in texts} == {"length"}, "none of them had enough for all of its answer"
    assert ask(limited.url, CHAT, question(CHAT), script=name).status == 429
