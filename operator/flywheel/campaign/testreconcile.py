"""One reconcile of one A/B test: observe, ask the store when it is time, decide, report.

What follows for pods and visitors is carried out by the reconcile of its Campaign, which is told of each change.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from msgspec.structs import replace

from flywheel.api.abtest import ABTest
from flywheel.api.campaign import Campaign
from flywheel.api.load import InvalidResource, unknown_fields
from flywheel.api.problem import Problem
from flywheel.campaign import testing
from flywheel.campaign.abtests import problems_of
from flywheel.campaign.conditions import condition_list
from flywheel.campaign.loaded import Loaded
from flywheel.campaign.testlook import Looking, Seen, question_of
from flywheel.campaign.testreport import TestReports, is_due
from flywheel.experiment.asking import ArmsStore
from flywheel.experiment.machine import Facts, advance
from flywheel.experiment.plan import design_digest, is_bandit
from flywheel.experiment.report import look_at
from flywheel.experiment.report_model import LookAt
from flywheel.experiment.state import ENDED, ABTestState, read_state, write_state
from flywheel.experiment.told import status_of
from flywheel.kube.gateway import Gateway
from flywheel.plan import GROUP, LiveObject, Manifest, Notice, ObjectKey

PODS_LOOK_AGAIN = timedelta(seconds=5)


class World(Protocol):
    """What the reconciler needs of the memory that the watches fill."""

    def test(self, namespace: str, name: str) -> Manifest | None:
        """Return an A/B test as last seen."""

    def tests_of(self, namespace: str, campaign: str) -> tuple[Manifest, ...]:
        """Return the A/B tests of a Campaign, as last seen."""

    def campaign(self, namespace: str, name: str) -> Manifest | None:
        """Return a Campaign as last seen."""

    def children(self, namespace: str, name: str) -> dict[ObjectKey, LiveObject]:
        """Return the objects that carry a Campaign's label, as last seen."""

    def put_test(self, manifest: Manifest) -> None:
        """Remember what the API server answered to a write of an A/B test."""


class ABTestReconciler:
    """Brings A/B tests a step further, one at a time."""

    def __init__(
        self,
        gateway: Gateway,
        world: World,
        store: ArmsStore,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_look: Callable[[str, str, LookAt], None] = lambda *_: None,
    ) -> None:
        self._gateway = gateway
        self._world = world
        self._look = Looking(store)
        self._clock = clock
        self._loaded = Loaded()
        self._reports = TestReports(gateway, store)
        self._on_look = on_look

    async def reconcile(self, namespace: str, name: str) -> datetime | None:
        """Bring one test a step further; tell when the clock makes another step necessary.

        Raises ApiError where trying again soon can help.
        """
        manifest = self._world.test(namespace, name)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            return None
        now = self._clock()
        try:
            test = self._loaded.abtest(manifest)
        except InvalidResource as error:
            await self._report_invalid(manifest, error.problems, now)
            return None
        campaign, stage = self._campaign(test)
        seen = await self._look.at(test, campaign, read_state(test.status), stage, now)
        return await self._step(manifest, test, campaign, stage, seen, now)

    async def _step(
        self, manifest: Manifest, test: ABTest, campaign: Campaign | None, stage: str, seen: Seen, now: datetime
    ) -> datetime | None:
        before = read_state(test.status)
        others = self._others(test)
        problems = self._problems(test, campaign, others, before)
        pods = testing.pods_of(test, self._world.children(test.namespace, test.spec.campaign))
        waiting = testing.unready(test, pods)
        shipped = testing.shipping(test, before)
        facts = Facts(
            salt=test.salt,
            segments=testing.segments_of(test, before, others),
            design=design_digest(test),
            revision=self._revision(test),
            weights={each.name: each.weight for each in test.spec.variants},
            is_bandit=is_bandit(test),
            obstacle="; ".join(str(each) for each in problems),
            early=testing.early(test, campaign, stage, now),
            over=testing.over(test, campaign, stage, before, now),
            suspended=test.spec.suspend,
            unready=waiting,
            sizing=seen.sizing,
            asked_at=seen.asked_at,
            unseen=seen.unseen,
            stop=testing.STOP_ANNOTATION in test.metadata.annotations,
            looked=seen.looked,
            shipping=shipped,
            promoted=self._is_promoted(test, campaign, shipped),
        )
        state = advance(before, facts, now)
        ends = testing.ends_at(test, campaign, state, now)
        conditions = testing.conditions_of(
            state, problems, is_waiting_for_pods=waiting, unknown=unknown_fields(manifest, ABTest)
        )
        listed = condition_list(conditions, test.status.get("conditions") or [], test.metadata.generation, now)
        status = status_of(test, state, test.status, listed, numbers=seen.numbers, pods=pods, ends_at=ends, now=now)
        if is_due(before, state, now):
            status |= await self._keep_report(test, campaign, state, status, seen, now)
        await self._report(manifest, before, state, status, now)
        if seen.looked is not None and seen.numbers is not None and seen.numbers.design is not None:
            look = look_at(now, seen.numbers.design, seen.looked.analysis, seen.numbers.arms)
            self._on_look(test.namespace, test.name, look)
        return self._wake(test, campaign, state, waiting, ends, now)

    async def _keep_report(
        self, test: ABTest, campaign: Campaign | None, state: ABTestState, status: Manifest, seen: Seen, now: datetime
    ) -> Manifest:
        state = replace(state, reported_at=now)
        question = None
        if campaign is not None and state.started_at is not None and not seen.unseen:
            question = question_of(test, campaign, state, state.started_at, now)
        name = await self._reports.keep(test, campaign, state, status, question, now)
        return {"report": name, "record": write_state(state)}

    def _wake(
        self,
        test: ABTest,
        campaign: Campaign | None,
        state: ABTestState,
        waiting: str,
        ends: datetime | None,
        now: datetime,
    ) -> datetime | None:
        if state.state in ENDED:
            return None
        wakes = [testing.next_look(state, now), testing.starts_at(test, campaign), ends]
        if waiting and state.reason == "VariantsNotReady":
            wakes.append(now + PODS_LOOK_AGAIN)
        return min((each for each in wakes if each is not None and each > now), default=None)

    def _campaign(self, test: ABTest) -> tuple[Campaign | None, str]:
        held = self._world.campaign(test.namespace, test.spec.campaign)
        if held is None:
            return None, ""
        try:
            return self._loaded.campaign(held), testing.stage_of(held.get("status") or {})
        except InvalidResource:
            return None, testing.stage_of(held.get("status") or {})

    def _others(self, test: ABTest) -> list[ABTest]:
        found = []
        for held in self._world.tests_of(test.namespace, test.spec.campaign):
            try:
                found.append(self._loaded.abtest(held))
            except InvalidResource:
                continue
        return [each for each in found if each.name != test.name]

    def _problems(
        self, test: ABTest, campaign: Campaign | None, others: list[ABTest], state: ABTestState
    ) -> tuple[Problem, ...]:
        if state.state in ENDED or state.state == "Decided":
            return ()
        changed = testing.changed_design(test, state)
        return (*problems_of(test, campaign, others), *changed)

    def _revision(self, test: ABTest) -> str:
        held = self._world.campaign(test.namespace, test.spec.campaign) or {}
        told = (held.get("status") or {}).get("services") or ()
        return next((str(each.get("revision") or "") for each in told if each.get("name") == test.spec.service), "")

    def _is_promoted(self, test: ABTest, campaign: Campaign | None, shipped: str) -> bool:
        held = self._world.campaign(test.namespace, test.spec.campaign) or {}
        told = (held.get("status") or {}).get("winners") or ()
        serves = any(each.get("test") == test.name and each.get("serves") for each in told)
        return serves or (campaign is not None and testing.is_adopted(test, campaign, shipped))

    async def _report(
        self, manifest: Manifest, before: ABTestState, state: ABTestState, status: Manifest, now: datetime
    ) -> None:
        if state.state != before.state:
            message = state.message or f"the test is {state.state}"
            notice = Notice(
                "Warning" if state.state == "Failed" else "Normal",
                state.state,
                message,
                f"{state.state} {state.started_at} {state.reason}",
            )
            await self._gateway.record_event(manifest, notice, now)
        if status != (manifest.get("status") or {}):
            await self._write(manifest, status)

    async def _report_invalid(self, manifest: Manifest, problems: tuple[Problem, ...], now: datetime) -> None:
        held: Mapping[str, Any] = manifest.get("status") or {}
        generation = int(manifest["metadata"].get("generation", 1))
        conditions = testing.conditions_of(read_state(held), problems, is_waiting_for_pods="")
        listed = condition_list(conditions, held.get("conditions") or [], generation, now)
        status = {**held, "observedGeneration": generation, "conditions": listed}
        if status != held:
            await self._write(manifest, status)

    async def _write(self, manifest: Manifest, status: Manifest) -> None:
        metadata = {name: manifest["metadata"][name] for name in ("name", "namespace", "uid")}
        body = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "ABTest", "metadata": metadata, "status": status}
        self._world.put_test(await self._gateway.apply(body, subresource="status"))
