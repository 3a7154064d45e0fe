"""Envoy with the shipped configuration, other ports and another policy document."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.paths import ENVOY_YAML, ROOT, WEIR_WASM
from harness.processes import Process

HTTP_FILTER = "envoy.filters.http.wasm"
NETWORK_FILTER = "envoy.filters.network.wasm"
ROUTER = "envoy.filters.http.router"


@dataclass(frozen=True)
class Configuration:
    """A whole configuration of Envoy that tests can run."""

    bootstrap: Path
    extensions: Path | None = None
    """The extensions that a control plane would send (ECDS); None: all stands in the bootstrap."""
    clusters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What the clusters of the shipped configuration are called here; a document names the first."""
    hold_request_head: bool = True
    """Whether it can hold the heads of requests: not everything that makes configurations lets one say so."""

    def named(self, cluster: str) -> tuple[str, ...]:
        return self.clusters.get(cluster, (cluster,))


SHIPPED = Configuration(ENVOY_YAML)


@dataclass(frozen=True)
class Settings:
    """What may differ from the shipped configuration; what is None stays as it is there."""

    clusters: Mapping[str, int] = field(default_factory=dict)
    """Port by name of cluster; an unknown name becomes a cluster of its own."""
    listener_port: int = 0
    admin_port: int = 0
    policy: Mapping[str, Any] | str | None = None
    """The policy document; a string is passed as it is, so that tests can hand over what is not JSON."""
    wasm: Path | None = WEIR_WASM
    """None leaves the filter out."""
    hold_request_head: bool = True
    """`allow_on_headers_stop_iteration`."""
    policy_before: Mapping[str, Any] | None = None
    """The policy document of another Weir before this one, with the same setting for request heads."""
    filters_before: tuple[Mapping[str, Any], ...] = ()
    """Other HTTP filters before all of Weir."""
    buffer_limit: int | None = None
    """`request_body_buffer_limit` of the route."""
    stream_idle_timeout: str | None = None
    project: str | None = None
    """The project that the metadata of routes name."""
    connection_filter: bool = False
    """Weir as a network filter too, so that streams can be cancelled."""
    provider_http2: bool = False
    """HTTP/2 towards the provider; clients choose for themselves."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the VM."""
    configuration: Configuration = SHIPPED
    log: Mapping[str, str] = field(default_factory=dict)
    """Further fields of the access log."""


def shipped() -> dict[str, Any]:
    return yaml.safe_load(ENVOY_YAML.read_text())


def shipped_policy() -> dict[str, Any]:
    """The policy document of the shipped configuration."""
    return json.loads(_filter(shipped())["configuration"]["value"])


def render(settings: Settings, folder: Path) -> dict[str, Any]:
    """The bootstrap with `settings` put in; what a control plane would send is left in `folder`."""
    chosen = settings.configuration
    config = yaml.safe_load(chosen.bootstrap.read_text())
    _address(config["admin"])["port_value"] = settings.admin_port
    listener = config["static_resources"]["listeners"][0]
    _address(listener)["port_value"] = settings.listener_port
    clusters = config["static_resources"]["clusters"]
    _place_clusters(clusters, {here: port for name, port in settings.clusters.items() for here in chosen.named(name)})
    if settings.provider_http2:
        _speak_http2(clusters[0])
    manager = _connection_manager(config)
    manager["access_log"][0]["typed_config"]["log_format"]["json_format"] |= settings.log
    if settings.stream_idle_timeout:
        manager["stream_idle_timeout"] = settings.stream_idle_timeout
    if settings.buffer_limit:
        for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
            route["request_body_buffer_limit"] = settings.buffer_limit
    if settings.project:
        for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
            route["metadata"] = {"filter_metadata": {"weir": {"project": settings.project}}}
    if settings.wasm is None:
        manager["http_filters"] = [each for each in manager["http_filters"] if each["name"] == ROUTER]
        return config
    if chosen.extensions is None:
        _set_plugin(_filter(config), settings)
    else:
        extensions = yaml.safe_load(chosen.extensions.read_text())
        _set_plugin(extensions["resources"][0]["typed_config"]["config"], settings)
        file = folder / "extensions.json"
        file.write_text(json.dumps(extensions, indent=1))
        discovered = next(each for each in manager["http_filters"] if "config_discovery" in each)
        discovered["name"] = extensions["resources"][0]["name"]
        source = discovered["config_discovery"]
        # In place of the control plane, which `ads` stands for.
        del source["config_source"]["ads"]
        source["config_source"]["path_config_source"] = {"path": str(file)}
    _put_before(manager["http_filters"], settings)
    if settings.connection_filter:
        _put_connection_filter(listener["filter_chains"][0]["filters"], _filter(config))
    return config


def _put_before(filters: list[dict[str, Any]], settings: Settings) -> None:
    if settings.policy_before is not None:
        own = next(each for each in filters if each["name"] == HTTP_FILTER)
        before = json.loads(json.dumps(own))
        plugin = before["typed_config"]["config"]
        before["name"] = plugin["name"] = plugin["root_id"] = "weir-before"
        plugin["configuration"]["value"] = json.dumps(settings.policy_before)
        filters.insert(0, before)
    filters[:0] = [dict(each) for each in settings.filters_before]


def _put_connection_filter(filters: list[dict[str, Any]], plugin: dict[str, Any]) -> None:
    beside = json.loads(json.dumps(plugin))
    beside["name"] = beside["root_id"] = "weir-connection"
    beside["configuration"]["value"] = json.dumps({"connection_filter": {}})
    # A setting of HTTP filters.
    beside.pop("allow_on_headers_stop_iteration", None)
    kind = "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm"
    filters.insert(0, {"name": NETWORK_FILTER, "typed_config": {"@type": kind, "config": beside}})


def _set_plugin(plugin: dict[str, Any], settings: Settings) -> None:
    chosen = settings.configuration
    plugin["vm_config"]["code"] = {"local": {"filename": str(settings.wasm)}}
    if chosen.hold_request_head:
        plugin["allow_on_headers_stop_iteration"] = settings.hold_request_head
    if settings.variables:
        given = plugin["vm_config"].setdefault("environment_variables", {})
        given["key_values"] = {**given.get("key_values", {}), **settings.variables}
    if settings.policy is not None:
        document = settings.policy if isinstance(settings.policy, str) else json.dumps(_fitted(settings.policy, chosen))
        plugin["configuration"]["value"] = document


def _fitted(policy: Mapping[str, Any], chosen: Configuration) -> dict[str, Any]:
    """The document with the names that clusters have in that configuration, and holding what that can hold."""
    fitted = json.loads(json.dumps(policy))
    if not chosen.hold_request_head:
        fitted["envoy"] = {**fitted.get("envoy", {}), "request_hold": "body"}
    for owner in (*fitted.get("judges", {}).values(), *([fitted["events"]] if fitted.get("events") else [])):
        if "cluster" in owner:
            owner["cluster"] = chosen.named(owner["cluster"])[0]
    return fitted


def _place_clusters(clusters: list[dict[str, Any]], ports: Mapping[str, int]) -> None:
    by_name = {cluster["name"]: cluster for cluster in clusters}
    for name, port in ports.items():
        if name not in by_name:
            cluster = json.loads(json.dumps(clusters[0]))
            cluster["name"] = cluster["load_assignment"]["cluster_name"] = name
            clusters.append(cluster)
            by_name[name] = cluster
        endpoint = by_name[name]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        _address(endpoint)["port_value"] = port
        # The mocks are on the loopback interface and speak plain HTTP, whatever stands here.
        _address(endpoint)["address"] = "127.0.0.1"
        by_name[name]["type"] = "STATIC"
        by_name[name].pop("transport_socket", None)


def _speak_http2(cluster: dict[str, Any]) -> None:
    cluster["typed_extension_protocol_options"] = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }


def _address(owner: dict[str, Any]) -> dict[str, Any]:
    return owner["address"]["socket_address"]


def _connection_manager(config: dict[str, Any]) -> dict[str, Any]:
    return config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]


def _filter(config: dict[str, Any]) -> dict[str, Any]:
    filters = _connection_manager(config)["http_filters"]
    return next(each for each in filters if each["name"] == HTTP_FILTER)["typed_config"]["config"]


# What Envoy writes when the module traps, is refused or misuses the ABI. Lines with "wasm log" are the filter's own
# messages: it may warn, for example of a judge that fails; an error is a fault of its own.
_WASM_TROUBLE = re.compile(
    r"\[(error|critical)\]\[wasm\]|\[warning\]\[wasm\](?!.*wasm log)|Function: proxy_on|Uncaught|panicked|\[critical\]"
)


class Gateway:
    """A running Envoy."""

    def __init__(
        self,
        binary: Path,
        settings: Settings | dict[str, Any],
        folder: Path,
        *,
        concurrency: int = 1,
        environment: dict[str, str] | None = None,
        arguments: tuple[str, ...] = (),
    ) -> None:
        """Starts Envoy with these settings, or with a whole configuration."""
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "envoy.json"
        whole = settings if isinstance(settings, dict) else render(settings, folder)
        config.write_text(json.dumps(whole, indent=1))
        self.access_log = folder / "access.log"
        self._admin_address = folder / "admin-address.txt"
        self._admin_address.unlink(missing_ok=True)
        self.process = Process(
            "Envoy",
            [
                binary,
                *("-c", config),
                *("--concurrency", str(concurrency)),
                *("--admin-address-path", self._admin_address),
                *("--log-level", "info"),
                *("--file-flush-interval-msec", "50"),
                # Without hot restart several Envoys can run beside each other.
                "--disable-hot-restart",
                *arguments,
            ],
            folder / "envoy.log",
            output=self.access_log,
            cwd=ROOT,
            environment=environment,
        )
        self._log_position = 0

    def wait_until_ready(self) -> None:
        self.process.wait_until(self._ready)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        listeners = json.loads(self.admin("/listeners?format=json"))
        return int(listeners["listener_statuses"][0]["local_address"]["socket_address"]["port_value"])

    def admin(self, path: str) -> str:
        host, _, port = self._admin_address.read_text().strip().rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def _ready(self) -> bool:
        try:
            return self.admin("/ready").strip() == "LIVE"
        except (OSError, ValueError, http.client.HTTPException):
            return False

    def counters(self, prefix: str) -> dict[str, int]:
        """Counters and gauges whose name contains `prefix`."""
        lines = self.admin(f"/stats?filter={prefix}").splitlines()
        pairs = (line.split(": ", 1) for line in lines if ": " in line)
        return {name: int(value) for name, value in pairs if value.isdigit()}

    def trouble(self) -> list[str]:
        """Lines of Envoy's log since the last call that tell of a Wasm error; the process's end is one as well."""
        found = self.wasm_trouble(self._new_lines())
        if not self.process.alive():
            found.append(f"Envoy died. Its last line: {self.process.last_words()}")
        return found

    @staticmethod
    def wasm_trouble(lines: Iterable[str]) -> list[str]:
        return [line for line in lines if _WASM_TROUBLE.search(line)]

    def _new_lines(self) -> Iterator[str]:
        with self.process.log.open("rb") as log:
            log.seek(self._log_position)
            text = log.read()
            self._log_position += len(text)
        yield from text.decode(errors="replace").splitlines()

    def stop(self) -> None:
        self.process.stop()
