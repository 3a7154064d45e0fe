"""A wrong policy document is refused when it is loaded, with the path of the field that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness.errors import SetupError
from harness.gateway import Gateway, Settings
from support.documents import document, tool_call_judge, with_limits


def without(base: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in base.items() if key != name}


def sending(**events: Any) -> dict[str, Any]:
    base = tool_call_judge()
    return {**base, "events": {**base["events"], **events}}


WRONG: dict[str, tuple[Any, str]] = {
    "not JSON": ("{policy: demo}", "line 1"),
    "no identity": (without(tool_call_judge(), "policy"), "missing field `policy`"),
    "empty id": ({**tool_call_judge(), "policy": {"id": ""}}, "policy.id"),
    "unknown policy": (document([{"use": "no_such_policy"}]), "chain[0].use"),
    "unknown field": ({**tool_call_judge(), "chian": []}, "chian"),
    "unknown option": (tool_call_judge(thresold=0.5), "chain[0].with"),
    "threshold out of range": (tool_call_judge(threshold=1.5), "chain[0].with.threshold"),
    "threshold of another type": (tool_call_judge(threshold="high"), "chain[0].with.threshold"),
    "unknown on_error": (tool_call_judge(on_error="shrug"), "chain[0].with.on_error"),
    "unknown judge": (tool_call_judge(judge="nobody"), "chain[0].with.judge"),
    "unknown target": ({**tool_call_judge(), "targets": ["telnet"]}, "targets[0]"),
    "timeout without a unit": (tool_call_judge(timeout="5"), "judges.main.timeout"),
    "queue of no events": (sending(queue=0), "events.queue"),
    "negative limit": (with_limits(tool_call_judge(), max_held_bytes=-1), "limits.max_held_bytes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_document_is_refused(case: str, envoy_binary: Path, clusters: dict[str, int], tmp_path: Path) -> None:
    policy, field = WRONG[case]
    gateway = Gateway(envoy_binary, Settings(clusters=clusters, policy=policy), tmp_path)
    try:
        with pytest.raises(SetupError, match="ended at once"):
            gateway.wait_until_ready()
    finally:
        gateway.stop()
    log = gateway.process.log.read_text()
    assert field in log, log[-2000:]
    assert "panicked" not in log


def test_shipped_document_is_accepted(envoy_binary: Path, clusters: dict[str, int], tmp_path: Path) -> None:
    gateway = Gateway(envoy_binary, Settings(clusters=clusters), tmp_path)
    try:
        gateway.wait_until_ready()
        assert not gateway.trouble()
    finally:
        gateway.stop()
