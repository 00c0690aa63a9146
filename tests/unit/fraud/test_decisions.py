"""Who goes before whom between a verdict and what is done."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.fraud.decisions import Decision, decide, strongest
from flywheel.fraud.explain import duration, explain
from flywheel.fraud.listed import Entries, Lists
from flywheel.fraud.listing import read_list
from flywheel.fraud.policy import Action, ListNames, ListOf, Policy, Ruled, Rules, Snooze, read_rules, write_rules
from flywheel.fraud.rule import AccountAge, Count, Distinct, Filter, Match, Rule, Sequence
from flywheel.fraud.words import Event, Verdict

NOW = 1_800_000_000_000
RULE = Rule(
    name="r",
    match=Match(events=("Coupon Claimed",)),
    key=("address",),
    window=60_000,
    conditions=(Count(more_than=20),),
)
BLOCK = Action(kind="Block", lasts=1_800_000, scope=("/coupon",))
FRIENDS = ListOf(source="configmap/friends/addresses")
EVENT = Event(id="e", time=NOW, arrived=NOW, address="192.0.2.7", user="ann", fields={"device": "d1"})
LISTS = {FRIENDS: Entries(read_list(FRIENDS, b"# the office\n\n192.0.2.0/24", denies=True).packed)}


def verdict(key: str = "192.0.2.7", **more: object) -> Verdict:
    given = {
        "rule": "r",
        "version": "v",
        "event": "e",
        "at": NOW,
        "key": (key,),
        "observed": 21,
        "limit": 20,
        "since": NOW - 60_000,
    }
    return Verdict(**{**given, **more})


def decided(policy: Policy, key: str = "192.0.2.7", now: int = NOW, lists: Lists = LISTS, **more: object) -> Decision:
    return decide(Ruled(rule=RULE, policy=policy), verdict(key, **more), EVENT, now, lists)


def test_a_block_has_an_absolute_end_and_a_scope() -> None:
    found = decided(Policy(action=BLOCK, mode="Enforce"))
    assert (found.done, found.action, found.until) == ("Acted", "Block", NOW + 1_800_000)
    assert (found.scope, found.status, found.would, found.names) == (("/coupon",), 403, None, ("address",))


ALLOW, DENY, WATCH = (ListNames(**{name: (FRIENDS,)}) for name in ("allow", "deny", "watch"))
EXEMPT = ((Filter(field="user", operator="Equals", values=("ann",)),),)
SNOOZE = (Snooze(key=("192.0.2.7",), until=NOW + 1, reason="asked"),)


@pytest.mark.parametrize(
    ("policy", "done"),
    [
        (Policy(action=BLOCK, mode="Off"), "Off"),
        (Policy(action=BLOCK, mode="Enforce", lists=ALLOW), "Allowed"),
        (Policy(action=BLOCK, mode="Enforce", lists=ListNames(allow=(FRIENDS,), deny=(FRIENDS,))), "Allowed"),
        (Policy(action=BLOCK, mode="Enforce", exempt=EXEMPT), "Exempt"),
        (Policy(action=BLOCK, mode="Enforce", lists=DENY, exempt=EXEMPT), "Exempt"),
        (Policy(action=BLOCK, mode="Enforce", snoozes=SNOOZE), "Snoozed"),
        (Policy(action=BLOCK, mode="Enforce", holdout=10_000, lists=DENY), "HeldOut"),
        (Policy(action=BLOCK, mode="Shadow"), "Shadow"),
        (Policy(action=BLOCK, mode="Shadow", lists=DENY), "Shadow"),
        (Policy(action=BLOCK, mode="Enforce", share=0), "OutsideShare"),
    ],
)
def test_the_first_reason_to_leave_somebody_alone_counts(policy: Policy, done: str) -> None:
    found = decided(policy)
    assert (found.done, found.action, found.until) == (done, None, 0)
    assert found.would == (None if done == "Off" else "Block")


def test_a_deny_list_acts_outside_the_share_and_a_watch_list_reviews() -> None:
    assert decided(Policy(action=BLOCK, mode="Enforce", share=0, lists=DENY)).action == "Block"
    watched = decided(Policy(action=BLOCK, mode="Enforce", lists=WATCH))
    assert (watched.action, watched.would, watched.until) == ("Review", "Block", 0)


def test_a_snooze_ends() -> None:
    assert decided(Policy(action=BLOCK, mode="Enforce", snoozes=SNOOZE), now=NOW + 1).done == "Acted"


@given(st.text(), st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_of_a_share_never_lets_a_key_go(key: str, one: int, other: int) -> None:
    low, high = sorted((one, other))
    if decided(Policy(action=BLOCK, mode="Enforce", share=low), key).action:
        assert decided(Policy(action=BLOCK, mode="Enforce", share=high), key).action


def test_shares_and_holdouts_are_about_as_large_as_they_say_and_have_nothing_to_do_with_each_other() -> None:
    policy = Policy(action=BLOCK, mode="Enforce", share=3000, holdout=1000)
    done = [decided(policy, f"k{i}").done for i in range(20_000)]
    assert done.count("HeldOut") / 20_000 == pytest.approx(0.1, abs=0.01)
    assert done.count("Acted") / (20_000 - done.count("HeldOut")) == pytest.approx(0.3, abs=0.015)


def test_while_an_allow_list_has_never_been_read_nobody_is_stopped_and_others_are_done_without() -> None:
    policy = Policy(action=BLOCK, mode="Enforce", lists=ALLOW)
    unread = decided(policy, lists={})
    assert (unread.done, unread.action, unread.would, unread.because) == ("Unprotected", None, "Block", FRIENDS.source)
    assert decided(Policy(action=BLOCK, mode="Enforce", lists=DENY), lists={}).action == "Block"
    assert decided(Policy(action=BLOCK, mode="Enforce", lists=WATCH), lists={}).action == "Block"


def test_who_is_only_watched_is_reviewed_whatever_the_share_and_in_shadow_nothing_follows() -> None:
    watched = {"listed": "Watch", "detail": FRIENDS.source}
    found = decided(Policy(action=BLOCK, mode="Enforce", share=0, holdout=10_000, lists=WATCH), **watched)
    assert (found.done, found.action, found.would, found.until) == ("Watched", "Review", None, 0)
    found = decided(Policy(action=BLOCK, lists=WATCH), **watched)
    assert (found.done, found.action, found.would) == ("Watched", None, None)
    spared = decided(Policy(action=BLOCK, mode="Enforce", lists=WATCH, exempt=EXEMPT), **watched)
    assert (spared.done, spared.action, spared.would) == ("Exempt", None, None)


def test_a_verdict_of_a_list_says_which() -> None:
    policy = Policy(action=BLOCK, mode="Enforce", lists=DENY)
    given = {"listed": "Deny", "detail": FRIENDS.source}
    ruled = Ruled(rule=RULE, policy=policy)
    assert explain(ruled, verdict(**given), decided(policy, **given)) == (
        "address 192.0.2.7: on the deny list configmap/friends/addresses, rule r (version v), at 2027-01-15T08:00:00Z. "
        "Block on /coupon until 2027-01-15T08:30:00Z (configmap/friends/addresses)."
    )
    policy = Policy(action=BLOCK, mode="Enforce", lists=WATCH)
    assert explain(ruled, verdict(), decided(policy)).endswith(
        "Review instead of Block: a watch list names the sender (configmap/friends/addresses)."
    )


def test_the_severest_action_is_taken_and_one_rules_allow_list_says_nothing_about_another() -> None:
    block, tag = (
        decided(Policy(action=BLOCK, mode="Enforce")),
        decided(Policy(action=Action(kind="Tag"), mode="Enforce")),
    )
    longer = msgspec.structs.replace(block, until=block.until + 1)
    assert strongest([tag, block, longer]) == longer
    assert strongest([block, decided(Policy(action=BLOCK, mode="Enforce", lists=ALLOW))]) == block
    assert strongest([decided(Policy(action=BLOCK, mode="Shadow"))]) is None


def test_rules_are_read_as_they_were_written_and_nothing_else_is() -> None:
    rules = Rules(rules=(Ruled(rule=RULE, policy=Policy(action=BLOCK, lists=ALLOW, snoozes=SNOOZE), generation=3),))
    assert read_rules(write_rules(rules)) == rules
    assert read_rules(write_rules(rules)).rules[0].rule.version == RULE.version
    with pytest.raises(ValueError, match="cannot be read"):
        read_rules(b'{"rules": [], "more": 1}')


def test_the_version_is_what_is_judged_by() -> None:
    assert msgspec.structs.replace(RULE, name="other").version == RULE.version
    assert msgspec.structs.replace(RULE, window=1).version != RULE.version


def test_sentences_say_who_what_and_what_was_done() -> None:
    ruled = Ruled(rule=RULE, policy=Policy(action=BLOCK, mode="Enforce"))
    assert explain(ruled, verdict(saturated=True), decided(ruled.policy)) == (
        "address 192.0.2.7: at least 21 where the limit is 20 of Coupon Claimed in 1m, rule r (version v), at "
        "2027-01-15T08:00:00Z. Block on /coupon until 2027-01-15T08:30:00Z."
    )
    shadow = decided(Policy(action=BLOCK))
    assert explain(ruled, verdict(), shadow).endswith(
        "Nothing was done: the rule is in Shadow; it would have been Block."
    )


def test_sentences_name_all_limits() -> None:
    steps = Sequence(steps=(Match(events=("Signed Up",)),), within=1000)
    conditions = Distinct(field="user", more_than=5), steps, AccountAge(less_than=600_000, created_at="c")
    rule = msgspec.structs.replace(RULE, conditions=conditions, combine="Any")
    said = explain(Ruled(rule=rule, policy=Policy(action=BLOCK)), verdict(warming=True, detail="two places"))
    assert "5 different values of user in 1m or 1s from Signed Up, then Coupon Claimed" in said
    assert "two places; the window was not yet full" in said


def test_durations_are_written_as_people_do() -> None:
    assert [duration(each) for each in (250, 1000, 90_000, 600_000, 7 * 86_400_000)] == [
        "250ms",
        "1s",
        "90s",
        "10m",
        "7d",
    ]
