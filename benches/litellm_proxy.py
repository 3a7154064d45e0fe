"""LiteLLM's proxy in front of the same mock provider, for a comparison."""

from __future__ import annotations

import json
import os
from pathlib import Path

from proxy import Ports, Running

READY_WITHIN_SECONDS = 120
TICKS = os.sysconf("SC_CLK_TCK")


class LiteLlm(Running):
    """A running LiteLLM proxy with one worker, with or without a guardrail that looks for personal data in answers."""

    def __init__(
        self, program: Path, ports: Ports, number: int, guardrail: bool, folder: Path, core: int | None
    ) -> None:
        self.port = ports.base + 36 + number
        configuration = folder / f"litellm-{number}.json"
        configuration.write_text(json.dumps(_configuration(ports, guardrail), indent=2))
        command = [str(program), "--config", str(configuration), "--port", str(self.port), "--host", "127.0.0.1"]
        environment = {**os.environ, "LITELLM_TELEMETRY": "False", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        name = "LiteLLM, a guardrail of patterns" if guardrail else "LiteLLM, no guardrail"
        command += ["--num_workers", "1", "--telemetry", "False"]
        super().__init__(name, command, folder / f"litellm-{number}.log", core, environment)
        self.wait_until_ready(f"http://127.0.0.1:{self.port}/health/liveliness", READY_WITHIN_SECONDS)

    def worker_seconds(self) -> tuple[float, float]:
        """CPU time of the process, of all of its threads."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS, 0.0

    def decided_exchanges(self) -> int:
        """Weir is not there."""
        return 0


def _configuration(ports: Ports, guardrail: bool) -> dict[str, object]:
    provider = f"http://127.0.0.1:{ports.provider}/v1"
    model = {"model": "openai/gpt-4o-mini", "api_base": provider, "api_key": "none"}
    configuration: dict[str, object] = {
        "model_list": [{"model_name": "gpt-4o-mini", "litellm_params": model}],
        # The provider of the load generator finds its stream by a header of the request.
        "general_settings": {
            "forward_client_headers_to_llm_api": True,
            "dangerously_permit_weak_or_unset_master_key": True,
        },
    }
    if guardrail:
        patterns = ("email", "us_ssn", "visa", "mastercard", "aws_access_key", "github_token")
        parameters = {
            "guardrail": "litellm_content_filter",
            "mode": "post_call",
            "default_on": True,
            "patterns": [{"pattern_type": "prebuilt", "pattern_name": name, "action": "MASK"} for name in patterns],
        }
        configuration["guardrails"] = [{"guardrail_name": "personal data", "litellm_params": parameters}]
    return configuration
