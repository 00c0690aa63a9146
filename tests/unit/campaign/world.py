"""A cluster reduced to what decisions can see of it: enough to play a Campaign through, step by step, in no time."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from flywheel.campaign.conclude import conclude
from flywheel.campaign.decide import decide
from flywheel.campaign.decision import Course, Decision
from flywheel.campaign.inventory import entries, recorded
from flywheel.campaign.observed import Observed, Questions
from flywheel.campaign.releasetold import release_fields, release_notices
from flywheel.plan import (
    CAMPAIGN_LABEL,
    FINALIZER,
    REVISION_LABEL,
    SLOT_LABEL,
    LiveObject,
    Manifest,
    ObjectKey,
    Outcome,
    Sweep,
    content_hash,
)
from flywheel.release.gate.measurement import Measurement
from flywheel.release.gate.measurement import Outcome as Found
from flywheel.release.jobs import JobPods
from flywheel.release.revision import Configuration, Revision, read_record
from flywheel.release.work import Findings, Look, Work
from flywheel.workload.provider import Provider

UID = "0b9ab5a2-6d8f-4d0b-8a1b-1a5f5f3c0618"


def answered(manifest: Manifest) -> Manifest:
    """Give back what an API server answers to a write: JSON, in which there are no tuples."""
    read: Manifest = json.loads(json.dumps(manifest))
    return read


def campaign(spec: Mapping[str, Any], name: str = "yougou-618") -> Manifest:
    metadata = {"name": name, "namespace": "shop", "uid": UID, "generation": 1, "resourceVersion": "1"}
    return {"apiVersion": "flywheel.dev/v1alpha1", "kind": "Campaign", "metadata": metadata, "spec": dict(spec)}


class KilledError(Exception):
    """The operator died here."""


class World:
    """One Campaign and its children. `budget` counts the writes until the operator dies; None: it lives."""

    def __init__(self, manifest: Manifest, *, served: bool = True) -> None:
        self.manifest = manifest
        self.children: dict[ObjectKey, LiveObject] = {}
        self.served = served
        self.writes = 0
        self.budget: int | None = None
        self.gone = False
        self.notices: list[str] = []
        self.broken_images: set[str] = set()
        self.edge_pods: tuple[str, ...] = ()
        self.shared: dict[ObjectKey, LiveObject] = {}
        self.provider = Provider()
        self.manifests: dict[ObjectKey, Manifest] = {}
        """What was applied, of what a decision may ask to read again."""
        self.configurations: dict[tuple[str, str], Configuration] = {}
        self.answers: dict[str, Measurement] = {}
        """What gates find, by their name; nothing said: all is well."""
        self.looks: list[Look] = []
        """Measurements that were made, in their order."""
        self.findings = Findings()
        self.tests: tuple[Manifest, ...] = ()
        self.job_pods: dict[str, JobPods] = {}
        """What the pods of gates' Jobs have said, by the gate; nothing said: they are at work."""
        self.crashing: set[str] = set()
        """Revisions whose pods do not become ready."""

    @property
    def status(self) -> Mapping[str, Any]:
        return self.manifest.get("status", {})

    def condition(self, type_: str) -> Mapping[str, Any]:
        return next((each for each in self.status.get("conditions", []) if each["type"] == type_), {})

    def kinds(self) -> list[str]:
        return sorted(key.kind for key in self.children if key.kind != "ConfigMap")

    def size(self, service: str) -> int | None:
        key = ObjectKey("apps", "Deployment", "shop", f"yougou-618-{service}")
        return self.children[key].replicas

    def edit(self, **spec: Any) -> None:
        self.manifest = {**self.manifest, "spec": {**self.manifest["spec"], **spec}}
        metadata = {**self.manifest["metadata"], "generation": self.manifest["metadata"]["generation"] + 1}
        self.manifest["metadata"] = metadata

    def delete(self) -> None:
        if FINALIZER not in self.manifest["metadata"].get("finalizers", []):
            self.gone = True
            self.children.clear()  # the garbage collector follows the owner references
        self.manifest["metadata"]["deletionTimestamp"] = "2027-06-17T00:00:00Z"

    def observed(self) -> Observed:
        labelled = {key: live for key, live in self.children.items() if live.campaign}
        neighbours = (self.manifest,)
        return Observed(
            self.manifest,
            labelled,
            neighbours=neighbours,
            shared=self.shared,
            provider=self.provider,
            findings=self.findings,
            tests=self.tests,
        )

    def decide(self, now: datetime) -> tuple[Observed, Decision]:
        observed = self.observed()
        for _ in range(5):
            decision = decide(observed, now)
            if not decision.questions:
                return observed, decision
            observed = self._answer(observed, decision)
        raise AssertionError(f"still asking: {decision.questions}")

    def _answer(self, observed: Observed, decision: Decision) -> Observed:
        asked = decision.questions
        found = {key: self.children[key] for key in asked.lookups if key in self.children}
        return replace(
            observed,
            children={**observed.children, **found},
            absent=observed.absent | (asked.lookups - found.keys()),
            served={**observed.served, **dict.fromkeys(asked.apis, self.served)},
            troubles={**observed.troubles, **dict.fromkeys(asked.pods)},
            edge_pods=self.edge_pods if asked.edge_pods else observed.edge_pods,
            sweep=Sweep(checked=70) if asked.sweep else observed.sweep,
            findings=self._read(observed.findings, asked),
            job_pods={**observed.job_pods, **{name: self._said_by(name) for name in asked.jobs}},
        )

    def _said_by(self, job: str) -> JobPods:
        labels = self.manifests[ObjectKey("batch", "Job", "shop", job)]["metadata"]["labels"]
        return self.job_pods.get(labels["app.kubernetes.io/name"], JobPods())

    def _read(self, findings: Findings, asked: Questions) -> Findings:
        found = {key: self.configurations.get(key) for key in asked.configurations}
        records = {name: self._record(name) for name in asked.records}
        return replace(
            findings,
            configurations={**findings.configurations, **found},  # type: ignore[dict-item]
            records={**findings.records, **records},
        )

    def _record(self, name: str) -> Revision | None:
        manifest = self.manifests.get(ObjectKey("", "ConfigMap", "shop", name))
        return read_record(manifest) if manifest else None

    def _measure(self, work: Work) -> None:
        """Measure what is wanted at once; forget what is wanted no more."""
        made = {}
        for wanted in work.measuring:
            found = self.findings.measurements.get(wanted.look)
            if found is None:
                self.looks.append(wanted.look)
                found = self.answers.get(wanted.gate.name, Measurement(Found.SUCCESS, "as wanted"))
            made[wanted.look] = found
        self.findings = replace(
            self.findings,
            measurements=made,
            reachable=frozenset(each.pods for each in work.probing),
            drained=frozenset(each.pods for each in work.telling if not each.resume),
            resumed=frozenset(each.pods for each in work.telling if each.resume),
        )

    def reconcile(self, now: datetime) -> None:
        observed, decision = self.decide(now)
        if decision.plan.finalizer and not observed.has_finalizer:
            self._write()
            self.manifest["metadata"]["finalizers"] = [FINALIZER]
        self._record_ahead(observed, decision)
        outcomes = [self._remove(key) for key in decision.plan.release]
        outcomes += [self._remove(deletion.key) for deletion in decision.plan.delete]
        outcomes += [self._apply(manifest) for manifest in decision.plan.apply]
        outcomes += [self._remove(deletion.key) for deletion in decision.plan.prune]
        conclusion = conclude(observed, decision, outcomes, now)
        self.notices += [notice.reason for notice in conclusion.notices]
        if conclusion.status != self.status and not (observed.is_deleting and not decision.plan.finalizer):
            self._write()
            self.manifest["status"] = answered(conclusion.status)
        if observed.has_finalizer and not decision.plan.finalizer:
            self._write()
            self.manifest["metadata"]["finalizers"] = []
            self.gone = observed.is_deleting
        self._measure(decision.work)

    def _record_ahead(self, observed: Observed, decision: Decision) -> None:
        new = [key for key in decision.plan.inventory if key not in recorded(observed)]
        releases = release_fields(observed, decision) if decision.course is Course.RUN else {}
        moved = bool(releases) and releases["releases"] != list(self.status.get("releases") or [])
        if new or moved:
            self.notices += [notice.reason for notice in release_notices(observed, decision)] if moved else []
            self._write()
            ahead = {"inventory": {"entries": entries([*recorded(observed), *new])}, **releases}
            self.manifest["status"] = answered({**self.status, **ahead})

    def edge_says(self, **said: Mapping[str, Any]) -> None:
        """Write down what edge pods say of themselves; names of pods with `_` for `-`."""
        key = ObjectKey("", "ConfigMap", "shop", f"{self.manifest['metadata']['name']}-edge-applied")
        data = {name.replace("_", "-"): json.dumps(entry) for name, entry in said.items()}
        self.children[key] = replace(self.children[key], status={"data": data})

    def store_serves(self) -> None:
        """Let there be a worker of the namespace's store, at work."""
        key = ObjectKey("apps", "StatefulSet", "shop", "flywheel-analytics")
        status = {"observedGeneration": 1, "updatedReplicas": 1, "readyReplicas": 1}
        self.shared[key] = LiveObject(key, "uid", 1, 1, "", "", "", "", False, status=status)

    def settle(self, now: datetime, rounds: int = 12) -> None:
        """Reconcile until a round writes nothing."""
        for _ in range(rounds):
            before = self.writes
            self.reconcile(now)
            if self.writes == before or self.gone:
                return
        raise AssertionError(f"does not come to rest: {self.status}")

    def _write(self) -> None:
        if self.budget is not None:
            if self.budget == 0:
                raise KilledError
            self.budget -= 1
        self.writes += 1

    def pods_follow(self) -> None:
        """Let every Deployment of a released service have the pods that it asks for, unless its revision crashes."""
        for key, live in list(self.children.items()):
            if key.kind == "Deployment" and live.revision:
                ready = self._ready(live.generation, live.replicas or 0)
                if live.revision in self.crashing:
                    ready |= {"readyReplicas": 0, "availableReplicas": 0}
                self.children[key] = replace(live, status=ready)

    def _remove(self, key: ObjectKey) -> Outcome:
        self._write()
        self.children.pop(key, None)
        return Outcome(key)

    def _apply(self, manifest: Manifest) -> Outcome:
        key = ObjectKey.of(manifest)
        assert key in recorded(self.observed()), f"{key} is created before it is in the inventory"
        live = self.children.get(key)
        if live is None or live.applied_hash != content_hash(manifest):
            self._write()
            self.manifests[key] = manifest
            self.children[key] = self._made(key, manifest, live)
        return Outcome(key, self.children[key])

    def _made(self, key: ObjectKey, manifest: Manifest, before: LiveObject | None) -> LiveObject:
        generation = before.generation + 1 if before else 1
        replicas = manifest["spec"].get("replicas", 1) if key.kind == "Deployment" else None
        status: Manifest = {}
        if key.kind == "Deployment":
            scaled = [manifest["spec"].get("replicas"), before.replicas if before else None, 1]
            replicas = next(each for each in scaled if each is not None)
            status = self._ready(generation, replicas)
        made = LiveObject(
            key=key,
            uid=f"uid-{key}",
            resource_version=generation,
            generation=generation,
            campaign=manifest["metadata"]["labels"].get(CAMPAIGN_LABEL, ""),
            owner_uid=UID,
            applied_hash=content_hash(manifest),
            owned_fields="",
            deleting=False,
            replicas=replicas,
            status=status,
            slot=manifest["metadata"]["labels"].get(SLOT_LABEL, ""),
            revision=manifest["metadata"]["labels"].get(REVISION_LABEL, ""),
        )
        if key.kind == "HorizontalPodAutoscaler":
            spec = manifest["spec"]
            self._scale(spec["scaleTargetRef"]["name"], spec["minReplicas"], spec["maxReplicas"])
        return made

    def _scale(self, target: str, least: int, most: int) -> None:
        key = ObjectKey("apps", "Deployment", "shop", target)
        deployment = self.children[key]
        replicas = min(max(deployment.replicas or 1, least), most)
        status = self._ready(deployment.generation, replicas)
        self.children[key] = replace(deployment, replicas=replicas, status=status)

    @staticmethod
    def _ready(generation: int, replicas: int) -> Manifest:
        counts = dict.fromkeys(("replicas", "readyReplicas", "availableReplicas", "updatedReplicas"), replicas)
        return {"observedGeneration": generation, **counts}
