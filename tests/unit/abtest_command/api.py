"""An API server with tests, their Campaigns and ConfigMaps, over HTTP."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

ROOT = "/apis/flywheel.dev/v1alpha1"
Answer = tuple[int, dict[str, Any]]


def failure(code: int, message: str) -> Answer:
    return code, {"kind": "Status", "code": code, "reason": "Scripted", "message": message}


@dataclass
class Api:
    """What is at the server, and how it behaves."""

    tests: dict[str, dict[str, Any]] = field(default_factory=dict)
    campaigns: dict[str, dict[str, Any]] = field(default_factory=dict)
    config_maps: dict[str, dict[str, Any]] = field(default_factory=dict)
    conflicts: int = 0
    """How many writes somebody else is faster than."""
    refuses: dict[str, int] = field(default_factory=dict)
    """Status by method."""
    broken: int = 0
    """How many requests get no answer."""
    asked: list[str] = field(default_factory=list)
    patches: list[dict[str, Any]] = field(default_factory=list)
    managers: list[str] = field(default_factory=list)
    on_get: Callable[[], None] = lambda: None

    def answer(self, method: str, target: str, body: dict[str, Any]) -> Answer:
        path, _, query = target.partition("?")
        self.asked.append(f"{method} {path}")
        if method in self.refuses:
            return failure(self.refuses[method], f"{path} is forbidden")
        if method == "GET" and path in (f"{ROOT}/namespaces/spring/abtests", f"{ROOT}/abtests"):
            return 200, {"metadata": {}, "items": list(self.tests.values())}
        for kind, held in (("abtests", self.tests), ("campaigns", self.campaigns)):
            prefix = f"{ROOT}/namespaces/spring/{kind}/"
            if path.startswith(prefix) and path.removeprefix(prefix) in held:
                return self._of(method, held[path.removeprefix(prefix)], body, query)
        name = path.removeprefix("/api/v1/namespaces/spring/configmaps/")
        return (200, self.config_maps[name]) if name in self.config_maps else failure(404, "not found")

    def _of(self, method: str, manifest: dict[str, Any], body: dict[str, Any], query: str) -> Answer:
        if method == "GET":
            self.on_get()
            return 200, manifest
        metadata = manifest["metadata"]
        if self.conflicts:
            self.conflicts -= 1
            metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        if body["metadata"].pop("resourceVersion") != metadata["resourceVersion"]:
            return failure(409, "somebody was faster")
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        self.patches.append({name: value for name, value in body.items() if value})
        self.managers.append(query)
        merge(manifest, body)
        return 200, manifest


def merge(base: dict[str, Any], patch: dict[str, Any]) -> None:
    for name, value in patch.items():
        if isinstance(value, dict):
            merge(base.setdefault(name, {}), value)
        else:
            base[name] = value
