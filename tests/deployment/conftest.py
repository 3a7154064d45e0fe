"""What deploys Weir is sound: manifests, chart, images, rules and dashboards. `make deployment` runs these tests."""

from __future__ import annotations

import pytest
from support import schemas


@pytest.fixture(autouse=True)
def _needs_custom_schemas(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("custom_resources") and not schemas.have_custom_schemas():
        pytest.skip("the schemas of Istio and Envoy Gateway are not here (WEIR_CRDS)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "custom_resources: needs the schemas of Istio and Envoy Gateway")
