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
from flywheel.fraud.policy import Ruled, Rules
from flywheel.fraud.proof import FEWEST, Evidence, Share, falls, of_workers, precision_of, recall_of, total, what_lacks
from flywheel.fraud.rulings import RuleFigures
from flywheel.fraud.words import Mode
from flywheel.plan import Manifest

TYPE = "Precise"
FALLEN = "TooLow"


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
    if rule.spec.mode != "Enforce":
        return ""
    for each in kept_of(rule.status):
        is_it = each.get("status") == "False" and each.get("reason") == FALLEN
        if is_it and each.get("observedGeneration") == rule.metadata.generation:
            return str(each.get("message") or "its precision was too low")
    return ""


def mode_of(rule: FraudRule) -> Mode:
    """Say how a rule works now."""
    return "Shadow" if fallen(rule) else rule.spec.mode


def is_falling(status: Mapping[str, Any]) -> bool:
    """Tell whether a rule was found to be too often wrong, while the worker still enforces it."""
    return status.get("mode") == "Enforce" and any(each.get("reason") == FALLEN for each in kept_of(status))


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
    return {name: _figure(share) for name, share in shares.items() if share is not None}


def _figure(share: Share) -> Manifest:
    told: Manifest = {
        "value": percent(share.value),
        "interval": {"low": percent(share.low), "high": percent(share.high)},
        "labels": share.labels,
    }
    return {**told, "message": share.message} if share.message else told


def precise(rule: FraudRule, figures: Sequence[RuleFigures], held: Mapping[str, Any]) -> Condition | None:
    """Say whether a rule is as right as it has to be; None where it does not have to be.

    Args:
        rule: A rule that was loaded.
        figures: What the workers say of it.
        held: Its status so far.
    """
    minimum = rule.spec.minimum_precision
    if why := fallen(rule):
        return Condition(TYPE, "False", FALLEN, why)
    if minimum is None:
        return None
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
    told = (
        f"of those whom it found {percent(share.value)} were dishonest, and with 95% between {percent(share.low)} and "
        f"{percent(share.high)} ({share.labels} labels of {evidence.alone} keys that were left alone)"
    )
    wanted = f"minimumPrecision, {100 * minimum:g}%"
    if falls(share, minimum):
        shadow = (
            "the rule stops nobody any more, until its spec is changed" if mode == "Enforce" else "do not enforce it"
        )
        return Condition(TYPE, "False", FALLEN, f"{told}: all of that is below {wanted}; {shadow}")
    if share.low >= minimum:
        return Condition(TYPE, "True", "Proven", f"{told}: all of that is above {wanted}")
    return Condition(TYPE, "Unknown", "Undecided", f"{told}: {wanted}, lies within, so more labels have to decide")


def _as_before(rule: FraudRule, held: Mapping[str, Any]) -> Condition:
    for each in kept_of(held):
        if each.get("observedGeneration") == rule.metadata.generation:
            return Condition(TYPE, each["status"], each["reason"], each["message"])
    return Condition(TYPE, "Unknown", "NoLabels", "no worker has said anything of this version yet")


def percent(share: float) -> str:
    """Write a share, such as 96.4%."""
    return f"{share:.1%}"
