"""The report of an A/B test as it is kept: a ConfigMap that outlives pods, and says all that was seen. Pure.

Numbers that are not known, or are endless, are null. Figures in words are those of the status.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from flywheel.experiment.told_model import Part, ToldChecks, ToldDecision, ToldMetric, ToldVariant

VERSION = 1
KEY = "report.json"
"""Of the ConfigMap's data."""
MOST_LOOKS = 200
MOST_DAYS = 200


class VariantDesign(Part, frozen=True, kw_only=True):
    """One variant as it was planned."""

    name: str
    control: bool = False
    weight: float = 0.0
    """Share of the participants, 0 to 1."""
    override: dict[str, Any] = msgspec.field(default_factory=dict)
    """What differs from the service, as its author wrote it."""


class ReportDesign(Part, frozen=True, kw_only=True):
    """What was fixed before the start."""

    alpha: float = 0.05
    power: float = 0.8
    method: str = "Sequential"
    minimum_effect: float = 0.0
    """Relative: 0.1 is 10%."""
    direction: str = "Increase"
    primary: str = ""
    """Name of the metric."""
    kind: str = "event"
    """Of the metric, as it is spelled in YAML."""
    variant_cap: int | None = None
    control_cap: int | None = None
    baseline: float | None = None
    minimum_duration: float = 0.0
    """Seconds."""
    maximum_duration: float = 0.0
    """Seconds."""
    whole_weeks: bool = False
    promote: str = "Manual"
    variants: tuple[VariantDesign, ...] = ()


class ArmAt(Part, frozen=True, kw_only=True):
    """One arm at one look, or on one day."""

    visitors: int = 0
    total: float | None = None
    """Sum of the primary metric's outcome: of an event, the visitors with it."""
    value: float | None = None
    """The primary metric."""


class VariantAt(Part, frozen=True, kw_only=True):
    """What was known of one variant at one look; lifts are relative to the control."""

    difference: float | None = None
    lower: float | None = None
    upper: float | None = None
    lift: float | None = None
    lift_lower: float | None = None
    lift_upper: float | None = None
    best: float | None = None
    """Probability to be the best of all; nothing is decided on it."""


class LookAt(Part, frozen=True, kw_only=True):
    """One look."""

    at: datetime
    ratio_p: float | None = None
    arms: dict[str, ArmAt] = msgspec.field(default_factory=dict)
    variants: dict[str, VariantAt] = msgspec.field(default_factory=dict)


class Day(Part, frozen=True, kw_only=True):
    """One day in the campaign's time zone: visitors who were new on it."""

    day: str
    """2027-06-16."""
    arms: dict[str, ArmAt] = msgspec.field(default_factory=dict)


class Report(Part, frozen=True, kw_only=True, omit_defaults=False):
    """All of one test."""

    version: int = VERSION
    test: str
    namespace: str
    campaign: str
    service: str
    hypothesis: str = ""
    state: str = "Waiting"
    started_at: datetime | None = None
    ended_at: datetime | None = None
    paused_seconds: float = 0.0
    updated_at: datetime | None = None
    time_zone: str = "UTC"
    design: ReportDesign = ReportDesign()
    looks: tuple[LookAt, ...] = ()
    """Oldest first."""
    primary: ToldMetric | None = None
    secondary: tuple[ToldMetric, ...] = ()
    checks: ToldChecks = ToldChecks()
    variants: tuple[ToldVariant, ...] = ()
    days: tuple[Day, ...] = ()
    """Oldest first."""
    decision: ToldDecision | None = None
    notes: tuple[str, ...] = ()
    """Sentences."""


class UnreadableReport(Exception):  # noqa: N818 - the report is at fault
    """What is kept is no report that this version understands; the text is for people."""


def report_name(test: str) -> str:
    """Name the ConfigMap of a test's report."""
    return f"{test}-abtest-report"


def read_report(text: str | bytes) -> Report:
    """Read a report.

    Raises:
        UnreadableReport: It is none, or one of a later version that means something else.
    """
    try:
        report = msgspec.json.decode(text, type=Report)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UnreadableReport(f"the report cannot be read: {error}") from error
    if report.version != VERSION:
        raise UnreadableReport(
            f"the report is of version {report.version}, and this program reads version {VERSION}: use the program of "
            "the operator's version"
        )
    return report


def write_report(report: Report) -> str:
    """Write a report; the same one is always the same text."""
    # Nothing endless can be written in JSON: it becomes null, which says that a bound is not known.
    return msgspec.json.encode(report, order="deterministic").decode()


def with_look(looks: Sequence[LookAt], look: LookAt, most: int = MOST_LOOKS) -> tuple[LookAt, ...]:
    """Add a look; of too many, every second one of the older ones goes, so that the whole course stays to be seen.

    A look that is not later than the last one takes its place: it was made by an operator that was killed before it
    had written down that it looked.
    """
    kept = [each for each in looks if each.at < look.at]
    if len(kept) >= most:
        # The very first stays: curves begin there. The newest ones stay as dense as they are only until the next time.
        kept = kept[::2]
    return (*kept, look)
