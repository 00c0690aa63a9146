"""Tests of a red button against others, for unit tests."""

from typing import Any

from flywheel.experiment.analysis import ArmSums, Design, Metric
from flywheel.experiment.moments import Moments, conversions
from flywheel.experiment.sequential import horizon_test

CAP = 10_000


def design(arms: tuple[str, ...] = ("red", "green"), **changes: Any) -> Design:
    level = 0.05 / (len(arms) - 1)
    made: dict[str, Any] = {
        "arms": arms,
        "weights": (1.0,) * len(arms),
        "test": horizon_test(level, CAP, CAP),
        "primary": Metric("Coupon Claimed"),
        "planned_lift": 0.2,
    }
    return Design(**(made | changes))


def arm(visitors: int, converted: int, *guardrails: Moments) -> ArmSums:
    return ArmSums(visitors, conversions(visitors, converted), (), guardrails)
