"""Policy documents for the tests: the shipped one with a few fields changed."""

from __future__ import annotations

from typing import Any

from harness.gateway import shipped_policy

Document = dict[str, Any]

REFUSED_CLUSTER = "refused"
"""A cluster on whose port nobody listens."""


def document(chain: list[dict[str, Any]]) -> Document:
    """The shipped document with another chain."""
    return {**shipped_policy(), "chain": chain}


def no_op() -> Document:
    """Weir reads nothing."""
    return document([{"use": "no_op"}])


def reading() -> Document:
    """Weir reads every answer and changes nothing: the term does not occur."""
    return document(
        [{"use": "content_transform", "with": {"replace": [{"find": "\u2603 that nobody says", "with": ""}]}}]
    )


def tool_call_judge(cluster: str = "judge", timeout: str = "5s", **options: Any) -> Document:
    """Every tool call is judged, with `options` of the policy; the judge is asked at `cluster`."""
    options = {"judge": "main", "threshold": 0.6, "on_error": "block", **options}
    judged = document([{"use": "tool_call_judge", "with": options}])
    judged["judges"]["main"].update(cluster=cluster, timeout=timeout)
    return judged


def with_limits(base: Document, **limits: int) -> Document:
    """`base` with some of its limits changed."""
    return {**base, "limits": {**base["limits"], **limits}}
