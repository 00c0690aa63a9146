"""An API server with one Campaign whose releases go on by the operator's own rules whenever it is asked for."""

from dataclasses import dataclass, field
from typing import Any

from tests.unit.release.world import World

from flywheel.release.revision import Revision, record_manifest
from flywheel.release.state import write_release

CAMPAIGNS = "/apis/flywheel.dev/v1alpha1/namespaces/spring/campaigns/"
CONFIG_MAPS = "/api/v1/namespaces/spring/configmaps/"


@dataclass
class Api:
    """What is at the server, and how it behaves."""

    world: World
    specs: dict[str, dict[str, Any]]
    """`release` of each service."""
    annotations: dict[str, str] = field(default_factory=dict)
    config_maps: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    version: int = 1
    lag: int = 0
    """How many times the Campaign is asked for before the operator has looked at a change."""
    conflicts: int = 0
    """How many writes somebody else is faster than."""
    refuses: dict[str, int] = field(default_factory=dict)
    """Status by method, or by method and path."""
    broken: int = 0
    """How many requests get no answer."""
    asked: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    """Annotations as they were sent."""

    def __post_init__(self) -> None:
        for each in self.world.services.values():
            each.annotations = self.annotations

    @property
    def campaign(self) -> dict[str, Any]:
        services = [{"name": name, "release": spec} for name, spec in self.specs.items()]
        states = [each.state for each in self.world.services.values() if each.state]
        return {
            "apiVersion": "flywheel.dev/v1alpha1",
            "kind": "Campaign",
            "metadata": {
                "name": "shop",
                "namespace": "spring",
                "resourceVersion": str(self.version),
                "annotations": self.annotations,
                **self.metadata,
            },
            "spec": {"services": services, **self.spec},
            "status": {"releases": [write_release(each) for each in states], **self.status},
        }

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        path = path.partition("?")[0]
        self.asked.append(f"{method} {path}")
        refused = self.refuses.get(f"{method} {path}") or self.refuses.get(method)
        if refused:
            return refused, failure(refused, f"{path} is forbidden")
        if path == f"{CAMPAIGNS}shop":
            return self._patch(body) if method == "PATCH" else self._get()
        found = self.config_maps.get(path.removeprefix(CONFIG_MAPS)) if path.startswith(CONFIG_MAPS) else None
        return (200, found) if found else (404, failure(404, "not found"))

    def _get(self) -> tuple[int, dict[str, Any]]:
        if self.lag:
            self.lag -= 1
        else:
            self.world.settle()
        return 200, self.campaign

    def _patch(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.conflicts:
            self.conflicts -= 1
            self.version += 1
        if body["metadata"]["resourceVersion"] != str(self.version):
            return 409, failure(409, "somebody was faster")
        self.version += 1
        self.written += body["metadata"]["annotations"].values()
        self.annotations.update(body["metadata"]["annotations"])
        return 200, self.campaign


def keep_record(api: Api, service: str, revision: str) -> None:
    """Keep what the operator keeps of a revision."""
    made = Revision(revision, service, {"spec": {}}, (), source=f"shop:{revision}")
    manifest = record_manifest("shop", "spring", made, {})
    api.config_maps[manifest["metadata"]["name"]] = manifest


def failure(code: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": "Scripted", "message": message}
