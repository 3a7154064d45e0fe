"""The exchanges of `make run`, and what must come of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.answers import ADDRESS, CODE_NAME
from harness.demo_client import CHAT, MESSAGES, RESPONSES, Conversation, Dialect, text_of

GUARD: Mapping[str, Any] = {
    "policy": {"id": "guard", "name": "No addresses, no code names", "revision": 1},
    "chain": [
        {
            "use": "rules",
            "with": {
                "rules": [
                    {"id": "addresses", "match": {"detect": ["email"]}, "action": "redact", "with": "[e-mail]"},
                    {"id": "code-names", "match": {"terms": [CODE_NAME]}, "action": "refuse"},
                ]
            },
        }
    ],
}
"""A policy document that takes addresses out of answers, and ends those that say a code name."""

WATCH: Mapping[str, Any] = {
    **GUARD,
    "policy": {"id": "watch", "name": "No addresses, no code names (watched)", "revision": 1},
    "rollout": {"mode": "shadow"},
}
"""The same in the shadow: it changes nothing, and its events say what it would have done."""


def configuration(shipped: Mapping[str, Any]) -> dict[str, Any]:
    """What the filter is given: the shipped document for all that names no project, and those of the scenes."""
    beside = {name: shipped[name] for name in ("events", "envoy") if name in shipped}
    judged = {name: value for name, value in shipped.items() if name not in beside}
    return {"projects": {"judged": judged, "guard": GUARD, "watch": WATCH}, "default": "judged", **beside}


@dataclass(frozen=True)
class Exchange:
    """All that is known of an exchange behind its end."""

    seen: Conversation
    decision: Mapping[str, Any]
    """The metadata of the event `enforcement`."""
    matched: Mapping[str, Any] = field(default_factory=dict)
    """The metadata of the event `rules.matched`."""
    sent: bytes = b""
    """The body as the provider sent it."""

    @property
    def rules(self) -> dict[str, str]:
        """What each rule that matched in the answer does, by its id."""
        by_rule = self.matched.get("by_rule", {})
        return {rule: each["action"] for rule, each in by_rule.items() if each["answer"]}


@dataclass(frozen=True)
class Scene:
    """One exchange and the outcome that it must have."""

    title: str
    dialect: Dialect
    prompt: str
    calls: tuple[str, ...]
    """The tool calls that reach the client."""
    finish: str
    blocked: bool = False
    project: str | None = None
    """The project whose policy document is asked for."""

    def mistake(self, exchange: Exchange) -> str | None:
        """What is not as it should be."""
        seen, decision = exchange.seen, exchange.decision
        if tuple(call.name for call in seen.calls) != self.calls:
            return f"the client should have received the calls {list(self.calls)}"
        if seen.finish != self.finish:
            return f"the finish reason should have been {self.finish}"
        if not seen.text:
            return "the client should have received text"
        if not decision:
            return "no enforcement event reached the collector"
        if (decision.get("effective_decision") == "allow") == self.blocked:
            return f"the decision should {'not ' if self.blocked else ''}have been allow"
        return None


@dataclass(frozen=True)
class Redaction(Scene):
    """A scene in which a rule takes something out of the answer."""

    rule: str = ""
    value: str = ""
    """What the provider says."""
    instead: str = ""
    """What the client reads."""

    def mistake(self, exchange: Exchange) -> str | None:
        said = text_of(self.dialect, exchange.sent)
        if self.value not in said:
            return f"the provider should have said {self.value}"
        if exchange.seen.text != said.replace(self.value, self.instead):
            return f"the client should have received {self.instead} for {self.value}, and all else as it was"
        if exchange.rules != {self.rule: "redact"}:
            return f"the event should say that the rule {self.rule} alone matched"
        if exchange.decision.get("effective_decision") != "rewrite":
            return "the decision should have been rewrite"
        return super().mistake(exchange)


@dataclass(frozen=True)
class Shadow(Scene):
    """A scene that a document in the shadow only watches."""

    rule: str = ""
    action: str = ""
    """What that rule would have done."""

    def mistake(self, exchange: Exchange) -> str | None:
        decision = exchange.decision
        if exchange.seen.body != exchange.sent or not exchange.sent:
            return "the client should have received the bytes of the provider"
        if exchange.rules != {self.rule: self.action}:
            return f"the event should say that the rule {self.rule} alone matched"
        if (decision.get("decision"), decision.get("enforced")) != (self.action, False):
            return f"the event should say that the decision was {self.action}, and not enforced"
        if decision.get("decided_by") != "Rules" or decision.get("rollout_mode") != "shadow":
            return "the event should say that the rules decided, in the shadow"
        for name in ("would_have_held_ms", "would_have_cut_tokens"):
            if not decision.get(name):
                return f"the event should say {name}"
        return super().mistake(exchange)


SCENES = (
    Scene("Plain text", CHAT, "Say hello.", (), "stop"),
    Scene("A harmless tool call", MESSAGES, "What is the weather?", ("get_weather",), "tool_use"),
    Scene("A harmful tool call", CHAT, "Delete everything.", (), "stop", blocked=True),
    Scene("Two calls, one of them harmful", RESPONSES, "Do both.", ("get_weather",), "completed", blocked=True),
)
"""What the shipped policy document makes of calls."""

RULE_SCENES = (
    Redaction(
        *("A redaction", MESSAGES, "What is Ada's address?", (), "end_turn"),
        blocked=True,
        project="guard",
        rule="addresses",
        value=ADDRESS,
        instead="[e-mail]",
    ),
    Shadow(
        *("A refusal in the shadow", CHAT, "What are the plans?", (), "stop"),
        project="watch",
        rule="code-names",
        action="refuse",
    ),
)
"""What rules make of texts, in documents of their own."""
