"""Reading what revisions are, and what configures them."""

import json
from typing import Any

import pytest

from flywheel.api.service import Service
from flywheel.campaign.observed import Questions
from flywheel.kube.errors import ApiError
from flywheel.plan import Manifest, ObjectKey
from flywheel.release.records import Records
from flywheel.release.revision import Configuration, drafted, read_record, record_manifest, revision_name
from flywheel.release.work import Findings


def service(**fields: Any) -> Service:
    return Service.model_validate({"name": "web", "image": "shop/web:1", "port": 8080, **fields})


class Cluster:
    def __init__(self, *manifests: Manifest) -> None:
        self.manifests = {ObjectKey.of(each): each for each in manifests}
        self.asked: list[ObjectKey] = []
        self.refusing: set[str] = set()

    async def get(self, key: ObjectKey) -> Manifest | None:
        self.asked.append(key)
        if key.kind in self.refusing:
            raise ApiError(403, "Forbidden", "may not read it")
        return self.manifests.get(key)


def config(kind: str, name: str, **fields: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "shop"}, **fields}


async def test_a_record_is_read_once_and_a_missing_one_again() -> None:
    revision = drafted("sale", service(), "", "image", [])
    manifest = record_manifest("sale", "shop", revision, {})
    cluster = Cluster(manifest)
    records = Records(cluster)  # type: ignore[arg-type]
    asked = Questions(records=frozenset({manifest["metadata"]["name"], "missing"}))
    for _ in range(2):
        found = await records.answer("shop", asked, Findings())
        assert found.records == {manifest["metadata"]["name"]: revision, "missing": None}
    assert [key.name for key in cluster.asked].count("missing") == 2
    assert len(cluster.asked) == 3


async def test_what_may_not_be_read_is_said_and_what_is_not_there_too() -> None:
    cluster = Cluster(config("ConfigMap", "settings", data={"A": "1"}, metadata_noise=True))
    cluster.refusing.add("Secret")
    asked = Questions(configurations=frozenset({("ConfigMap", "settings"), ("ConfigMap", "none"), ("Secret", "keys")}))
    found = await Records(cluster).answer("shop", asked, Findings())  # type: ignore[arg-type]
    assert found.configurations["ConfigMap", "settings"] == Configuration("ConfigMap", "settings", {"data": {"A": "1"}})
    assert found.configurations["ConfigMap", "none"] is None
    assert found.forbidden == {("Secret", "keys")}


async def test_an_api_server_that_is_away_is_no_answer() -> None:
    class Away(Cluster):
        async def get(self, key: ObjectKey) -> Manifest | None:
            raise ApiError(503, "ServiceUnavailable", "not now")

    with pytest.raises(ApiError):
        await Records(Away()).answer("shop", Questions(configurations=frozenset({("Secret", "k")})), Findings())  # type: ignore[arg-type]


def test_only_what_changes_pods_makes_another_revision() -> None:
    name = revision_name(service(), "", [])
    same = [
        service(replicas=7),
        service(disruptionBudget={"maxUnavailable": 2}),
        service(release={"strategy": "BlueGreen", "before": [{"name": "smoke", "http": {"path": "/"}}]}),
    ]
    assert {revision_name(each, "", []) for each in same} == {name}
    other = [
        service(image="shop/web:2"),
        service(env=[{"name": "A", "value": "1"}]),
        service(port=9090),
        service(podTemplate={"metadata": {"annotations": {"a": "b"}}}),
    ]
    names = {revision_name(each, "", []) for each in other}
    names |= {revision_name(service(), "", [Configuration("ConfigMap", "c", {"data": {"a": each}})]) for each in "xy"}
    assert len(names | {name}) == 7


def test_content_is_its_commit_and_path_and_not_its_branch() -> None:
    def page(**git: Any) -> Service:
        source = {"url": "https://git.example/landing.git", **git}
        return Service.model_validate({"name": "landing", "content": {"git": source}})

    one = revision_name(page(), "a" * 40, [])
    assert revision_name(page(ref="release", interval="10s", url="https://mirror.example/l.git"), "a" * 40, []) == one
    assert revision_name(page(), "b" * 40, []) != one
    assert revision_name(page(path="/dist"), "a" * 40, []) != one


def test_a_record_that_is_none_is_passed_over() -> None:
    for data in ({}, {"revision.json": "{"}, {"revision.json": json.dumps({"revision": 1})}):
        assert read_record({"data": data}) is None
