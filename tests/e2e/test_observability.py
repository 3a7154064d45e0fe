"""What operators see: statistics with labels, names of OpenTelemetry in access logs, trace ids in calls of Weir."""

from __future__ import annotations

import json
import re
import time

from conftest import MakeGateway
from harness.gateway import Gateway
from harness.judge import Judge
from support.documents import tool_call_judge
from support.exchange import CHAT, MESSAGES, ask, question
from support.sink import Sink


def test_statistics_have_labels(judged: Gateway, sink: Sink) -> None:
    sink.decision(ask(judged.url, MESSAGES, question(MESSAGES, "Do both.")).trace_id)
    text = judged.admin("/stats/prometheus")
    # Other tests have asked the same Envoy.
    exchanges = [line for line in text.splitlines() if line.startswith("weir_exchanges{") and '"messages"' in line]
    assert any('decision="refuse"' in line and 'policy="demo"' in line for line in exchanges), exchanges
    blocked = [line for line in text.splitlines() if line.startswith("weir_policy_events{") and "judge_blocked" in line]
    assert any('judge="main"' in line and 'class="ToolCallJudge"' in line for line in blocked), blocked
    assert re.search(r'^weir_decisions{decision="refuse"}', text, re.MULTILINE)


def test_the_access_log_has_the_names_of_the_conventions_where_asked(gateway: MakeGateway, sink: Sink) -> None:
    named = gateway(
        {**tool_call_judge(), "envoy": {"semantic_conventions": "genai-0.1"}},
        log={
            "model": "%FILTER_STATE(wasm.gen_ai.request.model:PLAIN)%",
            "operation": "%FILTER_STATE(wasm.gen_ai.operation.name:PLAIN)%",
            "provider": "%FILTER_STATE(wasm.gen_ai.provider.name:PLAIN)%",
        },
    )
    sink.decision(ask(named.url, CHAT, question(CHAT, "Say hello.")).trace_id)
    deadline = time.monotonic() + 5
    while not (lines := named.access_log.read_text().splitlines()) and time.monotonic() < deadline:
        time.sleep(0.05)
    logged = json.loads(lines[-1])
    assert (logged["model"], logged["operation"], logged["provider"]) == ("mock", "chat", "openai")


def test_every_call_of_weirs_own_is_part_of_a_trace(judged: Gateway, judge: Judge, sink: Sink) -> None:
    answer = ask(judged.url, CHAT, question(CHAT, "What is the weather?"))
    sink.decision(answer.trace_id)
    assert answer.trace_id in judge.requests[0].headers["traceparent"]
    # A batch has events of many traces, so it begins one of its own.
    batches = [request.headers["traceparent"] for request in sink.requests if request.path == "/v1/events"]
    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", each) for each in batches)
    assert len(set(batches)) == len(batches)
