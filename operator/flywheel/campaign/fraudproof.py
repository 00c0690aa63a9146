"""How right a FraudRule is, on its status; and what follows where it is not right enough. Pure.

A rule that has fallen to Shadow stays there until somebody changes its spec: what it does then is again decided by
people. That it has fallen stands on its status alone, as the condition `Precise`, so that no restart forgets it.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from flywheel.api.analytics import Analytics
from flywheel.api.campaign import Campaign
from flywheel.api.fraudrule import FraudRule
from flywheel.campaign.conditions import Condition
from flywheel.fraud.backtest_precision import precision_in_the_past
from flywheel.fraud.policy import Ruled, Rules
from flywheel.fraud.proof import FEWEST, Evidence, Share, falls, of_workers, precision_of, recall_of, total, what_lacks
from flywheel.fraud.rulings import RuleFigures
from flywheel.fraud.words import Mode
from flywheel.plan import Manifest, Notice

TYPE = "Precise"
FALLEN, FALLEN_IN_THE_PAST = "TooLow", "TooLowInThePast"
"""By what the rule has found, and by what it would have found when it was tried on the past."""
_REASONS = frozenset({FALLEN, FALLEN_IN_THE_PAST})


def rules_of(campaign: Campaign | None, ruled: tuple[Ruled, ...]) -> Rules:
    """Write what the worker needs of a Campaign: its rules, and how long and with what of addresses it keeps verdicts.

    Args:
        campaign: Whose; None where it cannot be read, so that the defaults hold.
        ruled: Its rules.
    """
    if campaign is None or campaign.spec.edge is None:
        return Rules(rules=ruled)
    keep = (campaign.spec.analytics or Analytics()).retention
    return Rules(rules=ruled, keep_for=keep // timedelta(milliseconds=1), addresses=campaign.spec.edge.events.addresses)


def fallen(rule: FraudRule) -> str:
    """Say why a rule has fallen to Shadow by itself; empty where it has not, or where its spec was changed since."""
    found = _fell(rule)
    return found.message if found else ""


def _fell(rule: FraudRule) -> Condition | None:
    if rule.spec.mode != "Enforce":
        return None
    for each in kept_of(rule.status):
        is_it = each.get("status") == "False" and each.get("reason") in _REASONS
        if is_it and each.get("observedGeneration") == rule.metadata.generation:
            why = str(each.get("message") or "its precision was too low")
            return Condition(TYPE, "False", str(each["reason"]), why)
    return None


def mode_of(rule: FraudRule) -> Mode:
    """Say how a rule works now."""
    return "Shadow" if fallen(rule) else rule.spec.mode


def is_falling(status: Mapping[str, Any]) -> bool:
    """Tell whether a rule was found to be too often wrong, while the worker still enforces it."""
    return status.get("mode") == "Enforce" and any(each.get("reason") in _REASONS for each in kept_of(status))


def notice_of(held: Mapping[str, Any], status: Mapping[str, Any]) -> Notice | None:
    """Give what is to be told of a rule that has just fallen to Shadow; None where it has not.

    Args:
        held: Its status so far.
        status: The one that is about to be written.
    """
    known = {(each.get("reason"), each.get("observedGeneration")) for each in kept_of(held)}
    for each in kept_of(status):
        this = each.get("reason"), each.get("observedGeneration")
        if each.get("reason") in _REASONS and this not in known:
            return Notice("Warning", f"Precision{each['reason']}", each["message"], f"{TYPE} {this[0]} {this[1]}")
    return None


def kept_of(status: Mapping[str, Any]) -> list[Manifest]:
    """Give the condition that nothing else may remove from a status."""
    return [each for each in status.get("conditions") or () if each.get("type") == TYPE]


def as_it_works(ruled: Ruled, rule: FraudRule) -> Ruled:
    """Have the worker judge by a rule as it works now."""
    return replace(ruled, policy=replace(ruled.policy, mode=mode_of(rule)))


def added(figures: Sequence[RuleFigures]) -> list[RuleFigures]:
    """Have what labels say of one campaign stand with one worker of each version, as it is known by all of them.

    Args:
        figures: What the workers of the campaign say of one rule.
    """
    versions: dict[str, list[Evidence]] = {}
    for each in figures:
        versions.setdefault(each.version, []).append(each.evidence)
    together = {version: of_workers(said) for version, said in versions.items()}
    return [replace(each, evidence=together.pop(each.version, Evidence())) for each in figures]


def figures_of(figures: Sequence[RuleFigures]) -> Manifest:
    """Write precision and recall for the status; neither where there are no labels."""
    evidence = total(each.evidence for each in figures)
    shares = {"precision": precision_of(evidence), "recall": recall_of(evidence)}
    return {name: figure_of(share) for name, share in shares.items() if share is not None}


def figure_of(share: Share) -> Manifest:
    """Write a share for a status."""
    told: Manifest = {
        "value": percent(share.value),
        "interval": {"low": percent(share.low), "high": percent(share.high)},
        "labels": share.labels,
    }
    return {**told, "message": share.message} if share.message else told


def precise(
    rule: FraudRule, figures: Sequence[RuleFigures], held: Mapping[str, Any], past: Evidence | None = None
) -> Condition | None:
    """Say whether a rule is as right as it has to be; None where it does not have to be.

    It falls by what it has found, and just as well by what it would have found: where either is surely too often wrong.

    Args:
        rule: A rule that was loaded.
        figures: What the workers say of it.
        held: Its status so far.
        past: What labels say of this generation of it, tried on the past; None where they say nothing.
    """
    minimum = rule.spec.minimum_precision
    if before := _fell(rule):
        return before
    if minimum is None:
        return None
    now = _by_what_it_found(rule, figures, held, minimum)
    share = precision_in_the_past(past) if past else None
    if past is None or share is None or now.reason == FALLEN or not falls(share, minimum):
        return now
    told = (
        f"of those whom it would have found in the past {_measured(share)} "
        f"({share.labels} labels of {past.found} keys; see status.backtest)"
    )
    return _fallen_by(FALLEN_IN_THE_PAST, told, minimum, rule.spec.mode)


def _by_what_it_found(
    rule: FraudRule, figures: Sequence[RuleFigures], held: Mapping[str, Any], minimum: float
) -> Condition:
    # What is known of an older version says nothing about this one.
    newest = [each.evidence for each in figures if each.generation == rule.metadata.generation]
    if not newest:
        return _as_before(rule, held)
    evidence = total(newest)
    share = precision_of(evidence)
    if share is None:
        return Condition(TYPE, "Unknown", "NoLabels", what_lacks(evidence))
    if share.labels < FEWEST:
        return Condition(TYPE, "Unknown", "FewLabels", share.message)
    return _judged(share, evidence, minimum, rule.spec.mode)


def _judged(share: Share, evidence: Evidence, minimum: float, mode: Mode) -> Condition:
    left_alone = f"{share.labels} labels of {evidence.alone} keys that were left alone"
    told = f"of those whom it found {_measured(share)} ({left_alone})"
    if falls(share, minimum):
        return _fallen_by(FALLEN, told, minimum, mode)
    wanted = f"minimumPrecision, {100 * minimum:g}%"
    if share.low >= minimum:
        return Condition(TYPE, "True", "Proven", f"{told}: all of that is above {wanted}")
    return Condition(TYPE, "Unknown", "Undecided", f"{told}: {wanted}, lies within, so more labels have to decide")


def _measured(share: Share) -> str:
    return f"{percent(share.value)} were dishonest, and with 95% between {percent(share.low)} and {percent(share.high)}"


def _fallen_by(reason: str, told: str, minimum: float, mode: Mode) -> Condition:
    shadow = "the rule stops nobody any more, until its spec is changed" if mode == "Enforce" else "do not enforce it"
    below = f"all of that is below minimumPrecision, {100 * minimum:g}%"
    return Condition(TYPE, "False", reason, f"{told}: {below}; {shadow}")


def _as_before(rule: FraudRule, held: Mapping[str, Any]) -> Condition:
    for each in kept_of(held):
        is_of_the_past = each.get("reason") == FALLEN_IN_THE_PAST
        if each.get("observedGeneration") == rule.metadata.generation and not is_of_the_past:
            return Condition(TYPE, each["status"], each["reason"], each["message"])
    return Condition(TYPE, "Unknown", "NoLabels", "no worker has said anything of this version yet")


def percent(share: float) -> str:
    """Write a share, such as 96.4%."""
    return f"{share:.1%}"
