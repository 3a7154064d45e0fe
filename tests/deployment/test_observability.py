"""Rules, dashboard and labels: each alert is tried, and the labels are those that the shipped `stats_tags` make."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from harness.gateway import shipped
from harness.paths import ROOT

CHART = ROOT / "envoy" / "helm" / "weir"
RULES = CHART / "rules" / "weir.yaml"
RULES_TEST = Path(__file__).parent / "rules_test.yaml"
DASHBOARD = CHART / "dashboards" / "weir.json"
PROMTOOL = os.environ.get("WEIR_TEST_PROMTOOL", "")

needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="promtool is not here and cannot be installed without root")


def promtool(*arguments: str | Path) -> str:
    result = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@needs_promtool
def test_rules_do_what_they_say() -> None:
    promtool("check", "rules", RULES)
    promtool("test", "rules", RULES_TEST)


def alerts() -> list[dict[str, dict[str, str]]]:
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return [rule for rule in rules if "alert" in rule]


def test_each_alert_has_a_runbook_and_is_tried() -> None:
    tried = RULES_TEST.read_text()
    for alert in alerts():
        assert len(alert["annotations"]["runbook"]) > 40, alert
        assert f'alertname="{alert["alert"]}"' in tried


@needs_promtool
def test_every_expression_of_the_dashboard_parses(tmp_path: Path) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", file)


def labels(name: str) -> tuple[str, dict[str, str]]:
    """What Envoy makes of a statistic's name, with the first tag of each name that matches."""
    rest, found = name, {}
    for tag in shipped()["stats_config"]["stats_tags"]:
        if (match := re.search(tag["regex"], name)) and tag["tag_name"] not in found:
            found[tag["tag_name"]] = match[2]
            rest = rest.replace(match[1], "")
    return rest, found


@pytest.mark.parametrize(
    ("name", "rest", "expected"),
    [
        ("weir.decisions.refuse", "weir.decisions", {"decision": "refuse"}),
        ("weir.errors.judge", "weir.errors", {"word": "judge"}),
        ("weir.failed_open.judge", "weir.failed_open", {"word": "judge"}),
        (
            "weir.exchanges.decision.refuse.target.chat_completions.policy.prod-default",
            "weir.exchanges",
            {"decision": "refuse", "target": "chat_completions", "policy": "prod-default"},
        ),
        (
            "weir.policy_events.event.judge_blocked.class.ToolCallJudge.target.messages.judge.main.rule.none",
            "weir.policy_events",
            {"event": "judge_blocked", "class": "ToolCallJudge", "target": "messages", "judge": "main", "rule": "none"},
        ),
        ("weir.held_ms", "weir.held_ms", {}),
    ],
)
def test_labels_are_taken_out_of_names(name: str, rest: str, expected: dict[str, str]) -> None:
    assert labels(f"wasmcustom.{name}") == (f"wasmcustom.{rest}", expected)


def test_containers_have_the_same_labels() -> None:
    compose = yaml.safe_load((ROOT / "envoy" / "compose" / "envoy.yaml").read_text())
    assert compose["stats_config"] == shipped()["stats_config"]
