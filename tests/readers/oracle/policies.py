"""The policy documents under test, and what each promises."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

WORD = "nightingale"
WORDS = (WORD, "QJXZ")
"""What no client may show; the second stands in cases of others."""
ALLOWED = "get_weather"
DENIED = "deny_me"
HARM = ['"cmd":"rm']

_JUDGE: dict[str, Any] = {"use": "tool_call_judge", "with": {"judge": "main", "allow": [ALLOWED], "deny": [DENIED]}}
_TRANSFORM: dict[str, Any] = {
    "use": "content_transform",
    "with": {"replace": [{"find": word, "with": "[x]"} for word in WORDS], "scope": ["text", "refusal", "reasoning"]},
}


@dataclass(frozen=True)
class Policy:
    """A chain, and what it promises."""

    name: str
    chain: tuple[str, ...]
    judges: bool = False
    transforms: bool = False
    drops_calls: bool = False

    @property
    def document(self) -> str:
        """The policy document."""
        document: dict[str, Any] = {
            "policy": {"id": "readers", "revision": 1},
            "chain": [json.loads(part) for part in self.chain],
            "events": {"cluster": "collector"},
            "envoy": {"request_hold": "headers"},
        }
        if self.judges:
            document["judges"] = {"main": {"cluster": "judge", "model": "small", "timeout": "5s"}}
        return json.dumps(document)


NO_OP = Policy("no_op", ('{"use": "no_op"}',))
JUDGE = Policy("tool_call_judge", (json.dumps(_JUDGE),), judges=True)
TRANSFORM = Policy("content_transform", (json.dumps(_TRANSFORM),), transforms=True)
ONLY = Policy("content_only", ('{"use": "content_only"}',), drops_calls=True)
BOTH = Policy("transform+judge", (json.dumps(_TRANSFORM), json.dumps(_JUDGE)), judges=True, transforms=True)

POLICIES = {policy.name: policy for policy in (NO_OP, JUDGE, TRANSFORM, ONLY, BOTH)}
WEIGHTS = {"no_op": 5, "tool_call_judge": 50, "content_transform": 30, "content_only": 5, "transform+judge": 10}
