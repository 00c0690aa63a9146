"""Which windows are filled from the event store, and what a status says of it."""

from typing import Any

import msgspec
import pytest
from tests.unit.campaign.test_fraudplan import NOW, SHOP, campaign, condition, figures, planned, rule

from flywheel.api.campaign import Campaign
from flywheel.campaign.fraudpast import unfillable, wanted_pasts
from flywheel.campaign.fraudtold import Seen, WorkerState, status_of
from flywheel.fraud.compiling import ruled_of
from flywheel.fraud.rulings import RuleFigures

SINCE = 1_800_000_000_000


def keeping(addresses: str) -> Campaign:
    made = campaign(SHOP)
    assert made.spec.edge
    events = made.spec.edge.events.model_copy(update={"addresses": addresses})
    return made.model_copy(
        update={"spec": made.spec.model_copy(update={"edge": made.spec.edge.model_copy(update={"events": events})})}
    )


def seen(told: RuleFigures, addresses: str = "Hash") -> Seen:
    workers = {SHOP: (WorkerState("flywheel-fraud-0", {told.rule: told}),)}
    return Seen(workers, campaigns={SHOP: keeping(addresses)})


def judged_of(**spec: Any) -> Any:
    [judged] = planned(rule(**{"key": ["user"]} | spec)).judged
    return judged


def test_what_waits_at_a_worker_is_wanted() -> None:
    judged = judged_of()
    version = judged.ruled.rule.version
    told = seen(msgspec.structs.replace(figures(warm=False, awaits=SINCE), version=version))
    [wanted] = wanted_pasts([judged], told.campaigns, told.workers)
    assert (wanted.campaign, wanted.rule, wanted.worker, wanted.since) == (SHOP, "burst", "flywheel-fraud-0", SINCE)
    assert (wanted.reach, wanted.lateness, wanted.names) == (65_000, 5_000, ("Coupon Claimed",))
    for other in (msgspec.structs.replace(figures(), version=version), figures(awaits=SINCE)):
        told = seen(other)
        assert wanted_pasts([judged], told.campaigns, told.workers) == []


@pytest.mark.parametrize(
    ("spec", "addresses", "words"),
    [
        ({"key": ["address"]}, "Hash", "the event store has hashes of addresses (edge.events.addresses: Hash)"),
        ({"key": ["addressPrefix"]}, "Drop", "the event store has no addresses"),
        ({"key": ["address"]}, "Store", ""),
        ({"key": ["user"]}, "Drop", ""),
        ({"key": ["user"], "condition": {"distinct": {"field": "address", "moreThan": 2}}}, "Hash", "hashes of"),
        ({"key": ["user"], "condition": {"distinct": {"field": "deviceKind", "moreThan": 2}}}, "Store", "deviceKind"),
    ],
)
def test_a_rule_that_the_store_knows_too_little_for_fills_by_itself_and_says_so(
    spec: dict[str, Any], addresses: str, words: str
) -> None:
    made = ruled_of(rule(**spec), NOW).rule
    why = unfillable(made, keeping(addresses))
    assert words in why
    assert bool(why) is bool(words)


@pytest.mark.parametrize(
    ("told", "key", "status", "reason", "words"),
    [
        (figures(), "user", "True", "Full", "each window is full"),
        (figures(from_store=SINCE), "user", "True", "FromStore", "from the event store, from 2027-01-15T08:00:00Z"),
        (figures(warm=False, awaits=SINCE), "user", "False", "Filling", "they are to be filled from the event store"),
        (figures(warm=False, from_store=SINCE), "user", "False", "Filling", "they were filled from the event store"),
        (figures(warm=False, awaits=SINCE), "address", "False", "Filling", "hashes of addresses"),
        (figures(warm=False), "user", "False", "Filling", "there may have been more than is counted"),
    ],
)
def test_the_status_says_where_windows_are_from(
    told: RuleFigures, key: str, status: str, reason: str, words: str
) -> None:
    found = condition(status_of(judged_of(key=[key]), {}, seen(told), NOW), "Warm")
    assert (found["status"], found["reason"]) == (status, reason)
    assert words in found["message"]
