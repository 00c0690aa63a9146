"""One reconcile of one A/B test: observe, ask the store when it is time, decide, report.

What follows for pods and visitors is carried out by the reconcile of its Campaign, which is told of each change.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from flywheel.api.abtest import ABTest
from flywheel.api.analytics import Analytics
from flywheel.api.campaign import Campaign
from flywheel.api.load import InvalidResource, load_abtest, load_campaign
from flywheel.api.problem import Problem
from flywheel.campaign.conditions import condition_list
from flywheel.campaign.testing import (
    STOP_ANNOTATION,
    early,
    next_look,
    over,
    problems_of,
    stage_of,
    test_conditions,
    unready,
)
from flywheel.experiment.analysis import Analysis, analyse
from flywheel.experiment.asking import ArmsStore, NotAsked
from flywheel.experiment.decision import decide
from flywheel.experiment.machine import Facts, Looked, advance
from flywheel.experiment.plan import design_of, limits_of, questions_of, size_of, sums_of
from flywheel.experiment.state import ENDED, ABTestState, Sizing, read_state
from flywheel.experiment.told import test_status
from flywheel.insight.arms import ArmFigures
from flywheel.kube.gateway import Gateway
from flywheel.plan import GROUP, LiveObject, Manifest, Notice, ObjectKey

LEAST_CONVERSIONS = 30
LEAST_VISITORS = 200
"""Of control, before the size of a test without a given baseline is fixed from them."""


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


@dataclass(frozen=True, slots=True)
class _Seen:
    """One look at the store."""

    figures: Mapping[str, ArmFigures] | None = None
    sizing: Sizing | None = None
    looked: Looked | None = None
    analysis: Analysis | None = None
    unseen: str = ""


class ABTestReconciler:
    """Brings A/B tests a step further, one at a time."""

    def __init__(
        self,
        gateway: Gateway,
        world: World,
        store: ArmsStore,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._gateway = gateway
        self._world = world
        self._store = store
        self._clock = clock

    async def reconcile(self, namespace: str, name: str) -> datetime | None:
        """Bring one test a step further; tell when the clock makes another step necessary.

        Raises ApiError where trying again soon can help.
        """
        manifest = self._world.test(namespace, name)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            return None
        now = self._clock()
        try:
            test = load_abtest(manifest)
        except InvalidResource as error:
            await self._report_invalid(manifest, error.problems, now)
            return None
        before = read_state(test.status)
        campaign, stage = self._campaign(test)
        problems = problems_of(test, campaign, self._others(test)) if before.state not in ENDED else ()
        seen = await self._look(test, campaign, before, now)
        facts = self._facts(test, stage, problems, seen)
        state = advance(before, facts, now)
        conditions = condition_list(
            test_conditions(state, problems), test.status.get("conditions") or [], test.metadata.generation, now
        )
        status = test_status(test, state, test.status, conditions, seen.figures, seen.analysis)
        await self._report(manifest, before, state, status, now)
        return next_look(state, now)

    def _campaign(self, test: ABTest) -> tuple[Campaign | None, str]:
        held = self._world.campaign(test.metadata.namespace, test.spec.campaign)
        if held is None:
            return None, ""
        try:
            return load_campaign(held), stage_of(held.get("status") or {})
        except InvalidResource:
            return None, stage_of(held.get("status") or {})

    def _others(self, test: ABTest) -> list[ABTest]:
        """The tests that were there before this one: of two that fight, the younger has to give way."""
        found = []
        own = (test.metadata.creation_timestamp, test.name)
        for held in self._world.tests_of(test.metadata.namespace, test.spec.campaign):
            try:
                other = load_abtest(held)
            except InvalidResource:
                continue
            older = (other.metadata.creation_timestamp, other.name) < own
            if other.name != test.name and older and read_state(other.status).state not in ENDED:
                found.append(other)
        return found

    def _facts(self, test: ABTest, stage: str, problems: tuple[Problem, ...], seen: _Seen) -> Facts:
        children = self._world.children(test.metadata.namespace, test.spec.campaign)
        return Facts(
            salt=test.metadata.uid,
            obstacle="; ".join(str(each) for each in problems),
            early=early(stage),
            over=over(stage),
            suspended=bool(test.spec.suspend),
            unready=unready(test, children),
            sizing=seen.sizing,
            unseen=seen.unseen,
            stop=STOP_ANNOTATION in test.metadata.annotations,
            looked=seen.looked,
            promoted=self._is_promoted(test),
        )

    def _is_promoted(self, test: ABTest) -> bool:
        held = self._world.campaign(test.metadata.namespace, test.spec.campaign) or {}
        told = (held.get("status") or {}).get("winners") or ()
        return any(each.get("test") == test.name and each.get("serves") for each in told)

    async def _look(self, test: ABTest, campaign: Campaign | None, state: ABTestState, now: datetime) -> _Seen:
        due = next_look(state, now)
        given = test.spec.metrics.primary.baseline
        sizing = state.sizing or (_given_size(test, given) if given is not None else None)
        if due is None or now < due or campaign is None or state.started_at is None:
            return _Seen(sizing=sizing)
        order = (campaign.spec.analytics or Analytics()).order.event
        within = int(test.spec.metrics.window.total_seconds() * 1000)
        try:
            figures = await self._store.ask(
                test.metadata.namespace,
                campaign.name,
                test.name,
                state.started_at,
                now,
                within,
                questions_of(test, order),
            )
        except NotAsked as error:
            return _Seen(sizing=sizing, unseen=str(error))
        sizing = sizing or _size_of_control(test, figures)
        if sizing is None:
            return _Seen(figures)
        design = design_of(test, sizing, frozenset(state.withdrawn))
        analysis = analyse(design, sums_of(test, design, figures), earlier_ratio=state.least_ratio)
        decision = decide(
            design, analysis, limits_of(test), state.elapsed(now), withdrawn_before=frozenset(state.withdrawn)
        )
        return _Seen(figures, sizing, Looked(now, analysis, decision), analysis)

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
        if status == {name: value for name, value in (manifest.get("status") or {}).items() if name in status}:
            return
        await self._write(manifest, status)

    async def _report_invalid(self, manifest: Manifest, problems: tuple[Problem, ...], now: datetime) -> None:
        held: Mapping[str, Any] = manifest.get("status") or {}
        generation = int(manifest["metadata"].get("generation", 1))
        conditions = condition_list(
            test_conditions(read_state(held), problems), held.get("conditions") or [], generation, now
        )
        status = {**held, "observedGeneration": generation, "conditions": conditions}
        if status != held:
            await self._write(manifest, status)

    async def _write(self, manifest: Manifest, status: Manifest) -> None:
        metadata = {name: manifest["metadata"][name] for name in ("name", "namespace", "uid")}
        body = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "ABTest", "metadata": metadata, "status": status}
        self._world.put_test(await self._gateway.apply(body, subresource="status"))


def _given_size(test: ABTest, baseline: float) -> Sizing | None:
    try:
        # A mean that nobody has measured yet is taken to vary as counts of rare things do.
        return size_of(test, baseline, baseline)
    except ValueError:
        return None


def _size_of_control(test: ABTest, figures: Mapping[str, ArmFigures]) -> Sizing | None:
    control = figures.get(test.control.name)
    if control is None or not control.outcomes or control.visitors < LEAST_VISITORS:
        return None
    sums, visitors = control.outcomes[0], control.visitors
    mean = sums.y / visitors
    variance = max(0.0, sums.yy / visitors - mean * mean)
    if test.spec.metrics.primary.event is not None and sums.y < LEAST_CONVERSIONS:
        return None
    try:
        return size_of(test, mean, variance)
    except ValueError:
        return None
