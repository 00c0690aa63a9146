"""Which kinds a sweep looks through, as read from aggregated discovery."""

import asyncio
from typing import cast

import pytest

from flywheel.kube.client import Client
from flywheel.kube.errors import ApiError
from flywheel.kube.sweep import Sweeper, listable_kinds
from flywheel.plan import Sweep


def group(name: str, *versions: dict[str, object]) -> dict[str, object]:
    return {"metadata": {"name": name} if name else {}, "versions": list(versions)}


def resource(plural: str, *verbs: str, scope: str = "Namespaced") -> dict[str, object]:
    return {"resource": plural, "verbs": list(verbs), "scope": scope}


ALL = ("get", "list", "watch", "delete", "create")


def discovery(*groups: dict[str, object]) -> dict[str, object]:
    return {"kind": "APIGroupDiscoveryList", "items": list(groups)}


def test_only_what_can_be_listed_and_deleted_is_looked_through() -> None:
    core = {"version": "v1", "resources": [resource("pods", *ALL), resource("bindings", "create")]}
    metrics = {"version": "v1beta1", "resources": [resource("pods", "get", "list")]}
    kinds, ill = listable_kinds([discovery(group("", core)), discovery(group("metrics.k8s.io", metrics))])
    assert [(kind.name, kind.location("shop")) for kind in kinds] == [("pods", "/api/v1/namespaces/shop/pods")]
    assert ill == []


def test_cluster_scoped_kinds_are_looked_through_without_a_namespace() -> None:
    version = {"version": "v1", "resources": [resource("clusterroles", *ALL, scope="Cluster")]}
    kinds, _ = listable_kinds([discovery(group("rbac.authorization.k8s.io", version))])
    assert kinds[0].location("shop") == "/apis/rbac.authorization.k8s.io/v1/clusterroles"


def test_of_several_versions_the_best_that_has_the_kind() -> None:
    new = {"version": "v2", "resources": [resource("horizontalpodautoscalers", *ALL)]}
    old = {"version": "v1", "resources": [resource("horizontalpodautoscalers", *ALL), resource("olds", *ALL)]}
    kinds, _ = listable_kinds([discovery(group("autoscaling", new, old))])
    assert [kind.path for kind in kinds] == [
        "/apis/autoscaling/v2/horizontalpodautoscalers",
        "/apis/autoscaling/v1/olds",
    ]


def test_an_api_that_is_ill_is_named() -> None:
    stale = {"version": "v1", "freshness": "Stale", "resources": []}
    assert listable_kinds([discovery(group("custom.metrics.k8s.io", stale))]) == ([], ["custom.metrics.k8s.io/v1"])


def test_a_server_without_aggregated_discovery_is_told_so() -> None:
    with pytest.raises(ApiError, match=r"Kubernetes 1\.27"):
        listable_kinds([{"kind": "APIVersions"}])


class OneAnswerLess:
    """An API server that serves pods and a guest's widgets, and answers a list of one of them with an error."""

    def __init__(self, failing: str, status: int) -> None:
        self.failing, self.status = failing, status

    async def call(self, verb: str, method: str, path: str, **_: object) -> dict[str, object]:
        if path == "/api":
            return discovery(group("", {"version": "v1", "resources": [resource("pods", *ALL)]}))
        if path == "/apis":
            stale = {"version": "v1", "freshness": "Stale", "resources": [resource("widgets", *ALL)]}
            return discovery(group("guest.example", stale))
        if path.endswith(self.failing):
            raise ApiError(self.status, "Trouble", "not now")
        return {"items": []}


def swept(failing: str, status: int) -> Sweep:
    sweeper = Sweeper(cast("Client", OneAnswerLess(failing, status)))
    return asyncio.run(sweeper.sweep("shop", "flywheel.dev/campaign=sale"))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_kind_that_fails_for_a_moment_does_not_count_as_empty(status: int) -> None:
    with pytest.raises(ApiError):
        swept("pods", status)


def test_what_may_not_be_listed_and_what_is_ill_for_good_is_named_and_holds_nothing_up() -> None:
    assert "pods" in swept("pods", 403).unchecked
    assert "widgets.guest.example" in swept("widgets", 503).unchecked
