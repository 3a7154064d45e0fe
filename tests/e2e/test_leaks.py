"""No beginning of what a rule is against reaches a client, wherever the provider's stream is cut; all else does.

The same natively, for every rule at work: policies/src/rules/detect/tests.rs and policies/tests/rules.rs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import MakeGateway
from harness.answers import Answer, Pieces
from harness.gateway import Gateway, shipped_policy
from support import leaks
from support.exchange import PATHS, ask, question
from support.leaks import PATTERN, TERM, Sample
from support.scripts import DIALECTS, Register, replies, streams

# So that Envoy hands each delta to the filter by itself: what is undecided then is what waits for bytes.
PAUSE_SECONDS = 0.002
AT_ONCE = 8

DETECTED = leaks.detected()
EMAIL = next(sample for sample in DETECTED if sample.rule == "email")
CARD = next(sample for sample in DETECTED if sample.rule == "payment_card")
KEY = next(sample for sample in DETECTED if sample.rule == "aws_access_key")
PLAIN = [TERM, PATTERN, *DETECTED]
DISGUISED = [disguise for sample in (TERM, PATTERN, EMAIL, CARD, KEY) for disguise in leaks.disguised(sample)]

Check = Callable[[str, Sample, str], list[str]]
"""Path, sample and project: what is wrong with the answer."""


@pytest.fixture
def guarded(gateway: MakeGateway) -> Gateway:
    """Envoy with a policy document for each rule, as projects."""
    shipped = shipped_policy()
    return gateway({"projects": leaks.projects(), "events": shipped["events"], "envoy": shipped["envoy"]})


@pytest.fixture(params=["streamed", "whole"])
def check(request: pytest.FixtureRequest, guarded: Gateway, script: Register) -> Check:
    """Lets the provider say the value, and looks at what the client got."""

    def streamed(path: str, sample: Sample, project: str) -> list[str]:
        said = list(DIALECTS[path].events(question(path), leaks.answer(sample)))
        seen = ask(guarded.url, path, headers=of(project), script=script(streams(said, PAUSE_SECONDS)))
        # Every delta but those of the single letters brings text that leaves by itself.
        if len(seen.chunks) < len(sample.value) // 2:
            return [f"{len(seen.chunks)} chunks came: what is held over a pause was not tried"]
        return list(leaks.streamed_faults(path, sample, seen))

    def whole(path: str, sample: Sample, project: str) -> list[str]:
        asked = question(path, stream=False)
        sent = json.dumps(DIALECTS[path].whole(asked, leaks.answer(sample)), separators=(",", ":")).encode()
        name = script(replies(200, sent, [("content-type", "application/json")]))
        return list(leaks.whole_faults(sample, sent, ask(guarded.url, path, asked, headers=of(project), script=name)))

    return streamed if request.param == "streamed" else whole


def of(project: str) -> dict[str, str]:
    return {"x-policy-project": project}


def faults(check: Check, path: str, samples: Iterable[Sample], project: str | None = None) -> dict[str, str]:
    """The first fault of each sample that has one."""
    samples = list(samples)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = threads.map(lambda sample: check(path, sample, project or sample.rule), samples)
        return {str(sample): each[0] for sample, each in zip(samples, found, strict=True) if each}


@pytest.mark.parametrize("path", PATHS)
def test_no_beginning_of_a_value_reaches_the_client(check: Check, path: str) -> None:
    assert faults(check, path, PLAIN) == {}


@pytest.mark.parametrize("path", PATHS)
def test_no_beginning_of_a_value_in_disguise_reaches_the_client(check: Check, path: str) -> None:
    assert faults(check, path, DISGUISED) == {}


@pytest.mark.parametrize("path", PATHS)
def test_without_its_rule_a_value_is_seen_to_leak(check: Check, path: str) -> None:
    samples = [*{sample.rule: sample for sample in PLAIN}.values(), *DISGUISED]
    assert set(faults(check, path, samples, project="none")) == {str(sample) for sample in samples}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("letters", [1, 4, 18])
def test_a_beginning_alone_is_seen_to_leak(guarded: Gateway, script: Register, path: str, letters: int) -> None:
    text, arguments = leaks.expected(TERM)
    leaking = Pieces([text.replace(leaks.REDACTED, TERM.value[:letters] + leaks.REDACTED, 1)])
    call = leaks.Spelled(Pieces([arguments]))
    for answer, is_leak in ((Answer(Pieces([text]), (call,)), False), (Answer(leaking, (call,)), True)):
        name = script(streams(list(DIALECTS[path].events(question(path), answer))))
        seen = ask(guarded.url, path, headers=of("none"), script=name)
        assert bool(list(leaks.streamed_faults(path, TERM, seen))) is is_leak
