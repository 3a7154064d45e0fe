"""MCP's own conformance suite finds no difference between a server and the same server behind Weir."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MakeGateway
from support.asgi import Served
from support.documents import no_op
from support.mcp_conformance import results, server


@pytest.fixture(params=[False, True], ids=["stream", "json"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    served = Served(server().streamable_http_app(json_response=request.param))
    yield served
    served.stop()


@pytest.mark.filterwarnings("ignore:The sampling capability is deprecated")
def test_the_suite_gives_the_same_result_with_weir_as_without(
    gateway: MakeGateway, clusters: dict[str, int], served: Served, tmp_path: Path
) -> None:
    envoy = gateway(no_op(), clusters={**clusters, "provider": served.port})
    without = results(f"http://127.0.0.1:{served.port}", tmp_path / "without")
    passed = sum(status == "SUCCESS" for checks in without.values() for _, status, _ in checks)
    assert passed > 100, "the suite ran, and the server is worth comparing with"
    assert results(envoy.url, tmp_path / "with") == without
