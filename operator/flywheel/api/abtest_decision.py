"""How sure a test must be, and what follows from it."""

from datetime import timedelta
from typing import Literal

from pydantic import Field

from flywheel.api.abtest_values import Level, within
from flywheel.api.durations import DURATION_CEL, between, seconds_cel
from flywheel.api.model import Model, Rule
from flywheel.api.quantities import Duration, Flag

WEEK = timedelta(days=7)
_WEEK = int(WEEK.total_seconds())


class Statistics(Model):
    """How sure the test must be."""

    constraints = (
        within(
            "alpha", "alpha", "0.1%", "20%", "a test that errs more often tells nothing, one that never errs ends never"
        ),
        within("power", "power", "50%", "99%", "below that luck decides, above it no test ends"),
    )

    alpha: Level = Field(
        default=0.05,
        description="How often a test without any difference may find one, however often it is looked at; 0.1% to 20%. "
        "Default 5%.",
    )
    power: Level = Field(
        default=0.8,
        description="How often a difference of minimumEffect is found, which sets the number of visitors; 50% to 99%. "
        "Default 80%.",
    )
    method: Literal["Sequential", "Bandit"] = Field(
        default="Sequential",
        description="Sequential (default): the weights stay, and the test ends as soon as the data allow. Bandit: new "
        "visitors go more and more to the variant that does best (Thompson sampling); nobody changes sides.",
    )
    correction: Literal["Holm", "Bonferroni"] = Field(
        default="Holm",
        description="How several variants, and several secondary metrics, share alpha: Holm (default) or Bonferroni, "
        "which is stricter.",
    )
    futility: Flag = Field(
        default=True,
        description="Stop early when minimumEffect is out of reach, with the verdict KeepControl. Default true.",
    )


def _fits_whole_weeks(decision: "Decision") -> bool:
    weeks = max(1, -(-decision.minimum_duration // WEEK))
    return not decision.whole_weeks or weeks * WEEK <= decision.maximum_duration


_MINIMUM = f"(has(self.minimumDuration) ? {seconds_cel('self.minimumDuration')} : 86400)"
_MAXIMUM = f"(has(self.maximumDuration) ? {seconds_cel('self.maximumDuration')} : {2 * _WEEK})"
_MALFORMED = (
    f"(has(self.minimumDuration) && !self.minimumDuration.{DURATION_CEL}) || "
    f"(has(self.maximumDuration) && !self.maximumDuration.{DURATION_CEL})"
)


class Decision(Model):
    """What follows from what was found."""

    constraints = (
        between("minimumDuration", "minimum_duration", "0s", "90d", "a test that never decides helps nobody"),
        between("maximumDuration", "maximum_duration", "10m", "180d", "a test needs visitors, and has an end"),
        Rule(
            cel=f"{_MALFORMED} || {_MINIMUM} <= {_MAXIMUM}",
            holds=lambda model: model.minimum_duration <= model.maximum_duration,
            message="decision.minimumDuration (default 24h) must be at most decision.maximumDuration (default 14d): "
            "lower the one or raise the other",
            field="minimumDuration",
        ),
        Rule(
            cel=f"!has(self.wholeWeeks) || !self.wholeWeeks || {_MALFORMED} || ({_MAXIMUM} >= {_WEEK} && "
            f"({_MINIMUM} + {_WEEK - 1}) / {_WEEK} * {_WEEK} <= {_MAXIMUM})",
            holds=_fits_whole_weeks,
            message="wholeWeeks rounds minimumDuration up to weeks of seven days: raise maximumDuration to as many, or "
            "take wholeWeeks out",
            field="wholeWeeks",
        ),
    )

    promote: Literal["Automatic", "Manual", "Never"] = Field(
        default="Manual",
        description="What becomes of a winner. Automatic: the service is released with its override, through the gates "
        "of its release. Manual (default): the same when a person says so. Never: it is only reported.",
    )
    minimum_duration: Duration = Field(
        default=timedelta(hours=24),
        description="Before that nothing is decided, but for a guardrail that breaks; 0s to 90d. Default 24h.",
    )
    maximum_duration: Duration = Field(
        default=timedelta(days=14),
        description="Then it is decided with what is there; time in pauses does not count; 10m to 180d. Default 14d.",
    )
    whole_weeks: Flag = Field(
        default=False,
        description="true: decide after whole weeks only, so that each weekday counts alike. Default false.",
    )
    otherwise: Literal["Control", "Keep"] = Field(
        default="Control",
        description="What visitors get when there is no winner. Control (default): everybody the control. Keep: "
        "participants their variant, until the test is deleted or the campaign ends.",
    )
