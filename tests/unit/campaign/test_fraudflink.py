"""Rules that Flink judges by: what is applied for them, when they are handed over, and what is told of them."""

import dataclasses
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pytest
from tests.unit.campaign.test_fraudplan import NOW, SHOP, campaign, condition, figures, manifest, planned, rule
from tests.unit.campaign.test_fraudreconcile import World as RuleWorld

from flywheel.api.fraudrule import FraudRule
from flywheel.api.load import load_fraudrule
from flywheel.campaign.fraudflink import API_GROUP, KIND, Beyond, job_name
from flywheel.campaign.fraudplan import FraudPlan
from flywheel.campaign.fraudreconcile import FraudReconciler
from flywheel.campaign.fraudtold import Seen, WorkerState, status_of
from flywheel.fraud.kafka import Kafka
from flywheel.fraud.outgrown import NOTHING, Outgrown
from flywheel.kube.errors import ApiError
from flywheel.kube.live import live_object
from flywheel.plan import LiveObject, Manifest, ObjectKey

WAY = Outgrown(Kafka("kafka:9092"), "shop/flink:2.3-kafka", "s3://flink/flywheel", 2)
BEYOND = Beyond(WAY, is_served=True)
NAME = job_name("burst", SHOP)
DEPLOYMENT = ObjectKey(API_GROUP, KIND, "shop", NAME)
RUNNING = {"jobStatus": {"state": "RUNNING"}, "reconciliationStatus": {"state": "DEPLOYED"}, "observedGeneration": 1}


def flink(generation: int = 1, **spec: Any) -> FraudRule:
    made = manifest(generation=generation, engine="Flink", **spec)
    made["metadata"] |= {"uid": "uid-of-rule"}
    return load_fraudrule(made)


def applied(plan: FraudPlan) -> list[Manifest]:
    return [each for job in plan.jobs for each in job.apply]


def lived(
    manifests: Iterable[Manifest], status: Manifest | None = None, generation: int = 1
) -> dict[ObjectKey, LiveObject]:
    """The cluster as it is after these were applied."""
    found = {}
    for number, each in enumerate(manifests):
        metadata = {**each["metadata"], "uid": f"uid-{number}", "resourceVersion": "1", "generation": generation}
        live = live_object({**each, "metadata": metadata, "status": (status or {}) if each["kind"] == KIND else {}})
        found[live.key] = live
    return found


def engine(plan: FraudPlan) -> str:
    [judged] = plan.judged
    assert judged.ruled is not None
    return judged.ruled.engine


def told(plan: FraudPlan, live: dict[ObjectKey, LiveObject], held: Manifest | None = None, **seen: Any) -> Manifest:
    [judged] = plan.judged
    return status_of(judged, held or {}, Seen(seen.pop("workers", {}), live=live, **seen), NOW)


def stalled(plan: FraudPlan) -> str:
    found = condition(told(plan, {}), "Stalled")
    assert (found["status"], found["reason"]) == ("True", "Invalid")
    return str(found["message"])


@pytest.mark.parametrize(
    ("outgrown", "missing"),
    [
        (NOTHING, "fraud.kafka.servers, fraud.flink.image, fraud.flink.directory"),
        (dataclasses.replace(WAY, kafka=None), "fraud.kafka.servers"),
        (dataclasses.replace(WAY, image=""), "fraud.flink.image"),
        (dataclasses.replace(WAY, directory=""), "fraud.flink.directory"),
    ],
)
def test_what_is_missing_is_named_and_what_was_taken_last_goes_on(outgrown: Outgrown, missing: str) -> None:
    [good] = planned(rule()).judged
    assert good.ruled is not None
    plan = planned(flink(2), held={SHOP: (good.ruled,)}, beyond=Beyond(outgrown, is_served=True))
    assert f"spec.engine: this operator knows no Flink: set {missing} of its chart" in stalled(plan)
    assert plan.jobs == ()
    [worker] = [each for each in plan.apply if each["kind"] == "ConfigMap"]
    assert '"burst"' in worker["data"]["rules.json"]


def test_a_cluster_without_flinks_operator_is_a_condition() -> None:
    plan = planned(flink(), beyond=Beyond(WAY, is_served=False))
    assert "the cluster has no FlinkDeployment: install the Flink Kubernetes operator" in stalled(plan)
    assert plan.jobs == ()


def test_a_rule_has_a_job_for_each_of_its_open_campaigns() -> None:
    shops = tuple(campaign(name, labels={"season": "sale"}) for name in ("a", "b", "c"))
    wide = flink(campaign=None, selector={"matchLabels": {"season": "sale"}})
    plan = planned(wide, campaigns=shops, opened=frozenset({"a", "b"}), beyond=BEYOND)
    deployments = [each for each in applied(plan) if each["kind"] == KIND]
    assert [each["metadata"]["name"] for each in deployments] == [job_name("burst", "a"), job_name("burst", "b")]
    assert all(job.owner["uid"] == "uid-of-rule" and job.owner["kind"] == "FraudRule" for job in plan.jobs)


def test_the_job_reads_and_writes_the_topics_and_its_pods_are_none_of_the_workers() -> None:
    sql, deployment = applied(planned(flink(), beyond=BEYOND))
    text = sql["data"]["rule.sql"]
    assert f"'flywheel.shop.{SHOP}.events'" in text
    assert f"'flywheel.shop.{SHOP}.verdicts'" in text
    assert deployment["spec"]["podTemplate"]["spec"]["volumes"] == [
        {"name": "rule", "configMap": {"name": sql["metadata"]["name"]}}
    ]
    assert deployment["spec"]["job"]["upgradeMode"] == "savepoint"
    assert deployment["metadata"]["labels"]["flywheel.dev/shared"] == "fraud"
    # The Service, the NetworkPolicy and the budget of the worker go by this label.
    assert "flywheel.dev/shared" not in deployment["spec"]["podTemplate"]["metadata"]["labels"]


def test_secrets_are_files_of_the_pods_and_in_no_object() -> None:
    kafka = Kafka("kafka:9093", "shop", "SASL_SSL", "SCRAM-SHA-256", "login", certificate=True)
    plan = planned(flink(), beyond=Beyond(dataclasses.replace(WAY, kafka=kafka), is_served=True))
    sql, deployment = applied(plan)
    pod = deployment["spec"]["podTemplate"]["spec"]
    assert {"name": "kafka", "secret": {"secretName": "login"}} in pod["volumes"]
    [mount] = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "kafka"]
    assert mount["mountPath"] == "/etc/flywheel/kafka"
    text = sql["data"]["rule.sql"]
    assert "properties.sasl.jaas.config" in text
    assert "ScramLoginModule" in text
    worker = plan.apply[-1]["spec"]["template"]["spec"]
    assert {"name": "kafka", "secret": {"secretName": "login", "optional": True}} in worker["volumes"]
    assert "--kafka-secret=login" in worker["containers"][0]["args"]


def test_without_kafka_the_worker_is_what_it_was() -> None:
    assert planned(rule(), beyond=Beyond(NOTHING)).apply == planned(rule()).apply


def test_the_worker_judges_until_the_job_runs_and_never_after() -> None:
    plan = planned(flink(), beyond=BEYOND)
    assert engine(plan) == "Starting"
    live = lived(applied(plan), {"jobStatus": {"state": "RECONCILING"}})
    assert engine(planned(flink(), beyond=BEYOND, live=live)) == "Starting"
    live = lived(applied(plan), RUNNING)
    plan = planned(flink(), beyond=BEYOND, live=live)
    assert engine(plan) == "Flink"
    status = told(plan, live)
    assert condition(status, "Flink")["reason"] == "Running"
    workers = {SHOP: (WorkerState("flywheel-fraud-0", {"burst": figures()}),)}
    status = told(plan, live, status, workers=workers)
    assert status["hits"] == 3
    live = lived(applied(plan), {"jobStatus": {"state": "RESTARTING"}})
    plan = planned(flink(), beyond=BEYOND, live=live, statuses={"burst": status})
    assert engine(plan) == "Flink"
    assert condition(told(plan, live, status), "Flink")["reason"] == "Restarting"


def test_whoever_goes_back_to_the_worker_begins_anew_next_time() -> None:
    ran = told(planned(flink(), beyond=BEYOND, live=lived(applied(planned(flink(), beyond=BEYOND)), RUNNING)), {})
    assert ran["record"] == {"flink": {"ran": True}}
    back = planned(rule(generation=2), beyond=BEYOND, statuses={"burst": ran})
    assert engine(back) == "Embedded"
    status = told(back, {}, ran)
    assert status["record"] == {}
    assert not [each for each in status["conditions"] if each["type"] == "Flink"]
    assert engine(planned(flink(3), beyond=BEYOND, statuses={"burst": status})) == "Starting"


def test_a_campaign_that_opens_again_begins_with_the_worker() -> None:
    ran = {"record": {"flink": {"ran": True}}}
    closed = planned(flink(), opened=frozenset(), beyond=BEYOND, statuses={"burst": ran})
    status = told(closed, {}, ran)
    assert status["record"] == {}
    assert engine(planned(flink(), beyond=BEYOND, statuses={"burst": status})) == "Starting"


def test_what_no_rule_wants_any_more_goes_and_what_cannot_be_carried_out_stays() -> None:
    good = planned(flink(), beyond=BEYOND)
    live = lived(applied(good), RUNNING)
    held = {SHOP: tuple(each.ruled for each in good.judged if each.ruled)}
    gone = planned(rule(), beyond=BEYOND, live=live).delete
    assert [each.key.kind for each in gone] == [KIND, "ConfigMap"]
    assert planned(flink(match={"event": "Coupon Claimd"}), held=held, beyond=BEYOND, live=live).delete == ()
    assert planned(flink(match={"event": "Coupon Claimd"}), beyond=BEYOND, live=live).delete == gone, "with no worker"
    assert planned(rule("other"), beyond=BEYOND, live=live).delete == gone
    assert planned(flink(), beyond=BEYOND, live=live).delete == ()


def test_the_sql_before_stays_until_the_job_runs_by_the_newest() -> None:
    first, second = (planned(flink(condition={"count": {"moreThan": n}}), beyond=BEYOND) for n in (20, 30))
    old, new = applied(first), applied(second)
    assert old[0]["metadata"]["name"] != new[0]["metadata"]["name"]
    assert old[1]["metadata"]["name"] == new[1]["metadata"]["name"]

    def leftover(objects: list[Manifest], status: Manifest, generation: int) -> list[str]:
        live = lived(objects, status, generation)
        plan = planned(flink(condition={"count": {"moreThan": 30}}), beyond=BEYOND, live=live)
        return [each.key.name for each in plan.delete]

    assert leftover(old, RUNNING, 1) == [], "the new one is not even applied"
    assert leftover([old[0], *new], RUNNING, 2) == [], "its operator has not seen it"
    upgrading = {**RUNNING, "observedGeneration": 2, "reconciliationStatus": {"state": "UPGRADING"}}
    assert leftover([old[0], *new], upgrading, 2) == []
    assert leftover([old[0], *new], {**RUNNING, "observedGeneration": 2}, 2) == [old[0]["metadata"]["name"]]


def test_a_rule_that_is_off_stops_its_job_with_a_savepoint() -> None:
    _, deployment = applied(plan := planned(flink(mode="Off"), beyond=BEYOND))
    assert deployment["spec"]["job"]["state"] == "suspended"
    assert condition(told(plan, {}), "Flink")["reason"] == "Suspended"


def test_what_is_done_about_verdicts_changes_no_job() -> None:
    other = {
        "mode": "Enforce",
        "share": "20%",
        "holdout": "5%",
        "exempt": [{"where": [{"field": "user", "operator": "Exists"}]}],
    }
    assert applied(planned(flink(**other), beyond=BEYOND)) == applied(planned(flink(), beyond=BEYOND))


@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        ({"jobStatus": {"state": "FAILED"}}, "Failed", "the job is FAILED"),
        (
            {"error": '{"type": "x.Exception", "message": "no such bucket"}', "lifecycleState": "FAILED"},
            "Failed",
            "no such bucket",
        ),
        ({"error": "plain text"}, "Failed", "plain text"),
        ({"error": "[1]" + "x" * 5000}, "Failed", "[1]x"),
        ({**RUNNING, "error": '{"message": "of an attempt before"}'}, "Running", NAME),
        ({"lifecycleState": "CREATED"}, "Starting", "is CREATED"),
        ({}, "Starting", "not seen to by Flink's operator yet"),
    ],
)
def test_what_flink_says_is_told(status: Manifest, reason: str, said: str) -> None:
    live = lived(applied(planned(flink(), beyond=BEYOND)), status)
    found = condition(told(planned(flink(), beyond=BEYOND, live=live), live), "Flink")
    assert found["reason"] == reason
    assert said in found["message"]
    assert len(found["message"]) <= 1024


def test_a_worker_that_does_not_reach_kafka_says_so() -> None:
    live = lived(applied(planned(flink(), beyond=BEYOND)), RUNNING)
    workers = {SHOP: (WorkerState("flywheel-fraud-0", {}, kafka="no broker answers"),)}
    found = condition(told(planned(flink(), beyond=BEYOND, live=live), live, workers=workers), "Flink")
    assert (found["status"], found["reason"]) == ("False", "KafkaAway")
    assert "no broker answers" in found["message"]


class World(RuleWorld):
    """A namespace whose API server may or may not know FlinkDeployments, or let us write them."""

    def __init__(self, *rules: Manifest, served: bool = True, refuses: int = 0, **more: Any) -> None:
        super().__init__(*rules, **more)
        self.served, self.refuses = served, refuses
        self.applied: list[Manifest] = []

    async def is_served(self, *_: str) -> bool:
        return self.served

    async def apply(self, body: Manifest, *, subresource: str = "") -> Manifest:
        if body["kind"] == KIND and self.refuses:
            raise ApiError(self.refuses, "Forbidden", "you may not")
        if not subresource:
            self.applied.append(body)
        return await super().apply(body, subresource=subresource)


def opened() -> Manifest:
    service = {"name": "web", "image": "shop/web:1", "port": 8080, "replicas": 3}
    edge = {"routes": [{"path": "/", "service": "web"}], "events": {"declared": [{"name": "Coupon Claimed"}]}}
    return {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "Campaign",
        "metadata": {"name": SHOP, "namespace": "shop", "uid": "uid", "generation": 1},
        "spec": {"services": [service], "edge": edge},
        "status": {"stage": "Live"},
    }


async def reconciled(world: World, now: datetime = NOW) -> Manifest:
    made = FraudReconciler(world, world, world, "image", clock=lambda: now, outgrown=WAY)  # type: ignore[arg-type]
    await made.reconcile("shop")
    return world.statuses[-1]


def asked() -> Manifest:
    made = manifest(engine="Flink")
    made["metadata"] |= {"uid": "uid-of-rule"}
    return made


async def test_the_job_is_applied_after_the_worker_and_owned_by_its_rule() -> None:
    world = World(asked(), campaigns=(opened(),))
    status = await reconciled(world)
    kinds = [each["kind"] for each in world.applied]
    assert kinds[-2:] == ["ConfigMap", KIND]
    for each in world.applied[-2:]:
        [owner] = each["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("FraudRule", "burst", "uid-of-rule")
    assert condition(status, "Flink")["reason"] == "Starting"


@pytest.mark.parametrize("code", [403, 404, 422, 503])
async def test_a_server_that_takes_no_flinkdeployment_takes_nothing_from_the_worker(code: int) -> None:
    world = World(asked(), campaigns=(opened(),), refuses=code)
    status = await reconciled(world)
    assert "StatefulSet" in [each["kind"] for each in world.applied]
    found = condition(status, "Flink")
    assert (found["status"], found["reason"]) == ("False", "Refused")
    assert "you may not" in found["message"]


async def test_an_unknown_kind_is_told_and_nothing_of_it_is_applied() -> None:
    world = World(asked(), campaigns=(opened(),), served=False)
    status = await reconciled(world)
    assert KIND not in [each["kind"] for each in world.applied]
    assert condition(status, "Stalled")["reason"] == "Invalid"
