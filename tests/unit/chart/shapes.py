"""A check of manifests against the shapes of Kubernetes' own API, without a cluster.

The models of the official client are generated from the API's published description, so their names, types and
required fields are the API's. An unknown field, a wrong type or a missing field is a finding.
"""

from typing import Any

from kubernetes import client
from pydantic import ValidationError


def findings(manifest: dict[str, Any]) -> list[str]:
    """List what Kubernetes would not understand in `manifest`; empty when it is well formed."""
    version = manifest["apiVersion"].rpartition("/")[2]
    kind = manifest["kind"]
    model = getattr(client, version[0].upper() + version[1:] + kind, None)
    if model is None:
        return [f"no kind {kind} in {manifest['apiVersion']}"]
    try:
        model.model_validate(manifest, strict=True)
    except ValidationError as error:
        return [f"{kind}.{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return []
