"""LiteLLM's proxy in front of the same mock provider, for a comparison."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from proxy import BenchError, Ports

READY_WITHIN_SECONDS = 120
TICKS = os.sysconf("SC_CLK_TCK")


class LiteLlm:
    """A running LiteLLM proxy with one worker, with or without a guardrail that looks for personal data in answers."""

    def __init__(
        self, program: Path, ports: Ports, number: int, guardrail: bool, folder: Path, core: int | None
    ) -> None:
        self.name = "LiteLLM, a guardrail of patterns" if guardrail else "LiteLLM, no guardrail"
        self.port = ports.base + 36 + number
        self._log = folder / f"litellm-{number}.log"
        configuration = folder / f"litellm-{number}.json"
        configuration.write_text(json.dumps(_configuration(ports, guardrail), indent=2))
        command = [str(program), "--config", str(configuration), "--port", str(self.port), "--host", "127.0.0.1"]
        environment = {**os.environ, "LITELLM_TELEMETRY": "False", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--num_workers", "1", "--telemetry", "False"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                preexec_fn=(lambda: os.sched_setaffinity(0, {core})) if core is not None else None,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise BenchError(f"{self.name} ended at once, see {self._log}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/liveliness", timeout=1):
                    return
            except (OSError, urllib.error.URLError):
                time.sleep(0.2)
        raise BenchError(f"{self.name} was not ready within {READY_WITHIN_SECONDS} s, see {self._log}")

    def worker_seconds(self) -> tuple[float, float]:
        """CPU time of the process, of all of its threads."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS, 0.0

    def decided_exchanges(self) -> int:
        """Weir is not there."""
        return 0

    def check(self) -> None:
        """A proxy that has died answers nothing."""
        if self._process.poll() is not None:
            raise BenchError(f"{self.name} has died, see {self._log}")

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


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
