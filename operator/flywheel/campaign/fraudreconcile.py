"""One reconcile of a namespace's FraudRules and their worker: plan, apply, ask, tell."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

from flywheel.api.campaign import Campaign
from flywheel.api.fraudrule import FraudRule
from flywheel.api.load import InvalidResource
from flywheel.campaign.conditions import Condition, condition_list
from flywheel.campaign.fraudasking import Asked, NotAnswered, by_pod, number_of, pod_of
from flywheel.campaign.fraudjobs import apply_jobs, beyond_of
from flywheel.campaign.fraudlistreader import Aside, ListReader
from flywheel.campaign.fraudmodels import Offers, Takers, models_in, offer
from flywheel.campaign.fraudpast import NoPasts, Pasts, wanted_pasts
from flywheel.campaign.fraudplan import FraudPlan, Held, plan_fraud
from flywheel.campaign.fraudproof import is_falling, kept_of, notice_of
from flywheel.campaign.fraudshards import Layout, counting, layout_of, next_layout, not_ready, standings_of, takes_over
from flywheel.campaign.fraudtold import Seen, WorkerState, generation_of, read_state, status_of
from flywheel.campaign.fraudtrial import NoTrials, Trials, orders_of
from flywheel.campaign.fraudtrialtold import TrialTold, told_of
from flywheel.campaign.loaded import Loaded
from flywheel.campaign.stages import Stage
from flywheel.events.state import is_serving
from flywheel.fraud import naming
from flywheel.fraud.outgrown import NOTHING, Outgrown
from flywheel.fraud.policy import Rules
from flywheel.fraud.workforce import ONE, Workforce
from flywheel.kube.applier import Applier, SharedClaim
from flywheel.kube.gateway import Gateway
from flywheel.plan import GROUP, LiveObject, Manifest, ObjectKey, content_hash

PATH = "spec"
OPEN = frozenset(each.value for each in (Stage.PREPARING, Stage.WARM, Stage.LIVE, Stage.DRAINING))
"""Stages in which a Campaign has an edge."""
LOOK_EVERY = timedelta(seconds=15)
LOOK_SOON = timedelta(seconds=2)
"""While a worker has not taken the latest rules yet."""
REFUSED_AGAIN_AFTER = timedelta(minutes=2)
_entries = msgspec.json.Decoder(dict[str, Rules])


class World(Protocol):
    """What the reconciler needs of the memory that the watches fill."""

    def campaigns_in(self, namespace: str) -> tuple[Manifest, ...]:
        """Return all Campaigns of a namespace as last seen."""

    def fraud_rules(self, namespace: str) -> tuple[Manifest, ...]:
        """Return its FraudRules as last seen."""

    def fraud_children(self, namespace: str) -> dict[ObjectKey, LiveObject]:
        """Return the objects of its fraud worker as last seen."""

    def put(self, live: LiveObject) -> None:
        """Remember what the API server answered to a write."""

    def remove(self, key: ObjectKey, uid: str) -> None:
        """Forget an object that is gone."""

    def put_rule(self, manifest: Manifest) -> None:
        """Remember a FraudRule that was written."""


class Workers(Takers, Protocol):
    """Whom the reconciler asks for figures."""

    async def states(self, namespace: str, workers: int) -> Asked:
        """Give what each of so many workers says of itself, and who says nothing."""

    async def hand_over(self, namespace: str, address: str, rules: bytes) -> bytes:
        """Have a worker judge by other rules at once; give what it says of itself then.

        Raises:
            NotAnswered: It cannot be reached, or refuses.
        """

    async def hand_lists(self, namespace: str, address: str, lists: bytes) -> bytes:
        """Have a worker take lists; give what it says of itself then.

        Raises:
            NotAnswered: It cannot be reached, or refuses.
        """


class FraudReconciler:
    """Brings the fraud workers of namespaces to what the FraudRules there want, and tells what they see."""

    def __init__(
        self,
        gateway: Gateway,
        world: World,
        workers: Workers,
        image: str,
        *,
        operator: str = "",
        trials: Trials | None = None,
        pasts: Pasts | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_write_skipped: Callable[[str], None] = lambda kind: None,
        aside: Aside | None = None,
        workforce: Workforce = ONE,
        outgrown: Outgrown = NOTHING,
    ) -> None:
        self._outgrown = outgrown
        self._gateway, self._world, self._workers = gateway, world, workers
        self._trials, self._pasts = trials or NoTrials(), pasts or NoPasts()
        self._image, self._operator, self._clock, self._workforce = image, operator, clock, workforce
        self._loaded = Loaded()
        self._lists = ListReader(gateway, workers, aside)
        self._applier = Applier(gateway, world, on_write_skipped)

    async def reconcile(self, namespace: str) -> datetime | None:
        """Bring one namespace's rules a step further; tell when the clock makes another step necessary.

        Raises ApiError where trying again soon can help.
        """
        now = self._clock()
        manifests = {each["metadata"]["name"]: each for each in self._world.fraud_rules(namespace)}
        rules = [rule for each in manifests.values() if (rule := await self._read(each, now)) is not None]
        plan = await self._plan(namespace, rules, now)
        if len(rules) < len(manifests):
            # What cannot be read may be what the worker judges by: it stays as it is.
            plan = replace(plan, delete=(), apply=(), jobs=())
        outcomes = [await self._applier.delete(deletion) for deletion in plan.delete]
        live, claim = self._world.fraud_children(namespace), SharedClaim(naming.COMPONENT, plan.references)
        for manifest in plan.apply:
            outcomes.append(await self._applier.apply(manifest, live.get(ObjectKey.of(manifest)), claim, PATH))  # noqa: PERF401
        troubles = [str(each.problem) for each in outcomes if each.problem and each.terminal]
        refused = await apply_jobs(self._applier, self._world, namespace, plan.jobs)
        seen = await self._seen(namespace, plan, troubles)
        seen = replace(seen, live=self._world.fraud_children(namespace), refused=refused)
        self._pasts.look(namespace, wanted_pasts(plan.judged, seen.campaigns, seen.workers))
        tried = self._tried(namespace, plan, manifests, now)
        for judged in plan.judged:
            manifest = manifests[judged.rule.name]
            held = manifest.get("status") or {}
            status = status_of(judged, held, seen, now, tried[judged.rule.name])
            if notice := notice_of(held, status):
                # Before the status, which would not tell any more that it is news. A second one is the same one.
                await self._gateway.record_event(manifest, notice, now)
            if status != held:
                await self._write(manifest, status)
        if troubles or refused:
            return now + REFUSED_AGAIN_AFTER
        if not plan.apply:
            return now + LOOK_SOON if any(each.problem for each in outcomes) else None
        return now + (LOOK_SOON if self._is_behind(namespace) else LOOK_EVERY)

    def _tried(
        self, namespace: str, plan: FraudPlan, manifests: Mapping[str, Manifest], now: datetime
    ) -> dict[str, TrialTold]:
        """See to it that rules are tried on the past, and say what came of it."""
        orders = orders_of(plan.judged, manifests, list(self._campaigns(namespace)), now)
        outcomes = self._trials.look(namespace, orders)
        names = {each.rule.name: each for each in plan.judged}
        return {
            name: told_of(each, manifests[name].get("status") or {}, outcomes.get(name), now)
            for name, each in names.items()
        }

    def _is_behind(self, namespace: str) -> bool:
        statuses = [each.get("status") or {} for each in self._world.fraud_rules(namespace)]
        found = [condition for status in statuses for condition in status.get("conditions") or ()]
        return any(map(is_falling, statuses)) or any(
            each.get("type") == "Reconciling" and each.get("status") == "True" for each in found
        )

    async def _read(self, manifest: Manifest, now: datetime) -> FraudRule | None:
        try:
            return self._loaded.fraudrule(manifest)
        except InvalidResource as error:
            await self._tell_invalid(manifest, str(error), now)
            return None

    async def _tell_invalid(self, manifest: Manifest, message: str, now: datetime) -> None:
        held = manifest.get("status") or {}
        generation = int(manifest["metadata"].get("generation") or 1)
        conditions = [
            Condition("Ready", "False", "Invalid", message),
            Condition("Reconciling", "False", "Invalid", "a person must correct the rule"),
            Condition("Stalled", "True", "Invalid", message),
        ]
        listed = [*condition_list(conditions, held.get("conditions") or [], generation, now), *kept_of(held)]
        status = {**held, "observedGeneration": generation, "conditions": listed}
        if status != held:
            await self._write(manifest, status)

    async def _plan(self, namespace: str, rules: list[FraudRule], now: datetime) -> FraudPlan:
        campaigns = list(self._campaigns(namespace))
        opened = {
            each["metadata"]["name"]
            for each in self._world.campaigns_in(namespace)
            if (each.get("status") or {}).get("stage") in OPEN
        }
        live = self._world.fraud_children(namespace)
        statuses = {each["metadata"]["name"]: each.get("status") or {} for each in self._world.fraud_rules(namespace)}
        layout = await self._layout(namespace)
        offers, beyond = await self._offers(namespace, rules), await beyond_of(self._gateway, self._outgrown, rules)

        def planned(held: Held) -> FraudPlan:
            image, operator = self._image, self._operator
            return plan_fraud(
                namespace, rules, campaigns, opened, live, image, held, now, operator, offers, statuses, layout, beyond
            )

        plan = planned({})
        if not any(each.ruled is None for each in plan.judged):
            return plan
        return planned(await self._held(namespace))

    async def _offers(self, namespace: str, rules: list[FraudRule]) -> Offers:
        """Hand models over before the rules that ask them: one that is refused must not take its rule's place."""
        if not models_in(rules):
            return {}
        try:
            asked = await self._asked(namespace) if self._is_serving(namespace) else Asked({})
            return await offer(namespace, rules, self._gateway, self._workers, asked.bodies)
        except (NotAnswered, ValueError):
            return await offer(namespace, rules, self._gateway, self._workers, {})

    def _is_serving(self, namespace: str) -> bool:
        worker = self._worker(namespace)
        return worker is not None and is_serving(worker)

    def _worker(self, namespace: str) -> LiveObject | None:
        return self._world.fraud_children(namespace).get(ObjectKey("apps", "StatefulSet", namespace, naming.WORKER))

    def _campaigns(self, namespace: str) -> Iterable[Campaign]:
        for manifest in self._world.campaigns_in(namespace):
            try:
                yield self._loaded.campaign(manifest)
            except InvalidResource:
                continue

    async def _held(self, namespace: str) -> Held:
        """Read what the worker judges by: that goes on for rules that cannot be carried out any more."""
        found = await self._gateway.get(ObjectKey("", "ConfigMap", namespace, naming.WORKER))
        try:
            known = _entries.decode(((found or {}).get("data") or {}).get(naming.RULES_KEY, "{}"))
        except msgspec.MsgspecError:
            return {}
        return {campaign: each.rules for campaign, each in known.items()}

    async def _seen(self, namespace: str, plan: FraudPlan, troubles: list[str]) -> Seen:
        if not plan.apply:
            self._lists.forget(namespace)
            return Seen({})
        if not self._is_serving(namespace):
            return Seen({}, "; ".join(troubles) or "the fraud worker is starting")
        try:
            asked = await self._up_to_date(namespace, plan.rules)
            if not asked.bodies:
                return Seen({}, next(iter(asked.missing.values()), ""))
            # After the rules: until its allow lists are there, a rule stops nobody.
            lists = await self._lists.bring(namespace, plan.lists, asked.bodies)
            standings = standings_of({number_of(each): body for each, body in asked.bodies.items()})
            count = counting(standings, len(asked.bodies) + len(asked.missing))
            bodies = {each: body for each, body in asked.bodies.items() if number_of(each) < count}
            read = [read_state(pod_of(address), body) for address, body in bodies.items()]
        except ValueError as error:
            return Seen({}, str(error))
        found: dict[str, list[WorkerState]] = {}
        for states in read:
            for campaign, state in states.items():
                found.setdefault(campaign, []).append(state)
        workers = {campaign: tuple(states) for campaign, states in found.items()}
        missing = {each: why for each, why in asked.missing.items() if number_of(each) < count}
        known = {each.name: each for each in self._campaigns(namespace)}
        return Seen(workers, lists=lists, missing=by_pod(missing), campaigns=known)

    async def _up_to_date(self, namespace: str, rules: str) -> Asked:
        """Ask the workers how they are, and hand the rules to those that judge by others: volumes take a minute."""
        asked = await self._asked(namespace)
        for address, body in list(asked.bodies.items()):
            if generation_of(body) != content_hash(rules):
                try:
                    asked.bodies[address] = await self._workers.hand_over(namespace, address, rules.encode())
                except NotAnswered as error:
                    asked.missing[address] = str(error)
                    del asked.bodies[address]
        return asked

    async def _asked(self, namespace: str) -> Asked:
        """Ask all workers that there are; one that cannot judge yet says nothing that counts.

        One that takes windows over can be handed what it is to judge by, so that it is there when it begins.

        Raises:
            ValueError: What one says cannot be read.
        """
        worker = self._worker(namespace)
        asked = await self._workers.states(namespace, (worker and worker.replicas) or self._workforce.of(namespace))
        for address, body in list(asked.bodies.items()):
            if why := not_ready(body):
                asked.missing[address] = why
                if not takes_over(body):
                    del asked.bodies[address]
        return asked

    async def _layout(self, namespace: str) -> Layout:
        """Say how many workers there are to be, a step further towards what is wanted."""
        wanted, worker = self._workforce.of(namespace), self._worker(namespace)
        if worker is None or worker.replicas == wanted == 1:
            return Layout(wanted, wanted)
        # What the StatefulSet says is the only memory of a move.
        now = layout_of(await self._gateway.get(worker.key))
        if now is None or now == Layout(wanted, wanted):
            return Layout(wanted, wanted)
        bodies = (await self._workers.states(namespace, now.workers)).bodies
        return next_layout(wanted, now, standings_of({number_of(each): body for each, body in bodies.items()}))

    async def _write(self, manifest: Manifest, status: Manifest) -> None:
        metadata = {name: manifest["metadata"][name] for name in ("name", "namespace", "uid")}
        body = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "FraudRule", "metadata": metadata, "status": status}
        self._world.put_rule(await self._gateway.apply(body, subresource="status"))
