"""The A/B test of the demo: read, told, and compared with what shoppers counted themselves."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.abtest import (
    GUESTS,
    LAG,
    WINNER,
    ABTestSeen,
    ABTestView,
    Arm,
    abtest_changes,
    abtest_view,
    in_words,
    unexplained,
)
from rehearsal.crowd import Sighting, read_progress, read_report, read_sightings, unstamped
from rehearsal.releases import Told

BEGAN = datetime(2026, 11, 23, 14, 9, tzinfo=UTC)
MANIFEST: dict[str, Any] = {
    "metadata": {"name": "claim-button"},
    "spec": {"variants": [{"name": "green-button"}, {"name": "red", "control": True}]},
    "status": {
        "state": "Running",
        "conditions": [{"type": "Ready", "status": "True", "message": "too early to tell"}],
        "startedAt": "2026-11-23T14:09:00Z",
        "updatedAt": "2026-11-23T14:10:15Z",
        "variants": [
            {
                "name": "green-button", "visitors": 98, "conversions": 51, "value": "52%", "estimate": "+85%",
                "interval": {"low": "-4%", "high": "+260%"},
            },
            {"name": "red", "visitors": 103, "conversions": 29, "value": "28.2%"},
        ],
    },
}  # fmt: skip
RUNNING = abtest_view(MANIFEST)
PROMOTED = replace(RUNNING, state="Promoted", verdict="Ship", winner=WINNER, reason="green-button is better than red.")


def sightings(*counts: tuple[int, int, int]) -> list[Sighting]:
    """Give counts of red and green at seconds after the start of the test."""
    return [Sighting(BEGAN + timedelta(seconds=at), {"red": red, "green": green}) for at, red, green in counts]


EQUAL = sightings((-5, 4, 0), (0, 6, 0), (55, 90, 85), (75, 105, 96), (80, 112, 104))


def perfect(**differently: Any) -> ABTestSeen:
    told = Told("the A/B test", "green-button has won", 900)
    made = ABTestSeen(told, PROMOTED, EQUAL, Counter({WINNER: 25}))
    return replace(made, **differently)


def test_a_test_is_read_with_its_control_first() -> None:
    assert [each.name for each in RUNNING.arms] == ["red", "green-button"]
    assert (RUNNING.visitors, RUNNING.started_at) == (201, BEGAN)
    assert in_words(RUNNING) == (
        "red 103 visitors, 29 claimed; green-button 98 visitors, 51 claimed; green-button +85% [-4% to +260%]"
    )
    new = abtest_view({**MANIFEST, "status": {}})
    assert (new.state, new.arms, in_words(new)) == ("", (), "")


def test_what_changed_is_told_once() -> None:
    assert abtest_changes(None, None) == abtest_changes(RUNNING, RUNNING) == abtest_changes(RUNNING, None) == []
    waiting = ABTestView("claim-button", "Waiting", "the campaign is Warm")
    assert abtest_changes(None, waiting) == ["abtest    claim-button: (new) -> Waiting: the campaign is Warm"]
    begun = ABTestView("claim-button", "Running")
    assert abtest_changes(waiting, begun) == ["abtest    claim-button: Waiting -> Running"]
    (figures,) = abtest_changes(begun, RUNNING)
    assert "green-button +85% [-4% to +260%]" in figures
    decided = replace(PROMOTED, state="Decided")
    assert abtest_changes(RUNNING, decided) == [
        "abtest    claim-button: Running -> Decided",
        "abtest    Ship: green-button is better than red.",
    ]
    assert abtest_changes(decided, PROMOTED) == ["abtest    claim-button: Decided -> Promoted"]


def test_a_test_as_it_should_be_has_no_problems() -> None:
    assert perfect().problems() == []


@pytest.mark.parametrize(
    ("differently", "problem"),
    [
        ({"last": None}, "nothing was seen of the A/B test"),
        ({"last": RUNNING}, "claim-button is Running and has decided nothing, not Ship green-button: too early"),
        ({"last": replace(PROMOTED, verdict="KeepControl", winner="")}, "has decided KeepControl, not Ship"),
        ({"last": replace(PROMOTED, state="Decided")}, "has found green-button better, but is Decided, not Promoted"),
        ({"told": Told("the A/B test")}, "it did not come to its end"),
        ({"told": Told("the A/B test", "won", 9, ["GET /: HTTP status 503"])}, "1 of 9 requests meanwhile failed"),
        ({"told": Told("the A/B test", "won", 9, amiss=["not through these gates: form"])}, "these gates: form"),
        ({"fresh": Counter({WINNER: 20, "red": 5})}, "they saw 20 green-button, 5 red"),
        ({"fresh": Counter({"": 25})}, "they saw 25 another page"),
        ({"fresh": Counter()}, "they saw nothing"),
        ({"sightings": ()}, "could not be compared"),
        ({"sightings": sightings((0, 6, 0), (55, 120, 85), (75, 130, 96))}, "103 visitors of red; the shoppers' own"),
        ({"sightings": sightings((0, 6, 0), (55, 90, 85), (75, 105, 90))}, "count explains 85 to 95"),
    ],
)
def test_each_missing_fact_is_told(differently: dict[str, Any], problem: str) -> None:
    (told,) = perfect(**differently).problems()
    assert problem in told


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 3)), min_size=30, max_size=30),
    st.integers(0, GUESTS),
)
def test_a_test_that_counts_all_shoppers_a_little_later_is_explained(
    came: list[tuple[int, int, int]], guests: int
) -> None:
    # Each second some see red, some green; of those who came before the start some come again after it.
    begin, last, late = 8, 28, int(LAG.total_seconds()) - 1
    counts = [(at, sum(r for r, _, _ in came[: at + 1]), sum(g for _, g, _ in came[: at + 1])) for at in range(30)]
    log = [Sighting(BEGAN + timedelta(seconds=at - begin), {"red": r, "green": g}) for at, r, g in counts]
    known = counts[last - late]
    again = min(counts[begin][1], sum(each for _, _, each in came[begin:last]))
    arms = (Arm("red", known[1] - counts[begin][1] + again), Arm("green-button", known[2] - counts[begin][2] + guests))
    view = ABTestView("t", arms=arms, started_at=BEGAN, counted_at=BEGAN + timedelta(seconds=last - begin))
    assert unexplained(view, log) == []


def test_what_shoppers_saw_is_read_off_their_log_with_its_time() -> None:
    stamp = "2026-11-23T14:09:05.123456789Z"
    line = "65 s: 25 here, 164 came, 683 requests, 0 failed, 73 orders, 34,453.00"
    log = (
        f'{stamp} {line}\n{stamp} {line}; 1,118 saw green, 120 saw red\n{stamp} {{\n{stamp}   "seed": 618\n{stamp} }}\n'
    )
    none, some = read_sightings(log)
    assert none.counts == {}
    assert some.counts == {"green": 1118, "red": 120}
    assert some.at == datetime(2026, 11, 23, 14, 9, 5, 123456, tzinfo=UTC)
    assert read_report(unstamped(log)) == {"seed": 618}
    assert read_progress(unstamped(log)) == f"{line}; 1,118 saw green, 120 saw red"
    assert read_sightings("no time here, only words\nError from server") == []
