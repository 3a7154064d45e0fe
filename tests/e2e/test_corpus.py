"""Streams recorded from real providers, replayed through Envoy."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import pytest
from conftest import MakeGateway
from harness import judge as judges
from harness.gateway import Gateway
from harness.judge import Judge
from support import scripts
from support.documents import tool_call_judge
from support.exchange import CHAT, MESSAGES, RESPONSES, Answer, ask
from support.legality import read

FOLDERS = {"openai-chat": CHAT, "anthropic-messages": MESSAGES, "openai-responses": RESPONSES}
CORPUS = Path(os.environ.get("WEIR_CORPUS", os.devnull))

RECORDINGS = [
    pytest.param(FOLDERS[file.parent.name], file, id=f"{file.parent.name}/{file.stem}")
    for folder in FOLDERS
    for file in sorted((CORPUS / folder).glob("*.sse"))
]

pytestmark = pytest.mark.skipif(not RECORDINGS, reason="no recorded streams (WEIR_CORPUS names their place)")

each_recording = pytest.mark.parametrize(("path", "file"), RECORDINGS)


def replay(gateway: Gateway, script: scripts.Register, path: str, file: Path, seed: int = 0) -> tuple[bytes, Answer]:
    body = file.read_bytes()
    pieces = scripts.randomly_cut(body, seed + zlib.crc32(file.name.encode()))
    return body, ask(gateway.url, path, script=script(scripts.streams(pieces)))


def without_pings(body: bytes) -> list[bytes]:
    """The events but those that may stand anywhere: they go on while a call is held, and so overtake it."""
    return [event for event in body.split(b"\n\n") if not event.startswith(b"event: ping")]


def answers(path: str, body: bytes) -> list[bytes]:
    """The answers in a recording of `chat.completions`, whose chunks name the one that they belong to; of `messages`
    the whole, whose blocks tell."""
    parts: dict[object, bytes] = {}
    for event in body.split(b"\n\n") if path == CHAT else [body]:
        document = event.removeprefix(b"data: ")
        part = json.loads(document)["id"] if document.startswith(b"{") else None
        parts[part] = parts.get(part, b"") + event + b"\n\n"
    return list(parts.values())


@each_recording
@pytest.mark.parametrize("seed", range(3))
def test_a_policy_that_finds_nothing_leaves_every_byte(
    passing: Gateway, script: scripts.Register, path: str, file: Path, seed: int
) -> None:
    body, answer = replay(passing, script, path, file, seed)
    assert answer.complete
    assert answer.body == body


@each_recording
def test_judge_that_says_yes_leaves_every_event(
    judged: Gateway, judge: Judge, script: scripts.Register, path: str, file: Path
) -> None:
    judge.behaviour = judges.says('{"probability": 0.0, "explanation": "fine"}')
    body, answer = replay(judged, script, path, file)
    assert answer.complete
    original, seen = read(path, body), read(path, answer.body)
    if original.broken:
        # Several answers in one recording, whose calls are judged apart and leave apart.
        assert seen.calls == [call for part in answers(path, body) for call in read(path, part).calls]
        added = seen.text.removeprefix(original.text)
        assert not added or added.endswith("the call was cut off before its end"), "another message spliced in"
    else:
        assert len(answer.body) == len(body)
        assert without_pings(answer.body) == without_pings(body)


@each_recording
def test_judge_that_says_no_lets_no_call_through(
    judged: Gateway, judge: Judge, script: scripts.Register, path: str, file: Path
) -> None:
    judge.behaviour = judges.says('{"probability": 1.0, "explanation": "never"}')
    body, answer = replay(judged, script, path, file)
    assert_no_call_but_legal(path, body, answer)
    if read(path, body).calls:
        assert judge.requests


@each_recording
def test_judge_that_fails_lets_no_call_through(
    gateway: MakeGateway, judge: Judge, script: scripts.Register, path: str, file: Path
) -> None:
    judge.behaviour = judges.resets
    body, answer = replay(gateway(tool_call_judge(timeout="300ms")), script, path, file)
    assert_no_call_but_legal(path, body, answer)


def assert_no_call_but_legal(path: str, body: bytes, answer: Answer) -> None:
    assert answer.complete
    original, seen = read(path, body), read(path, answer.body)
    assert seen.names == []
    if original.calls:
        assert original.names[0] in seen.text, "the refusal names the tool"
    if original.broken:
        return  # Several messages in one recording, for example: what they end with is theirs.
    assert not seen.broken
    if original.calls:
        assert seen.finish == {CHAT: "stop", MESSAGES: "end_turn", RESPONSES: "completed"}[path]
    else:
        # Tools that the provider runs itself are judged as well; their stream differs, though no call was for us.
        assert answer.body == body or b"server_tool_use" in body or path == RESPONSES
