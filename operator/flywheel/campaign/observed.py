"""Everything a decision about one Campaign is made from, beside the time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flywheel.campaign.stages import Stage
from flywheel.plan import FINALIZER, Images, LiveObject, Manifest, ObjectKey, Sweep
from flywheel.release.jobs import JobPods
from flywheel.release.work import Findings
from flywheel.workload.provider import OURS, Provider
from flywheel.workload.state import Trouble

ORPHAN_FINALIZER = "orphan"
"""Set by Kubernetes itself: metav1.FinalizerOrphanDependents."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One Campaign and what there is of it in the cluster."""

    manifest: Manifest
    children: Mapping[ObjectKey, LiveObject] = field(default_factory=dict)
    """Objects that carry this Campaign's label, and those that were looked up by their address."""
    absent: frozenset[ObjectKey] = frozenset()
    """Addresses that were looked up and where there is nothing."""
    served: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    """Whether the cluster serves an optional API, by group and kind; only those asked about."""
    troubles: Mapping[str, Trouble | None] = field(default_factory=dict)
    """Why pods of a service do not start, by the service's name; only those asked about."""
    edge_pods: tuple[str, ...] | None = None
    """Names of the edge's pods; only when asked about."""
    images: Images = Images()  # noqa: RUF009 - frozen
    """What is started where the spec names no image."""
    provider: Provider = OURS
    """Who serves events and requests per second to autoscalers."""
    sweep: Sweep | None = None
    """A search over every API resource; made only when everything we know of is gone."""
    neighbours: tuple[Manifest, ...] = ()
    """All Campaigns of the namespace, this one among them; only for one with an edge."""
    shared: Mapping[ObjectKey, LiveObject] = field(default_factory=dict)
    """What the Campaigns of the namespace share: the analytics worker."""
    shared_trouble: str = ""
    """Why that is not as it should be, where a look at its objects does not tell."""
    job_pods: Mapping[str, JobPods] = field(default_factory=dict)
    """What pods of gates' Jobs have said, by the Job's name; only those asked about."""
    findings: Findings = Findings()  # noqa: RUF009 - frozen
    """What releases have found out from outside."""
    tests: tuple[Manifest, ...] = ()
    """The A/B tests that name this Campaign."""
    judged: bool = False
    """Whether a FraudRule is about its events."""
    fraud_workers: int = 1
    """How many workers there are to judge them."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The Campaign's metadata as stored."""
        metadata: Mapping[str, Any] = self.manifest["metadata"]
        return metadata

    @property
    def name(self) -> str:
        """The Campaign's name."""
        return str(self.metadata["name"])

    @property
    def namespace(self) -> str:
        """The Campaign's namespace."""
        return str(self.metadata["namespace"])

    @property
    def uid(self) -> str:
        """The Campaign's uid."""
        return str(self.metadata["uid"])

    @property
    def generation(self) -> int:
        """The generation of the spec that was observed."""
        return int(self.metadata.get("generation", 1))

    @property
    def status(self) -> Mapping[str, Any]:
        """The status as the last reconcile left it; empty before the first."""
        status = self.manifest.get("status")
        return status if isinstance(status, Mapping) else {}

    @property
    def is_deleting(self) -> bool:
        """Whether somebody asked for the Campaign to be deleted."""
        return bool(self.metadata.get("deletionTimestamp"))

    @property
    def has_finalizer(self) -> bool:
        """Whether our finalizer still holds the Campaign."""
        return FINALIZER in self.metadata.get("finalizers", [])

    @property
    def orphans(self) -> bool:
        """Whether the children outlive the Campaign. Read without the models: a broken spec can be deleted too.

        `kubectl delete --cascade=orphan` says so with a finalizer, for as long as Kubernetes takes the owner references
        off; after that, children none of which has an owner are what is left to be seen of it.
        """
        spec = self.manifest.get("spec")
        if isinstance(spec, Mapping) and spec.get("deletionPolicy") == "Orphan":
            return True
        if not self.is_deleting:
            return False
        ownerless = bool(self.children) and not any(live.owner_uid for live in self.children.values())
        return ownerless or ORPHAN_FINALIZER in self.metadata.get("finalizers", [])

    @property
    def lacks_owners(self) -> bool:
        """Whether a child has lost its owner reference: by hand, or as Kubernetes is making orphans of all of them."""
        return any(not live.owner_uid for live in self.children.values())

    @property
    def reached(self) -> Stage | None:
        """The stage that the last reconcile reached; None before the first."""
        try:
            return Stage(self.status.get("stage"))
        except ValueError:
            return None

    @property
    def timeline_digest(self) -> str:
        """The digest of the timeline for which `reached` holds."""
        schedule = self.status.get("schedule")
        return str(schedule.get("digest", "")) if isinstance(schedule, Mapping) else ""

    @property
    def conditions(self) -> list[Mapping[str, Any]]:
        """The conditions as the last reconcile left them."""
        conditions = self.status.get("conditions")
        return [each for each in conditions if isinstance(each, Mapping)] if isinstance(conditions, list) else []

    def condition(self, type_: str) -> Mapping[str, Any]:
        """Return one condition; empty where there is none of that type."""
        return next((each for each in self.conditions if each.get("type") == type_), {})


@dataclass(frozen=True, slots=True)
class Questions:
    """What else has to be observed before a decision can be made: too dear to be asked each time."""

    lookups: frozenset[ObjectKey] = frozenset()
    apis: frozenset[tuple[str, str]] = frozenset()
    """Group and kind of optional APIs: are they served?"""
    pods: frozenset[str] = frozenset()
    """Services whose pods may tell why they are not ready."""
    edge_pods: bool = False
    """Which pods has the edge?"""
    sweep: bool = False
    configurations: frozenset[tuple[str, str]] = frozenset()
    """ConfigMaps and Secrets, by kind and name: what is in them?"""
    records: frozenset[str] = frozenset()
    """Revisions, by the name of their record: what are they?"""
    jobs: frozenset[str] = frozenset()
    """Jobs of gates: what have their pods said?"""

    def __bool__(self) -> bool:
        return bool(
            self.lookups
            or self.apis
            or self.pods
            or self.edge_pods
            or self.sweep
            or self.configurations
            or self.records
            or self.jobs
        )


def parse_timestamp(text: object) -> datetime | None:
    """Read an instant that we once wrote to a status; None where it is not one."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
