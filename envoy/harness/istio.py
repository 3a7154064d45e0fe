"""What Istio makes of the resources in `envoy/istio` that load Weir: the extension that Envoy gets by ECDS.

After the sources of Istio (Apache-2.0; read, not run):
- `pilot/pkg/model/trafficextension.go` and `extensions.go`: `buildWasmConfig`, `buildVMConfig`, the prefixes of names.
- `pilot/pkg/networking/core/extension/extensionfilter.go`: `toEnvoyHTTPExtensionFilter`.
- `pilot/pkg/networking/core/envoyfilter/extension_configuration_patch.go`: patches only add configurations.
- `pkg/wasm/convert.go` (the agent beside Envoy): a local file in place of what is remote, no internal variables.
"""

from __future__ import annotations

import json
from typing import Any

Resource = dict[str, Any]

WASM_FILTER = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"
STRING_VALUE = "type.googleapis.com/google.protobuf.StringValue"
# Where the agent keeps what it fetched.
FETCHED = "/var/lib/istio/data/weir.wasm"
FAILURE_POLICIES = {"FAIL_OPEN": "FAIL_OPEN", "FAIL_CLOSE": "FAIL_CLOSED", "FAIL_RELOAD": "FAIL_RELOAD"}


def extension(resource: Resource) -> Resource:
    """What Envoy gets (ECDS) for a TrafficExtension, a WasmPlugin, or the EnvoyFilter that loads Weir."""
    name, config = _PLUGIN_OF[resource["kind"]](resource)
    return {
        "resources": [
            {
                "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
                "name": name,
                "typed_config": {"@type": WASM_FILTER, "config": config},
            }
        ]
    }


def document(resource: Resource) -> dict[str, Any]:
    """The policy document in such a resource."""
    _, config = _PLUGIN_OF[resource["kind"]](resource)
    return json.loads(config["configuration"]["value"])


def _plugin(resource: Resource, wasm: dict[str, Any]) -> tuple[str, Resource]:
    name = f"{resource['metadata']['namespace']}.{resource['metadata']['name']}"
    variables = wasm.get("vmConfig", {}).get("env", [])
    config = {
        "name": name,
        "root_id": wasm["pluginName"],
        # `protomarshal.ToJSON` of a Struct.
        "configuration": {"@type": STRING_VALUE, "value": json.dumps(wasm["pluginConfig"])},
        "vm_config": {
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": FETCHED}},
            "environment_variables": {
                "key_values": {each["name"]: each["value"] for each in variables if each.get("valueFrom") != "HOST"},
                "host_env_keys": [each["name"] for each in variables if each.get("valueFrom") == "HOST"],
            },
        },
        "failure_policy": FAILURE_POLICIES[wasm["failStrategy"]],
    }
    return f"extensions.istio.io/{resource['kind'].lower()}/{name}", config


def _patched(resource: Resource) -> tuple[str, Resource]:
    patches = resource["spec"]["configPatches"]
    added = next(each["patch"]["value"] for each in patches if each["applyTo"] == "EXTENSION_CONFIG")
    config = json.loads(json.dumps(added["typed_config"]["value"]["config"]))
    config["vm_config"]["code"] = {"local": {"filename": FETCHED}}
    return added["name"], config


_PLUGIN_OF = {
    "TrafficExtension": lambda resource: _plugin(resource, resource["spec"]["wasm"]),
    "WasmPlugin": lambda resource: _plugin(resource, resource["spec"]),
    "EnvoyFilter": _patched,
}
