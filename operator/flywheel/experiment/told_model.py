"""What the status of an A/B test tells, as commands, gauges and reports read it. Pure.

Figures are in words, as the operator wrote them for people.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of all parts: frozen, camelCase in JSON, unknown fields of a later version passed over."""


class Bounds(Part, frozen=True, kw_only=True):
    """An interval in words."""

    low: str = ""
    high: str = ""


class ToldComparison(Part, frozen=True, kw_only=True):
    """One metric of one variant against the control, in words."""

    variant: str
    value: str = ""
    estimate: str = ""
    interval: Bounds | None = None
    p_value: str = ""
    verdict: str = ""


class ToldMetric(Part, frozen=True, kw_only=True):
    """One metric, or guardrail, in words."""

    name: str
    margin: str = ""
    """Of a guardrail."""
    control: str = ""
    variants: tuple[ToldComparison, ...] = ()


class ToldRatio(Part, frozen=True, kw_only=True):
    """The sample ratio in words."""

    p_value: str = ""
    verdict: str = ""
    hint: str = ""


class ToldChecks(Part, frozen=True, kw_only=True):
    """What must hold for the result to count."""

    sample_ratio: ToldRatio | None = None
    guardrails: tuple[ToldMetric, ...] = ()


class ToldVariant(Part, frozen=True, kw_only=True):
    """One variant in words."""

    name: str
    slot: str = ""
    desired: int | None = None
    ready: int | None = None
    weight: str = ""
    visitors: int = 0
    conversions: int | None = None
    value: str = ""
    estimate: str = ""
    interval: Bounds | None = None
    best: str = ""
    message: str = ""


class ToldDecision(Part, frozen=True, kw_only=True):
    """What was decided."""

    verdict: str
    reason: str = ""
    at: datetime | None = None
    winner: str = ""
    promoted_at: datetime | None = None
    revision: str = ""


class ToldSizing(Part, frozen=True, kw_only=True):
    """How many visitors the test needs."""

    visitors_per_variant: int | None = None
    visitors_per_day: int | None = None
    baseline: str = ""
    progress: str = ""
    days_needed: str = ""
    days_left: str = ""
    message: str = ""


class ToldCondition(Part, frozen=True, kw_only=True):
    """One statement about the test."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


class Told(Part, frozen=True, kw_only=True):
    """The status of one test."""

    observed_generation: int | None = None
    state: str = "Waiting"
    conditions: tuple[ToldCondition, ...] = ()
    started_at: datetime | None = None
    paused_at: datetime | None = None
    paused_for: int = 0
    ends_at: datetime | None = None
    updated_at: datetime | None = None
    visitors: int = 0
    sizing: ToldSizing = ToldSizing()
    variants: tuple[ToldVariant, ...] = ()
    primary: ToldMetric | None = None
    secondary: tuple[ToldMetric, ...] = ()
    checks: ToldChecks = ToldChecks()
    decision: ToldDecision | None = None
    report: str = ""

    def condition(self, name: str) -> ToldCondition | None:
        """Give a statement by its type."""
        return next((each for each in self.conditions if each.type == name), None)


class UnreadableStatus(Exception):  # noqa: N818 - the status is at fault
    """A status is none that this version understands; the text is for people."""


def read_told(status: Mapping[str, Any]) -> Told:
    """Read a status.

    Raises:
        UnreadableStatus: Somebody else has written to it, or an operator of another version.
    """
    try:
        return msgspec.convert(dict(status), Told)
    except msgspec.ValidationError as error:
        raise UnreadableStatus(
            f"the status cannot be read ({error}): is the operator of the same version as this program?"
        ) from error
