"""The words in which decisions are written: what was observed, what shall be, and what became of it.

Everything here is plain data. Domains return it, `kube` carries it out, and neither needs to know the other.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

from flywheel.api.problem import Problem

Manifest = dict[str, Any]
"""One Kubernetes object as the API server speaks it: a JSON object."""

GROUP = "flywheel.dev"
FIELD_MANAGER = "flywheel"
FINALIZER = "flywheel.dev/teardown"
CAMPAIGN_LABEL = "flywheel.dev/campaign"
SERVICE_LABEL = "flywheel.dev/service"
SLOT_LABEL = "flywheel.dev/slot"
REVISION_LABEL = "flywheel.dev/revision"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
SHARED_LABEL = "flywheel.dev/shared"
"""On what all Campaigns of a namespace share, instead of the label of one; its value says what it is."""
APPLIED_LABEL = "flywheel.dev/applied"
"""On ConfigMaps in which our processes say what they have applied: their data is a status."""
HASH_ANNOTATION = "flywheel.dev/applied-hash"


def as_json(record: msgspec.Struct) -> Manifest:
    """Write a record as the API server gives it back.

    `msgspec.to_builtins` leaves tuples as they are, and none is equal to the list that comes back: a status with one
    would be taken for changed at every look, and be written at every look.
    """
    written: Manifest = msgspec.json.decode(msgspec.json.encode(record))
    return written


class ObjectKey(NamedTuple):
    """The address of one object: enough to find it again after everything in memory is lost."""

    group: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Manifest) -> "ObjectKey":
        """Read the address of `manifest`."""
        group, _, _ = manifest["apiVersion"].rpartition("/")
        metadata = manifest["metadata"]
        return cls(group, manifest["kind"], metadata.get("namespace", ""), metadata["name"])

    def __str__(self) -> str:
        kind = f"{self.kind}.{self.group}" if self.group else self.kind
        return f"{kind} {self.namespace}/{self.name}" if self.namespace else f"{kind} {self.name}"


@dataclass(frozen=True, slots=True)
class LiveObject:
    """What is kept in memory of one observed child: small, as there are many thousands of them.

    `owned_fields` is the FieldsV1 set of our own server-side applies as compact JSON text. A hand edit of a field of
    ours takes that field out of the set, so the set alone tells drift, whatever the server made of our values.
    """

    key: ObjectKey
    uid: str
    resource_version: int
    generation: int
    campaign: str
    owner_uid: str
    applied_hash: str
    owned_fields: str
    deleting: bool
    finalizers: tuple[str, ...] = ()
    replicas: int | None = None
    status: Mapping[str, Any] = field(default_factory=dict)
    slot: str = ""
    revision: str = ""
    """What a released service runs there, from its labels."""
    shared: str = ""
    """The value of the label of what all Campaigns of a namespace share."""
    sharers: tuple[str, ...] = ()
    """The uids of owners that do not control it: Kubernetes deletes it when the last of them is gone."""


@dataclass(frozen=True, slots=True)
class Images:
    """The images of our own that children run, where a spec names no other."""

    edge: str = "ghcr.io/flywheel-dev/flywheel-edge:0.1.0"
    analytics: str = "ghcr.io/flywheel-dev/flywheel-analytics:0.1.0"
    browser: str = "ghcr.io/flywheel-dev/flywheel-browser:0.1.0"
    content: str = "ghcr.io/flywheel-dev/flywheel-content:0.1.0"


@dataclass(frozen=True, slots=True)
class Deletion:
    """One object to remove, and only the very one that was observed."""

    key: ObjectKey
    uid: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A Kubernetes Event to record on the Campaign. `identity` makes a second recording of the same fact a no-op."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    identity: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one applied or deleted object. `problem` is None when it went well."""

    key: ObjectKey
    live: LiveObject | None = None
    problem: Problem | None = None
    terminal: bool = False
    """True where trying again without a change by a person cannot help (a refused value, a foreign object)."""


@dataclass(frozen=True, slots=True)
class Remaining:
    """One object that a search over every API resource still found."""

    resource: str
    """Plural and group: `pods`, `deployments.apps`."""
    namespace: str
    name: str
    finalizers: tuple[str, ...] = ()
    deleting: bool = False

    def __str__(self) -> str:
        return f"{self.resource}/{self.name}"


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a search over every API resource of the cluster found, and where it was not allowed to look."""

    remaining: tuple[Remaining, ...] = ()
    checked: int = 0
    """How many API resources were searched."""
    unchecked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What shall happen next. Made from (spec, observed, now) and nothing else."""

    inventory: tuple[ObjectKey, ...] = ()
    """Everything that exists or is about to, in creation order; recorded before anything is created."""
    apply: tuple[Manifest, ...] = ()
    keep: tuple[ObjectKey, ...] = ()
    """Objects that stay as they are: they are wanted, and not written."""
    delete: tuple[Deletion, ...] = ()
    """Objects that go before anything is applied."""
    prune: tuple[Deletion, ...] = ()
    """Objects that go once everything is applied: what takes their place is there before."""
    release: tuple[ObjectKey, ...] = ()
    """Objects that stay but are ours no longer: their owner reference goes."""
    finalizer: bool = True
    """Whether the Campaign shall carry our finalizer; taken off only when nothing is left to tear down."""
    status: Manifest = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    wake_at: datetime | None = None
    """When the clock alone makes a new plan necessary; None where only a change of the world can."""


def content_hash(value: object) -> str:
    """Digest a JSON value: equal values give equal text, whatever the order of their keys. 16 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
