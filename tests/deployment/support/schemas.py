"""Schemas of Kubernetes resources: the core ones from a package, those of Istio and Envoy Gateway from `WEIR_CRDS`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

Resource = dict[str, Any]

CRDS = Path(os.environ.get("WEIR_CRDS", ""))
KUBERNETES = "1.33"
CUSTOM_GROUPS = ("istio.io", "envoyproxy.io")
# No schema of these is at hand, neither in a package nor among the CRDs: that they are sound is not tested.
UNCHECKED = {("gateway.networking.k8s.io/v1", "HTTPRoute"), ("monitoring.coreos.com/v1", "ServiceMonitor")}


def faults(resource: Resource) -> Iterator[str]:
    """What is wrong with a resource. One whose kind is not known is wrong."""
    version, kind = resource["apiVersion"], resource["kind"]
    if (version, kind) in UNCHECKED:
        return
    if version.partition("/")[0].endswith(CUSTOM_GROUPS):
        schema = custom_schemas().get((version, kind))
        if schema is None:
            yield f"no schema of {version} {kind}"
            return
        for error in jsonschema.Draft202012Validator(schema).iter_errors(resource):
            yield f"{error.json_path}: {error.message}"
        return
    try:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        yield str(error)


def have_custom_schemas() -> bool:
    return bool(os.environ.get("WEIR_CRDS")) and CRDS.is_dir()


@cache
def custom_schemas() -> dict[tuple[str, str], Any]:
    """Schema by apiVersion and kind."""
    found = {}
    for file in sorted(CRDS.glob("*.yaml")):
        for definition in filter(None, yaml.safe_load_all(file.read_text())):
            spec = definition["spec"]
            for version in spec["versions"]:
                schema = _closed(version["schema"]["openAPIV3Schema"])
                # What every resource has, and CRDs leave out.
                schema["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
                schema["properties"]["metadata"] = {"type": "object"}
                found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return found


def _closed(schema: Any) -> Any:
    """The schema, with unknown fields forbidden where it does not keep them."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if named and not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
        closed["additionalProperties"] = False
    return closed
