"""One reconcile of a namespace's analytics worker: plan, apply, tell.

What it does is decided elsewhere, by functions without I/O.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from flywheel.events.manifests import SELECTOR
from flywheel.events.naming import COMPONENT, SETTINGS_KEY, WORKER
from flywheel.events.sharedplan import (
    Held,
    Replacement,
    SharedPlan,
    newcomers,
    plan_worker,
    settings_key,
    stateful_set_key,
)
from flywheel.events.sharing import Sharer, StartOf, read_sharer
from flywheel.events.state import is_serving
from flywheel.events.volumeclaim import VolumeClaim, amount, claim_key
from flywheel.kube.applier import Applier, SharedClaim
from flywheel.kube.gateway import ApiError, Gateway
from flywheel.kube.live import live_object
from flywheel.kube.resources import CAMPAIGN, POD, POD_MONITOR
from flywheel.plan import LiveObject, Manifest, ObjectKey, Outcome
from flywheel.workload.state import explain

PATH = "spec.analytics.store"
REFUSED_AGAIN_AFTER = timedelta(minutes=2)
WAITING_AGAIN_AFTER = timedelta(seconds=2)
PODS_AGAIN_AFTER = timedelta(seconds=10)
PODS_LOOKED_AT = 5
MOST_KNOWN = 5_000


class World(Protocol):
    """What the reconciler needs of the memory that the watches fill."""

    def campaigns_in(self, namespace: str) -> tuple[Manifest, ...]:
        """Return all Campaigns of a namespace as last seen."""

    def shared(self, namespace: str) -> dict[ObjectKey, LiveObject]:
        """Return what they share, as last seen."""

    def put(self, live: LiveObject) -> None:
        """Remember what the API server answered to a write."""

    def remove(self, key: ObjectKey, uid: str) -> None:
        """Forget an object that is gone."""

    def put_campaign(self, manifest: Manifest) -> None:
        """Remember a Campaign that was read."""

    def remove_campaign(self, namespace: str, name: str, uid: str) -> None:
        """Forget a Campaign that is gone."""

    def put_shared_trouble(self, namespace: str, trouble: str) -> None:
        """Remember what keeps the worker from being as it should be; the Campaigns tell it."""


class _Reader:
    """Reads each state of a Campaign once: a change of one concerns the worker of all, and they may be many."""

    def __init__(self, start_of: StartOf) -> None:
        self._start_of = start_of
        self._known: dict[str, tuple[object, Sharer]] = {}

    def __call__(self, manifest: Manifest) -> Sharer:
        metadata = manifest["metadata"]
        state = (metadata.get("generation"), metadata.get("deletionTimestamp"))
        known = self._known.get(metadata["uid"])
        if known is not None and known[0] == state:
            return known[1]
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        sharer = read_sharer(manifest, self._start_of)
        self._known[metadata["uid"]] = (state, sharer)
        return sharer


class WorkerReconciler:
    """Brings the analytics workers of namespaces to what the Campaigns there want."""

    def __init__(
        self,
        gateway: Gateway,
        world: World,
        image: str,
        start_of: StartOf,
        *,
        operator: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_write_skipped: Callable[[str], None] = lambda kind: None,
    ) -> None:
        self._gateway = gateway
        self._world = world
        self._image = image
        self._operator = operator
        self._read = _Reader(start_of)
        self._clock = clock
        self._applier = Applier(gateway, world, on_write_skipped)

    async def reconcile(self, namespace: str) -> datetime | None:
        """Bring one namespace's worker a step further; tell when the clock makes another step necessary.

        Raises ApiError where trying again soon can help.
        """
        plan = await self._plan(namespace)
        outcomes = [await self._applier.delete(deletion) for deletion in plan.delete]
        troubles = [plan.trouble]
        apply = list(plan.apply)
        if plan.replace is not None:
            refusal = await self._replace(namespace, plan.replace)
            troubles.append(refusal)
            apply[-1] = plan.replace.meanwhile if refusal else apply[-1]
        live = self._world.shared(namespace)
        claim = SharedClaim(COMPONENT, plan.references)
        for manifest in apply:
            outcomes.append(await self._applier.apply(manifest, live.get(ObjectKey.of(manifest)), claim, PATH))  # noqa: PERF401
        for key in plan.adopt:
            await self._adopt(live.get(key), plan.references)
        troubles += [str(each.problem) for each in outcomes if each.problem and each.terminal]
        unready = bool(plan.apply) and not self._serves(namespace)
        if unready:
            troubles.append(await self._pod_trouble(namespace))
        self._world.put_shared_trouble(namespace, "; ".join(each for each in troubles if each))
        return self._wake_at(outcomes, refused=any(troubles), unready=unready)

    async def _plan(self, namespace: str) -> SharedPlan:
        plan = await self._planned(namespace)
        new = newcomers(plan, self._world.shared(namespace))
        if not new:
            return plan
        # Kubernetes takes the owner references off for whoever makes orphans, but another watch tells that the Campaign
        # goes. Who healed them meanwhile would have the worker collected with it.
        for name in new:
            await self._look_again(namespace, name)
        return await self._planned(namespace)

    async def _planned(self, namespace: str, held: Held | None = None) -> SharedPlan:
        campaigns, live = self._world.campaigns_in(namespace), self._world.shared(namespace)
        monitored = await self._gateway.is_served(POD_MONITOR.group, POD_MONITOR.version, POD_MONITOR.kind)
        plan = plan_worker(
            namespace, campaigns, live, self._image, self._read, held, monitored=monitored, operator=self._operator
        )
        return await self._planned(namespace, await self._held(namespace)) if plan.asks_held else plan

    async def _held(self, namespace: str) -> Held:
        found = await self._gateway.get(settings_key(namespace))
        try:
            entries = json.loads((found or {}).get("data", {})[SETTINGS_KEY])
        except (KeyError, TypeError, ValueError):
            return {}
        return {name: each for name, each in entries.items() if isinstance(each, dict)} if _is_map(entries) else {}

    async def _look_again(self, namespace: str, name: str) -> None:
        fresh = await self._gateway.get(ObjectKey(CAMPAIGN.group, CAMPAIGN.kind, namespace, name))
        for known in self._world.campaigns_in(namespace):
            metadata = known["metadata"]
            if metadata["name"] == name and (fresh is None or fresh["metadata"]["uid"] != metadata["uid"]):
                self._world.remove_campaign(namespace, name, metadata["uid"])
        if fresh is not None:
            self._world.put_campaign(fresh)

    async def _adopt(self, live: LiveObject | None, references: tuple[Manifest, ...]) -> None:
        if live is None or live.deleting or {each["uid"] for each in references} <= set(live.sharers):
            return
        patch = {"metadata": {"uid": live.uid, "ownerReferences": list(references)}}
        self._world.put(live_object(await self._gateway.merge_patch(live.key, patch)))

    async def _replace(self, namespace: str, replacement: Replacement) -> str:
        """Let the volume grow, then take the old worker away; what was refused is told, and then it stays."""
        if replacement.claim is not None:
            refusal = await self._grow(namespace, replacement.claim)
            if refusal:
                return refusal
        outcome = await self._applier.delete(replacement.old)
        return str(outcome.problem) if outcome.problem else ""

    async def _grow(self, namespace: str, claim: VolumeClaim) -> str:
        key = claim_key(namespace)
        found = await self._gateway.get(key)
        if found is None:
            return ""
        size = str(found["spec"].get("resources", {}).get("requests", {}).get("storage", "0"))
        if amount(size) >= amount(claim.size):
            return ""
        try:
            await self._gateway.merge_patch(key, {"spec": {"resources": {"requests": {"storage": claim.size}}}})
        except ApiError as error:
            if error.is_retryable:
                raise
            return f"{PATH}.size: the volume stays at {size}, as {key} cannot grow to {claim.size}: {error.message}"
        return ""

    def _serves(self, namespace: str) -> bool:
        worker = self._world.shared(namespace).get(stateful_set_key(namespace))
        return worker is not None and is_serving(worker)

    async def _pod_trouble(self, namespace: str) -> str:
        selector = ",".join(f"{name}={value}" for name, value in SELECTOR.items())
        page = await self._gateway.list_page(POD, namespace, selector, limit=PODS_LOOKED_AT)
        trouble = explain(page["items"])
        return f"the event store {WORKER}: {trouble.message}" if trouble else ""

    def _wake_at(self, outcomes: list[Outcome], *, refused: bool, unready: bool) -> datetime | None:
        waits = [WAITING_AGAIN_AFTER] if any(each.problem and not each.terminal for each in outcomes) else []
        waits += [PODS_AGAIN_AFTER] if unready else []
        waits += [REFUSED_AGAIN_AFTER] if refused else []
        return self._clock() + min(waits) if waits else None


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)
