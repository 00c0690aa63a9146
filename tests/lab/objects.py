"""Reading and writing objects of the test cluster as a stranger to the operator does: not with the code under test."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import urllib3
from kubernetes import client, config

Manifest = dict[str, Any]

PATHS: Final[Mapping[str, str]] = {
    "ABTest": "/apis/flywheel.dev/v1alpha1/{namespace}/abtests",
    "Campaign": "/apis/flywheel.dev/v1alpha1/{namespace}/campaigns",
    "ConfigMap": "/api/v1/{namespace}/configmaps",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "Deployment": "/apis/apps/v1/{namespace}/deployments",
    "Event": "/apis/events.k8s.io/v1/{namespace}/events",
    "FlinkDeployment": "/apis/flink.apache.org/v1beta1/{namespace}/flinkdeployments",
    "FraudRule": "/apis/flywheel.dev/v1alpha1/{namespace}/fraudrules",
    "HTTPRoute": "/apis/gateway.networking.k8s.io/v1/{namespace}/httproutes",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/{namespace}/horizontalpodautoscalers",
    "Namespace": "/api/v1/namespaces",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/{namespace}/networkpolicies",
    "PersistentVolumeClaim": "/api/v1/{namespace}/persistentvolumeclaims",
    "Pod": "/api/v1/{namespace}/pods",
    "PodDisruptionBudget": "/apis/policy/v1/{namespace}/poddisruptionbudgets",
    "ResourceQuota": "/api/v1/{namespace}/resourcequotas",
    "Role": "/apis/rbac.authorization.k8s.io/v1/{namespace}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/{namespace}/rolebindings",
    "Secret": "/api/v1/{namespace}/secrets",
    "Service": "/api/v1/{namespace}/services",
    "ServiceAccount": "/api/v1/{namespace}/serviceaccounts",
    "StatefulSet": "/apis/apps/v1/{namespace}/statefulsets",
}
"""Where the objects of each kind are; `{namespace}` stands for the part that names the namespace."""

CHILD_KINDS = ("Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Service", "ServiceAccount")
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


@dataclass(frozen=True)
class Seen:
    """One state of an object, and when the watch told of it (seconds since 1970)."""

    at: float
    type: str
    manifest: Manifest


class Objects:
    """The objects of one namespace."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self.namespace = namespace
        self._kubeconfig = kubeconfig
        self._client = config.new_client_from_config(str(kubeconfig))

    def within(self, namespace: str) -> "Objects":
        """Return the same for another namespace."""
        return Objects(self._kubeconfig, namespace)

    def get(self, kind: str, name: str) -> Manifest | None:
        """Read one object; None if there is none."""
        try:
            return self._call("GET", self._path(kind, name))
        except client.ApiException as error:
            if error.status == 404:
                return None
            raise

    def read(self, kind: str, name: str) -> Manifest:
        """Read one object that is there."""
        found = self.get(kind, name)
        assert found is not None, f"there is no {kind} {self.namespace}/{name}"
        return found

    def select(self, kind: str, selector: str = "") -> list[Manifest]:
        """Read all objects of a kind that carry the labels."""
        found: list[Manifest] = self._call("GET", self._path(kind), query={"labelSelector": selector})["items"]
        return found

    def create(self, manifest: Manifest) -> Manifest:
        """Create an object as kubectl create does."""
        return self._call("POST", self._path(manifest["kind"]), body=manifest)

    def refusal(self, manifest: Manifest, *, applied: bool) -> str:
        """Say why the API server would not take an object that is created, or applied, by kubectl; empty if it would.

        Without kubectl itself: a process for each of hundreds of objects takes a minute.
        """
        kind, query = manifest["kind"], {"dryRun": "All", "fieldValidation": "Strict"}
        try:
            if applied:
                path = self._path(kind, manifest["metadata"]["name"])
                self._call("PATCH", path, query={**query, "fieldManager": "kubectl"}, body=manifest, content_type=APPLY)
            else:
                self._call("POST", self._path(kind), query=query, body=manifest)
        except client.ApiException as error:
            return str(json.loads(error.body)["message"])
        return ""

    def apply(self, manifest: Manifest, manager: str = "somebody") -> Manifest:
        """Apply an object on the server's side, taking over what others own."""
        path = self._path(manifest["kind"], manifest["metadata"]["name"])
        query = {"fieldManager": manager, "force": "true"}
        return self._call("PATCH", path, query=query, body=manifest, content_type=APPLY)

    def patch(self, kind: str, name: str, patch: object, subresource: str = "", manager: str = "somebody") -> Manifest:
        """Change an object: a mapping is a merge patch, a list a JSON patch."""
        content_type = JSON_PATCH if isinstance(patch, list) else MERGE
        path = self._path(kind, name) + (f"/{subresource}" if subresource else "")
        return self._call("PATCH", path, query={"fieldManager": manager}, body=patch, content_type=content_type)

    def delete(self, kind: str, name: str, propagation: str = "Background") -> None:
        """Ask for an object to be deleted; one that is gone already is as good."""
        try:
            self._call("DELETE", self._path(kind, name), body={"propagationPolicy": propagation})
        except client.ApiException as error:
            if error.status != 404:
                raise

    @contextmanager
    def watching(self, kind: str, name: str) -> Iterator[list[Seen]]:
        """Collect every state of one object while the block runs: none is missed, as with polling."""
        listed = self._call("GET", self._path(kind), query={"fieldSelector": f"metadata.name={name}"})
        seen = [Seen(time.time(), "PRESENT", item) for item in listed["items"]]
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": listed["metadata"]["resourceVersion"],
        }
        answer = self._open(f"{self._path(kind)}?{urlencode(query)}")
        thread = threading.Thread(target=_collect, args=(answer, seen), daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            answer.shutdown()
            thread.join(timeout=10)
            answer.close()

    def _path(self, kind: str, name: str = "") -> str:
        path = PATHS[kind].format(namespace=f"namespaces/{self.namespace}")
        return f"{path}/{name}" if name else path

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> Manifest:
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        request = self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        response = self._client.call_api(*request)
        content = response.read()
        if not 200 <= response.status <= 299:
            raise client.ApiException(status=response.status, reason=response.reason, body=content.decode())
        answer: Manifest = json.loads(content)
        return answer

    def _open(self, path: str) -> urllib3.BaseHTTPResponse:
        _, url, headers, *_ = self._client.param_serialize("GET", path, auth_settings=["BearerToken"])
        pool: urllib3.PoolManager = self._client.rest_client.pool_manager
        return pool.request("GET", url, headers=headers, preload_content=False)


def _collect(answer: urllib3.BaseHTTPResponse, seen: list[Seen]) -> None:
    rest = b""
    try:
        for piece in answer.stream(65536):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
                    seen.append(Seen(time.time(), event["type"], event["object"]))
    except (urllib3.exceptions.HTTPError, OSError, ValueError):
        # The block has ended and the connection was shut.
        return
