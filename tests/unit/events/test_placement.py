"""An event belongs to the variant that the edge serves its visitor, where that follows from buckets."""

from typing import Any

import msgspec
import pytest
from tests.unit.events.world import TEST, document

from flywheel.edge.bucket import bucket
from flywheel.edge.document import EdgeDocument, Segment, Target
from flywheel.edge.document import Test as Trial
from flywheel.events.placement import Placement

VISITORS = [f"v-{number}" for number in range(2_000)]


def with_trials(*trials: Trial, holdout_salt: str = "") -> EdgeDocument:
    given = document()
    live = msgspec.structs.replace(given.live, tests=trials, holdout_salt=holdout_salt)
    return msgspec.structs.replace(given, live=live)


def test_visitors_outside_of_a_test_and_held_out_ones_have_no_variant() -> None:
    test = msgspec.structs.replace(TEST, segments=(Segment(start=2_000, end=6_000),), holdout=3_000)
    placement = Placement(with_trials(test, holdout_salt="held"))
    for visitor in VISITORS:
        takes_part = 2_000 <= bucket("layer/landing", visitor) < 6_000 and bucket("held", visitor) >= 3_000
        wanted = "red" if bucket("s1", visitor) < 5_000 else "green"
        assert placement.variant("landing", visitor) == (wanted if takes_part else "")
    assert placement.variant("seckill", VISITORS[0]) == ""
    assert placement.variant("landing", "") == ""


def test_of_several_tests_it_is_the_one_whose_part_of_the_layer_the_visitor_is_in() -> None:
    first = msgspec.structs.replace(TEST, segments=(Segment(start=0, end=5_000),))
    only = tuple(msgspec.structs.replace(each, variant=f"second-{each.variant}") for each in TEST.ranges)
    second = msgspec.structs.replace(
        TEST, name="second", salt="s2", ranges=only, segments=(Segment(start=5_000, end=10_000),)
    )
    placement = Placement(with_trials(first, second))
    for visitor in VISITORS:
        in_second = bucket("layer/landing", visitor) >= 5_000
        assert placement.variant("landing", visitor).startswith("second-") == in_second


@pytest.mark.parametrize("changes", [{"sticky": True}, {"target": Target(devices=("Phone",))}])
def test_what_only_the_edge_knows_is_not_guessed(changes: dict[str, Any]) -> None:
    placement = Placement(with_trials(msgspec.structs.replace(TEST, **changes)))
    assert {placement.variant("landing", visitor) for visitor in VISITORS[:50]} == {""}
