"""Brings one object to what a plan wants, with as few writes as can be, and never takes what is not ours."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from flywheel.api.problem import Problem
from flywheel.kube.drift import is_in_place, owns_path, ports_alone, stamped
from flywheel.kube.gateway import ApiError, Gateway
from flywheel.kube.live import live_object
from flywheel.plan import FIELD_MANAGER, HASH_ANNOTATION, Deletion, LiveObject, Manifest, ObjectKey, Outcome

MOST_SETTLED = 10_000
HANDOVER_MANAGER = f"{FIELD_MANAGER}-handover"


class LiveStore(Protocol):
    """Where what the API server answers to a write is remembered, ahead of the watch."""

    def put(self, live: LiveObject) -> None:
        """Remember `live` unless something newer is known."""

    def remove(self, key: ObjectKey, uid: str) -> None:
        """Forget the object at `key` if it is the one with `uid`."""


@dataclass(frozen=True, slots=True)
class Claim:
    """By what an object is known to be ours: the label that names the owner, and the owner reference to it."""

    name: str
    uid: str
    reference: Manifest

    @property
    def references(self) -> tuple[Manifest, ...]:
        """The owner references of an object that is ours."""
        return (self.reference,)


@dataclass(frozen=True, slots=True)
class SharedClaim:
    """The same for what several owners share: the label that says what it is, and a reference to each owner."""

    shared: str
    references: tuple[Manifest, ...]


class Standing(Enum):
    """How an object that exists stands to the owner who wants one of that name."""

    OURS = "ours"
    ABANDONED = "abandoned"
    """Carries our label and has no owner: left behind by a deletion with policy Orphan, so it may be taken up."""
    DYING = "dying"
    FOREIGN = "foreign"


def standing(live: LiveObject, claim: Claim | SharedClaim) -> Standing:
    """Judge whether `live` may be written on behalf of `claim`."""
    if live.deleting:
        return Standing.DYING
    if isinstance(claim, SharedClaim):
        ours = live.shared == claim.shared and not live.owner_uid
        return Standing.OURS if ours else Standing.FOREIGN
    if live.owner_uid == claim.uid:
        return Standing.OURS
    if live.campaign != claim.name:
        return Standing.FOREIGN
    return Standing.DYING if live.owner_uid else Standing.ABANDONED


class Applier:
    """Applies and deletes objects, and remembers what the server made of them."""

    def __init__(self, gateway: Gateway, store: LiveStore, on_skipped: Callable[[str], None]) -> None:
        self._gateway = gateway
        self._store = store
        self._on_skipped = on_skipped
        # What the server made of our last apply, where it did not keep every field as ours (it drops empty values).
        # Without this memory such an object would be applied again at each reconcile.
        self._settled: dict[str, tuple[str, str]] = {}

    async def apply(
        self, manifest: Manifest, live: LiveObject | None, claim: Claim | SharedClaim, path: str
    ) -> Outcome:
        """Create or correct one object. A refusal is an outcome, not an exception; so is a foreign object.

        `path` is the field of the spec that the object comes from: people look there.
        Raises ApiError where trying again later can help.
        """
        metadata = {**manifest["metadata"], "ownerReferences": list(claim.references)}
        wanted = stamped({**manifest, "metadata": metadata})
        key = ObjectKey.of(wanted)
        try:
            return await self._apply(wanted, key, live, claim, path)
        except ApiError as error:
            if error.is_retryable:
                raise
            return Outcome(key, live, Problem(path, f"the API server refused {key}: {error.message}"), terminal=True)

    async def _apply(
        self, wanted: Manifest, key: ObjectKey, live: LiveObject | None, claim: Claim | SharedClaim, path: str
    ) -> Outcome:
        if live is None:
            found = await self._gateway.get(key)
            live = live_object(found) if found else None
        if live is not None:
            match standing(live, claim):
                case Standing.FOREIGN:
                    return Outcome(key, None, _foreign(path, key, live, claim), terminal=True)
                case Standing.DYING:
                    return Outcome(key, None, Problem(path, f"waits for the old {key} to be gone"))
                case Standing.OURS | Standing.ABANDONED:
                    pass
            if self._is_settled(wanted, live) or is_in_place(wanted, live):
                self._on_skipped(key.kind)
                return Outcome(key, live)
            await self._hand_over_replicas(wanted, live)
        try:
            written = await self._gateway.apply(wanted)
        except ApiError as error:
            if live is None or not error.is_about_duplicate_ports:
                raise
            await self._gateway.strategic_patch(key, ports_alone(wanted))
            written = await self._gateway.apply(wanted)
        return Outcome(key, self._remember(wanted, live_object(written)))

    def _remember(self, wanted: Manifest, live: LiveObject) -> LiveObject:
        if not is_in_place(wanted, live):
            if len(self._settled) >= MOST_SETTLED:
                self._settled.clear()
            self._settled[live.uid] = (wanted["metadata"]["annotations"][HASH_ANNOTATION], live.owned_fields)
        self._store.put(live)
        return live

    def _is_settled(self, wanted: Manifest, live: LiveObject) -> bool:
        found = (wanted["metadata"]["annotations"][HASH_ANNOTATION], live.owned_fields)
        return live.applied_hash == found[0] and self._settled.get(live.uid) == found

    async def _hand_over_replicas(self, wanted: Manifest, live: LiveObject) -> None:
        """Leave `replicas` to another manager before we stop naming it.

        A field that its only manager stops applying is removed, and the server would then default it to 1: in the
        middle of a flood, adding an autoscaler would take all but one pod away.
        Source: kubernetes.io, "Server-Side Apply", Transferring ownership.
        """
        if "replicas" in wanted.get("spec", {}) or not _holds_replicas(live):
            return
        # Read anew: what is in memory may be older than the autoscaler's last word, and would overrule it.
        found = await self._gateway.get(live.key)
        if found is None or not _holds_replicas(live_object(found)):
            return
        metadata = found["metadata"]
        address = {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion")}
        handover = {
            "apiVersion": wanted["apiVersion"],
            "kind": wanted["kind"],
            "metadata": address,
            "spec": {"replicas": found["spec"]["replicas"]},
        }
        await self._gateway.apply(handover, field_manager=HANDOVER_MANAGER)

    async def delete(self, deletion: Deletion) -> Outcome:
        """Ask for one object to be deleted, its dependents first. Gone already is as good.

        Raises ApiError where trying again later can help.
        """
        key, uid = deletion.key, deletion.uid
        try:
            left = await self._gateway.delete(key, uid=uid)
        except ApiError as error:
            if error.is_retryable:
                raise
            return Outcome(key, None, Problem(str(key), f"cannot be deleted: {error.message}"), terminal=True)
        self._settled.pop(uid, None)
        if left is None:
            self._store.remove(key, uid)
            return Outcome(key)
        live = live_object(left)
        self._store.put(live)
        return Outcome(key, live)

    async def release(self, key: ObjectKey, claim: Claim) -> None:
        """Take our owner reference off an object that shall stay when its owner goes."""
        found = await self._gateway.get(key)
        if found is None:
            return
        references = found["metadata"].get("ownerReferences", [])
        kept = [each for each in references if each.get("uid") != claim.uid]
        if len(kept) == len(references):
            return
        version = found["metadata"]["resourceVersion"]
        await self._gateway.merge_patch(key, {"metadata": {"ownerReferences": kept, "resourceVersion": version}})


def _holds_replicas(live: LiveObject) -> bool:
    return bool(live.replicas) and owns_path(live.owned_fields, "spec", "replicas")


def _foreign(path: str, key: ObjectKey, live: LiveObject, claim: Claim | SharedClaim) -> Problem:
    if isinstance(claim, SharedClaim):
        return Problem(path, f"{key} exists already and was not made by flywheel; it is left untouched: delete it")
    whose = f"belongs to another owner ({live.owner_uid})" if live.owner_uid else "was not made by this Campaign"
    return Problem(
        path,
        f"{key} exists already and {whose}; it is left untouched: rename or delete it, or rename the service",
    )
