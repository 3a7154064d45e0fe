"""The configurations of Envoy that the end-to-end tests can run with: `make e2e CONFIGURATION=…`."""

from __future__ import annotations

from harness.gateway import SHIPPED, Configuration
from harness.paths import ROOT

ISTIO = ROOT / "tests" / "e2e" / "istio"
JUDGE = "outbound|8080||judge.weir.svc.cluster.local"
COLLECTOR = "outbound|10004||weir-collector.weir.svc.cluster.local"


def _istio(variant: str, extension: str, port: int) -> Configuration:
    providers = (f"outbound|{port}||api.openai.com", f"outbound|{port}||api.anthropic.com")
    return Configuration(
        bootstrap=ISTIO / f"{variant}.yaml",
        extensions=ISTIO / f"{variant}-{extension}.yaml",
        clusters={"provider": providers, "judge": (JUDGE,), "collector": (COLLECTOR,)},
        hold_request_head=extension == "hold-heads",
    )


CONFIGURATIONS = {
    "shipped": SHIPPED,
    **{
        f"istio-{variant}-{extension}": _istio(variant, extension, port)
        for variant, port in (("gateway", 443), ("sidecar", 80))
        for extension in ("traffic-extension", "wasm-plugin", "hold-heads")
    },
}
