"""What of a FraudRule Flink cannot carry out: it is refused rather than left out. Pure."""

from flywheel.api.fraudrule import FraudRule
from flywheel.api.problem import Problem
from flywheel.fraud.compiling import rule_of
from flywheel.fraud.flink_sql import refusals

_LEFT_OUT = "whoever reads the verdicts has no events to look at, so nobody would be left alone: "


def unsaid(rule: FraudRule) -> tuple[Problem, ...]:
    """Tell what of a rule, as people write it, its SQL does not judge by, or not exactly."""
    found = [
        Problem(f"spec.{place}", "this cannot be said in Flink SQL: use engine: Embedded, or another condition")
        for place, sign in rule.spec.condition.placed()
        if sign.score or sign.linked
    ]
    return tuple(found) or refusals(rule_of(rule))


def refused(rule: FraudRule) -> tuple[Problem, ...]:
    """Tell what of a rule is left out where whoever reads its verdicts knows nothing else."""
    spec, found = rule.spec, list(unsaid(rule))
    if spec.exempt:
        found.append(Problem("spec.exempt", f"{_LEFT_OUT}write it the other way round into match.where"))
    for name, lists in (("allow", spec.lists.allow), ("deny", spec.lists.deny), ("watch", spec.lists.watch)):
        if lists:
            found.append(
                Problem(f"spec.lists.{name}", "the SQL cannot look into lists: use engine: Embedded, or match.where")
            )
    return tuple(found)
