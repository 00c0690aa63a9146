"""One reconcile of one Campaign: observe, decide, apply, report.

The only place of this folder that waits for anything. What it does is decided elsewhere, by functions without I/O.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from flywheel.campaign.conclude import Conclusion, conclude
from flywheel.campaign.decide import decide
from flywheel.campaign.decision import Course, Decision
from flywheel.campaign.fraudplan import is_judged
from flywheel.campaign.fraudshards import workers_of
from flywheel.campaign.inventory import entries, recorded
from flywheel.campaign.observed import Observed
from flywheel.campaign.releasetold import release_fields, release_notices
from flywheel.campaign.statuswrite import StatusWrites
from flywheel.edge.manifests import edge_selector
from flywheel.edge.naming import COMPONENT as EDGE
from flywheel.edge.naming import applied_name
from flywheel.events.sharing import has_edge
from flywheel.fraud.workforce import ONE, Workforce
from flywheel.kube.applier import Applier, Claim
from flywheel.kube.gateway import ApiError, Gateway
from flywheel.kube.live import live_object
from flywheel.kube.resources import POD, resource_for
from flywheel.plan import (
    CAMPAIGN_LABEL,
    FINALIZER,
    GROUP,
    SERVICE_LABEL,
    SLOT_LABEL,
    Images,
    LiveObject,
    Manifest,
    ObjectKey,
    Outcome,
)
from flywheel.release.agent import Agent, Nobody
from flywheel.release.jobs import JobPods, pods_of_job
from flywheel.release.records import Records
from flywheel.workload.provider import OURS, Provider
from flywheel.workload.state import Trouble, explain

API_VERSION = f"{GROUP}/v1alpha1"
ROUNDS = 6
"""How often a decision may ask for more. A plan with open questions is never carried out."""
PODS_LOOKED_AT = 20
OF_OTHERS = frozenset({"kpis"})
"""Parts of the status that others write. Applied by us, they would be ours, and go with our next status."""


class World(Protocol):
    """What the reconciler needs of the memory that the watches fill."""

    def campaign(self, namespace: str, name: str) -> Manifest | None:
        """Return a Campaign as last seen."""

    def children(self, namespace: str, name: str) -> dict[ObjectKey, LiveObject]:
        """Return the objects that carry a Campaign's label, as last seen."""

    def tests_of(self, namespace: str, campaign: str) -> tuple[Manifest, ...]:
        """Return the A/B tests of a Campaign, as last seen."""

    def campaigns_in(self, namespace: str) -> tuple[Manifest, ...]:
        """Return all Campaigns of a namespace, as last seen."""

    def fraud_rules(self, namespace: str) -> tuple[Manifest, ...]:
        """Return the FraudRules of a namespace, as last seen."""

    def fraud_children(self, namespace: str) -> dict[ObjectKey, LiveObject]:
        """Return the objects of its fraud workers, as last seen."""

    def shared(self, namespace: str) -> dict[ObjectKey, LiveObject]:
        """Return what they share, as last seen."""

    def shared_trouble(self, namespace: str) -> str:
        """Tell why that is not as it should be, where a look at the objects does not tell."""

    def put(self, live: LiveObject) -> None:
        """Remember what the API server answered to a write."""

    def remove(self, key: ObjectKey, uid: str) -> None:
        """Forget an object that is gone."""

    def put_campaign(self, manifest: Manifest) -> None:
        """Remember what the API server answered to a write of a Campaign."""


class CampaignReconciler:
    """Brings Campaigns and the world together, one at a time."""

    def __init__(
        self,
        gateway: Gateway,
        world: World,
        *,
        images: Images = Images(),  # noqa: B008 - frozen
        provider: Provider = OURS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_write_skipped: Callable[[str], None] = lambda kind: None,
        on_release: Callable[[str], None] = lambda event: None,
        agent: Agent | None = None,
        workforce: Workforce = ONE,
    ) -> None:
        self._gateway = gateway
        self._on_release = on_release
        self._agent = agent or Nobody()
        self._records = Records(gateway)
        self._world = world
        self._images = images
        self._provider = provider
        self._workforce = workforce
        self._clock = clock
        self._applier = Applier(gateway, world, on_write_skipped)
        self._writes = StatusWrites()

    async def reconcile(self, namespace: str, name: str) -> datetime | None:
        """Bring one Campaign a step further; tell when the clock makes another step necessary.

        Raises ApiError where trying again soon can help.
        """
        manifest = self._world.campaign(namespace, name)
        if manifest is None:
            return None
        now = self._clock()
        observed = await self._up_to_date(self._observe(manifest))
        observed, decision = await self._decide(observed, now)
        if decision.plan.finalizer and not observed.has_finalizer:
            observed = await self._set_finalizer(observed, [*observed.metadata.get("finalizers", []), FINALIZER])
        await self._record_ahead(observed, decision, now)
        outcomes = await self._carry_out(observed, decision)
        await self._forget_pods(observed, decision.gone_edge_pods)
        conclusion = conclude(observed, decision, outcomes, now)
        wake_at = await self._report(observed, decision, conclusion, now)
        self._agent.want(observed.uid, namespace, name, decision.work)
        if observed.has_finalizer and not decision.plan.finalizer:
            await self._remove_finalizer(observed)
        return None if observed.is_deleting and not decision.plan.finalizer else wake_at

    def _observe(self, manifest: Manifest) -> Observed:
        metadata = manifest["metadata"]
        children = self._world.children(metadata["namespace"], metadata["name"])
        observed = Observed(
            manifest,
            children,
            images=self._images,
            provider=self._provider,
            findings=self._agent.findings(metadata["uid"]),
            tests=self._world.tests_of(metadata["namespace"], metadata["name"]),
        )
        if not has_edge(manifest):
            return observed
        return replace(
            observed,
            neighbours=self._world.campaigns_in(observed.namespace),
            shared=self._world.shared(observed.namespace),
            shared_trouble=self._world.shared_trouble(observed.namespace),
            judged=is_judged(manifest, self._world.fraud_rules(observed.namespace)),
            fraud_workers=workers_of(
                self._world.fraud_children(observed.namespace), self._workforce.of(observed.namespace)
            ),
        )

    async def _up_to_date(self, observed: Observed) -> Observed:
        """Read the Campaign anew where its children are ahead of it.

        Kubernetes makes orphans after the Campaign was deleted, but another watch tells of that. Who heals the owner
        references meanwhile has the children collected with the Campaign.
        """
        if observed.is_deleting or not observed.lacks_owners:
            return observed
        fresh = await self._gateway.get(ObjectKey.of(observed.manifest))
        if fresh is None or fresh["metadata"]["uid"] != observed.uid:
            return observed
        self._world.put_campaign(fresh)
        return replace(observed, manifest=fresh)

    async def _decide(self, observed: Observed, now: datetime) -> tuple[Observed, Decision]:
        for _ in range(ROUNDS):
            decision = decide(observed, now)
            if not decision.questions:
                return observed, decision
            observed = await self._answer(observed, decision)
        raise RuntimeError(f"still asking after {ROUNDS} rounds of answers: {decision.questions}")

    async def _answer(self, observed: Observed, decision: Decision) -> Observed:
        questions = decision.questions
        found = {key: await self._gateway.get(key) for key in sorted(questions.lookups)}
        children = {key: live_object(manifest) for key, manifest in found.items() if manifest}
        served = {api: await self._is_served(*api) for api in sorted(questions.apis)}
        troubles = {service: await self._trouble(observed, service) for service in sorted(questions.pods)}
        edge_pods = await self._edge_pods(observed) if questions.edge_pods else observed.edge_pods
        jobs = {job: await self._job_pods(observed, job) for job in sorted(questions.jobs)}
        sweep = observed.sweep
        if questions.sweep:
            sweep = await self._gateway.sweep(observed.namespace, f"{CAMPAIGN_LABEL}={observed.name}")
        return replace(
            observed,
            children={**observed.children, **children},
            absent=observed.absent | (questions.lookups - children.keys()),
            served={**observed.served, **served},
            troubles={**observed.troubles, **troubles},
            edge_pods=edge_pods,
            sweep=sweep,
            job_pods={**observed.job_pods, **jobs},
            findings=await self._records.answer(observed.namespace, questions, observed.findings),
        )

    async def _is_served(self, group: str, kind: str) -> bool:
        return await self._gateway.is_served(group, resource_for(group, kind).version, kind)

    async def _trouble(self, observed: Observed, service: str) -> Trouble | None:
        name, _, slot = service.partition("/")
        own = _text(edge_selector(observed.name))
        selector = own if service == EDGE else f"{CAMPAIGN_LABEL}={observed.name},{SERVICE_LABEL}={name}"
        if slot:
            selector += f",{SLOT_LABEL}={slot}"
        page = await self._gateway.list_page(POD, observed.namespace, selector, limit=PODS_LOOKED_AT)
        return explain(page["items"])

    async def _edge_pods(self, observed: Observed) -> tuple[str, ...]:
        selector = _text(edge_selector(observed.name))
        page = await self._gateway.list_page(POD, observed.namespace, selector, metadata_only=True)
        pods = [each["metadata"] for each in page["items"]]
        return tuple(sorted(each["name"] for each in pods if not each.get("deletionTimestamp")))

    async def _job_pods(self, observed: Observed, job: str) -> JobPods:
        selector = f"batch.kubernetes.io/job-name={job}"
        page = await self._gateway.list_page(POD, observed.namespace, selector, limit=PODS_LOOKED_AT)
        return pods_of_job(page["items"], explain(page["items"]))

    async def _record_ahead(self, observed: Observed, decision: Decision, now: datetime) -> None:
        """Write down what follows before it is carried out: addresses of new objects, and where releases stand."""
        known = recorded(observed)
        new = [key for key in decision.plan.inventory if key not in known]
        releases = release_fields(observed, decision) if decision.course is Course.RUN else {}
        moved = releases.get("releases", []) != list(observed.status.get("releases") or []) if releases else False
        if not new and not moved:
            return
        if moved:
            for notice in release_notices(observed, decision):
                self._on_release(notice.reason)
                await self._gateway.record_event(observed.manifest, notice, now)
        ahead = {"inventory": {"entries": entries([*known, *new])}, **releases}
        held = {name: value for name, value in observed.status.items() if name not in OF_OTHERS}
        await self._write_status(observed, {**held, **ahead})

    async def _carry_out(self, observed: Observed, decision: Decision) -> list[Outcome]:
        claim = _claim(observed)
        plan = decision.plan
        for key in plan.release:
            await self._applier.release(key, claim)
        if decision.course is Course.LET_GO:
            # The edge that stays behind still delivers to it.
            for key in observed.shared:
                await self._applier.release(key, claim)
        outcomes = [await self._applier.delete(deletion) for deletion in plan.delete]
        for manifest in plan.apply:
            key = ObjectKey.of(manifest)
            path = decision.origins.get(key, str(key))
            outcomes.append(await self._applier.apply(manifest, observed.children.get(key), claim, path))
        outcomes += [await self._applier.delete(deletion) for deletion in plan.prune]
        return outcomes

    async def _forget_pods(self, observed: Observed, names: tuple[str, ...]) -> None:
        if names:
            key = ObjectKey("", "ConfigMap", observed.namespace, applied_name(observed.name))
            self._world.put(live_object(await self._gateway.merge_patch(key, {"data": dict.fromkeys(names)})))

    async def _report(
        self, observed: Observed, decision: Decision, conclusion: Conclusion, now: datetime
    ) -> datetime | None:
        if decision.course is Course.LET_GO or (observed.is_deleting and not observed.has_finalizer):
            return None
        # Events first: their names are made from what they say, so that saying it again after a crash adds nothing.
        for notice in conclusion.notices:
            await self._gateway.record_event(observed.manifest, notice, now)
        held = self._world.campaign(observed.namespace, observed.name) or observed.manifest
        due = self._writes.due(observed.uid, held.get("status") or {}, conclusion.status, now)
        if due is None:
            return conclusion.wake_at
        if due <= now:
            await self._write_status(observed, conclusion.status)
            self._writes.written(observed.uid, now)
            return conclusion.wake_at
        return _earliest([conclusion.wake_at, due])

    async def _write_status(self, observed: Observed, status: Manifest) -> None:
        # The uid keeps a status of a deleted Campaign from reaching a new one of the same name.
        address = {"name": observed.name, "namespace": observed.namespace, "uid": observed.uid}
        body = {"apiVersion": API_VERSION, "kind": "Campaign", "metadata": address, "status": status}
        self._world.put_campaign(await self._gateway.apply(body, subresource="status"))

    async def _set_finalizer(self, observed: Observed, finalizers: list[str]) -> Observed:
        version = observed.metadata["resourceVersion"]
        patch = {"metadata": {"finalizers": finalizers, "resourceVersion": version}}
        manifest = await self._gateway.merge_patch(ObjectKey.of(observed.manifest), patch)
        self._world.put_campaign(manifest)
        return replace(observed, manifest=manifest)

    async def _remove_finalizer(self, observed: Observed) -> None:
        fresh = await self._gateway.get(ObjectKey.of(observed.manifest))
        if fresh is None or fresh["metadata"]["uid"] != observed.uid:
            return
        kept = [each for each in fresh["metadata"].get("finalizers", []) if each != FINALIZER]
        try:
            await self._set_finalizer(replace(observed, manifest=fresh), kept)
        except ApiError as error:
            if not error.is_not_found:
                raise
        if observed.is_deleting:
            self._writes.forget(observed.uid)


def _text(selector: dict[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in selector.items())


def _claim(observed: Observed) -> Claim:
    reference = {
        "apiVersion": API_VERSION,
        "kind": "Campaign",
        "name": observed.name,
        "uid": observed.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return Claim(observed.name, observed.uid, reference)


def _earliest(moments: Iterable[datetime | None]) -> datetime | None:
    return min((each for each in moments if each), default=None)
