"""One look at the figures of one A/B test: ask the store when it is time, and decide on what it says."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from flywheel.api.abtest import ABTest
from flywheel.api.analytics import Analytics
from flywheel.api.campaign import Campaign
from flywheel.campaign.testing import OVER, ends_at, next_look
from flywheel.experiment.asking import ArmsStore, NotAsked, Question, as_arms
from flywheel.experiment.machine import Looked
from flywheel.experiment.plan import is_bandit, questions_of, size_of
from flywheel.experiment.state import ABTestState, Sizing
from flywheel.experiment.told import Numbers
from flywheel.experiment.verdicts import hint_of, judged
from flywheel.insight.arms import ArmFigures

LEAST_CONVERSIONS = 30
LEAST_VISITORS = 200
"""Of control, before the size of a test is fixed from them: from the control alone, so that it says nothing of who is
ahead."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look has shown."""

    numbers: Numbers | None = None
    sizing: Sizing | None = None
    looked: Looked | None = None
    asked_at: datetime | None = None
    unseen: str = ""


class Looking:
    """Looks at the figures of tests."""

    def __init__(self, store: ArmsStore) -> None:
        self._store = store

    async def at(self, test: ABTest, campaign: Campaign | None, state: ABTestState, stage: str, now: datetime) -> Seen:
        """Look, if it is time to."""
        due, is_over = next_look(state, now), stage in {each.value for each in OVER}
        if due is None or (now < due and not is_over) or campaign is None or state.started_at is None:
            return Seen(sizing=state.sizing)
        try:
            said = await self._store.ask(question_of(test, campaign, state, state.started_at, now))
        except NotAsked as error:
            return Seen(sizing=state.sizing, asked_at=now, unseen=str(error))
        sizing = state.sizing or size_of_control(test, said.arms)
        most = None
        ends = ends_at(test, campaign, state, now)
        if is_over or (ends is not None and now >= ends):
            most = state.elapsed(now)
        stretches = [as_arms(each) for each in said.batches]
        numbers, looked = judged(test, state, sizing, said.arms, now, most, stretches)
        if looked.analysis.ratio.is_mismatch:
            numbers = replace(numbers, hint=await self._cause(test, campaign, state, now))
        return Seen(numbers, sizing, looked, now)

    async def _cause(self, test: ABTest, campaign: Campaign, state: ABTestState, now: datetime) -> str:
        question = question_of(test, campaign, state, state.started_at or now, now)
        try:
            said = await self._store.ask(replace(question, causes=True))
        except NotAsked as error:
            return f"where it comes from could not be asked: {error}"
        return hint_of(test, state, said.causes)


def question_of(test: ABTest, campaign: Campaign, state: ABTestState, started_at: datetime, now: datetime) -> Question:
    """Say what is asked of the store at each look.

    Args:
        test: The test.
        campaign: Its Campaign.
        state: Where it stands.
        started_at: When it began.
        now: Up to when events count.
    """
    order = (campaign.spec.analytics or Analytics()).order.event
    within = int(test.spec.metrics.window.total_seconds() * 1000)
    changed = len(state.stretches) > 1 or is_bandit(test)
    return Question(
        test.namespace,
        campaign.name,
        test.name,
        started_at,
        now,
        within,
        questions_of(test, order),
        batches=tuple(each.since for each in state.stretches) if changed else (),
    )


def size_of_control(test: ABTest, arms: Mapping[str, ArmFigures]) -> Sizing | None:
    """Fix the size of a test from its control's visitors; None while they are too few."""
    control = arms.get(test.spec.control.name)
    if control is None or not control.outcomes or control.visitors < LEAST_VISITORS:
        return None
    sums, visitors = control.outcomes[0], control.visitors
    if test.spec.metrics.primary.event is not None and sums.y < LEAST_CONVERSIONS:
        return None
    try:
        if test.spec.metrics.primary.ratio is not None:
            return _size_of_ratio(test, control)
        mean = sums.y / visitors
        return size_of(test, mean, max(0.0, sums.yy / visitors - mean * mean))
    except ValueError:
        return None


def _size_of_ratio(test: ABTest, control: ArmFigures) -> Sizing | None:
    """Size a ratio as the mean of what each visitor adds to it, by the delta method."""
    sums, visitors = control.outcomes[0], control.visitors
    if sums.x <= 0:
        return None
    ratio, below = sums.y / sums.x, sums.x / visitors
    spread = (sums.yy - 2 * ratio * sums.xy + ratio * ratio * sums.xx) / visitors
    return size_of(test, ratio, max(0.0, spread) / (below * below))
