"""Plays the exchanges of `make run` and prints each as it arrives, with what the collector was told of it."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.demo_client import Call, Conversation, Piece, Text
from harness.provider import Provider
from harness.scenes import Exchange, Scene

# Text that comes after such a pause gets a line, and a time, of its own.
NEW_LINE_SECONDS = 0.15
EVENTS_WITHIN_SECONDS = 5.0
SHADOW_FIELDS = ("would_have_held_ms", "would_have_cut_tokens")


def get(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of what a server of this machine answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@dataclass(frozen=True)
class Show:
    """What scenes are played with."""

    envoy_port: int
    collector_port: int
    provider: Provider

    def play(self, number: int, scene: Scene) -> str | None:
        """Sends one exchange and prints it as it arrives; returns what is not as it should be."""
        project = f" · project {scene.project}" if scene.project else ""
        print(f"\n{number}. {scene.title} · {scene.dialect.name}{project} · “{scene.prompt}”")
        conversation = Conversation(scene.dialect, scene.prompt, project=scene.project)
        try:
            self._print_pieces(conversation)
        except (OSError, ValueError, http.client.HTTPException) as error:
            mistake: str | None = f"the exchange failed: {error}"
        else:
            exchange = self._exchange(conversation)
            for line in _outcome(exchange):
                print(f"   {line}")
            mistake = scene.mistake(exchange)
        if mistake:
            print(f"   NOT AS EXPECTED: {mistake}", flush=True)
        return mistake

    def _print_pieces(self, conversation: Conversation) -> None:
        last_text: float | None = None
        for seconds, piece in conversation.pieces(self.envoy_port):
            goes_on = last_text is not None and isinstance(piece, Text) and seconds - last_text < NEW_LINE_SECONDS
            if last_text is not None and not goes_on:
                print()
            print(piece.value if goes_on else f"   {seconds:5.2f} s  {_describe(piece)}", end="", flush=True)
            last_text = seconds if isinstance(piece, Text) else None
            if last_text is None:
                print()

    def _exchange(self, conversation: Conversation) -> Exchange:
        """What is known of an exchange that is over."""
        events = self._events(conversation.trace_id)
        sent = self.provider.sent(conversation.trace_id)
        return Exchange(conversation, events.get("enforcement", {}), events.get("rules.matched", {}), sent)

    def _events(self, trace_id: str) -> dict[str, dict[str, Any]]:
        """The metadata of an exchange's events by their type, as soon as the collector has the last."""
        deadline = time.monotonic() + EVENTS_WITHIN_SECONDS
        while time.monotonic() < deadline:
            _, body = get(self.collector_port, "/v1/events?limit=200")
            found = [each["event"] for each in json.loads(body)["events"] if each["event"].get("trace_id") == trace_id]
            events = {event["event_type"]: event.get("metadata", {}) for event in found}
            if "enforcement" in events:
                return events
            time.sleep(0.05)
        return {}


def _describe(piece: Piece) -> str:
    if isinstance(piece, Text):
        return f"text    {piece.value}"
    if isinstance(piece, Call):
        return f"call    {piece.name}({piece.arguments})"
    return f"finish  {piece.reason}"


def _outcome(exchange: Exchange) -> list[str]:
    """Lines that say what was decided, or would have been."""
    decision = exchange.decision
    if not decision:
        return [f"decided  (no event within {EVENTS_WITHIN_SECONDS:.0f} s)"]
    lines = []
    if exchange.rules:
        rules = ", ".join(f"{rule} ({action})" for rule, action in exchange.rules.items())
        lines.append(f"matched  {rules}")
    done = [_decided(decision, "effective_decision")]
    done += [f"{name} {decision[name]}" for name in ("held_ms", "judge_latency_ms") if decision.get(name)]
    if decision.get("enforced") is False:
        is_same = exchange.seen.body == exchange.sent
        lines.append(f"bytes    {len(exchange.seen.body)}, {'' if is_same else 'NOT '}as the provider sent them")
        would = [_decided(decision, "decision"), *(f"{name} {decision.get(name)}" for name in SHADOW_FIELDS)]
        lines.append(f"would    {' '.join(would)}")
        done.append("enforced false")
    return [*lines, f"decided  {' '.join(done)}"]


def _decided(decision: Mapping[str, Any], which: str) -> str:
    code = decision.get("reason_code")
    said = decision.get(which)
    return f"{said} ({code})" if code and said == decision.get("decision") else str(said)
