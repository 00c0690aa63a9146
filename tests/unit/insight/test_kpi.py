"""Key figures from the real store equal those of two others: plain Python, and another engine's SQL."""

from dataclasses import replace
from typing import Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.insight import duck, plain
from tests.unit.insight.conftest import Bench
from tests.unit.insight.stream import NOW, START, TIMEOUT, Stream, make_stream

from flywheel.insight import kpi
from flywheel.insight.kpi import DIMENSIONS, OTHERS, Dimension, Figures
from flywheel.insight.measure import measure
from flywheel.insight.settings import CampaignSettings, OrderSettings


def of(campaign_start: int = START, page_views: Literal["Edge", "Script"] = "Edge") -> CampaignSettings:
    return CampaignSettings(start=campaign_start, session_timeout=TIMEOUT, page_views=page_views)


@settings(max_examples=10)
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(1, 300),
    window=st.sampled_from(tuple(kpi.WINDOWS)),
    by=st.sampled_from((None, *DIMENSIONS)),
    page_views=st.sampled_from(("Edge", "Script")),
)
def test_figures_equal_two_other_computations(
    bench: Bench, seed: int, size: int, window: str, by: Dimension | None, page_views: Literal["Edge", "Script"]
) -> None:
    stream = make_stream(seed, size)
    campaign = bench.keep(stream)
    asked = of(page_views=page_views)
    found = bench.run(measure(bench.store, campaign, asked, window, NOW, by))
    scope = asked.scope(campaign, window, NOW, by)
    assert found == plain.measure(stream.kept(), scope, window)
    assert found.total == duck.measure(stream.kept(), scope)
    assert found.total == bench.run(measure(bench.store, campaign, asked, window, NOW)).total


def test_rare_values_are_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kpi, "MOST_VALUES", 2)
    stream = make_stream(7, 300)
    campaign = bench.keep(stream)
    found = bench.run(measure(bench.store, campaign, of(), "campaign", NOW, "channel"))
    assert len(found.parts) == 3
    assert OTHERS in found.parts
    assert found == plain.measure(stream.kept(), of().scope(campaign, "campaign", NOW, "channel"), "campaign", 2)


@pytest.mark.parametrize("by", [None, "region"])
def test_counting_in_rounds_gives_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch, by: Dimension | None) -> None:
    stream = make_stream(11, 300)
    campaign = bench.keep(stream)
    at_once = bench.run(measure(bench.store, campaign, of(), "campaign", NOW, by))
    monkeypatch.setattr(kpi, "RECORDS_AT_ONCE", 50)
    assert bench.run(measure(bench.store, campaign, of(), "campaign", NOW, by)) == at_once


@pytest.mark.parametrize("by", [None, *DIMENSIONS])
def test_nothing_gives_nothing(bench: Bench, by: Dimension | None) -> None:
    found = bench.run(measure(bench.store, "unknown", of(), "campaign", NOW, by))
    assert found.total == Figures()
    assert found.parts == {}
    assert found.total.conversion is found.total.average_order_value is found.total.error_rate is None


def test_what_comes_late_counts_where_it_belongs(bench: Bench) -> None:
    stream = make_stream(3, 200)
    half = len(stream.events) // 2
    early = Stream(stream.events[:half], stream.requests)
    campaign = bench.keep(early)
    before = bench.run(measure(bench.store, campaign, of(), "1h", NOW))
    late = Stream(stream.events[half:], stream.requests[:1])
    scope = of().scope(campaign, "1h", NOW)
    assert before == plain.measure(early.kept(), scope, "1h")
    bench.add(campaign, late)
    after = bench.run(measure(bench.store, campaign, of(), "1h", NOW))
    assert after == plain.measure(stream.kept(), scope, "1h")
    assert after != before


def test_parts_add_up_where_they_say_so(bench: Bench) -> None:
    campaign = bench.keep(make_stream(5, 300))
    found = bench.run(measure(bench.store, campaign, of(), "campaign", NOW, "channel"))
    for name in ("page_views", "sessions", "orders", "unpriced_orders", "requests", "errors"):
        assert sum(getattr(each, name) for each in found.parts.values()) == getattr(found.total, name)
    assert sum(each.visitors for each in found.parts.values()) >= found.total.visitors


def test_a_name_from_outside_is_never_sql(bench: Bench) -> None:
    campaign = bench.keep(make_stream(9, 50))
    named = msgspec.structs.replace(of(), order=OrderSettings(event="x' OR 1=1 --\\"))
    assert bench.run(measure(bench.store, campaign, named, "campaign", NOW)).total.orders == 0


def test_windows_end_now_and_the_campaigns_begins_with_it() -> None:
    assert kpi.bounds("15m", START, NOW) == (NOW - 900_000, NOW)
    assert kpi.bounds("campaign", START, NOW) == (START, NOW)
    assert kpi.bounds("campaign", NOW + 5, NOW) == (NOW, NOW)


def test_ratios_leave_out_orders_of_unknown_value() -> None:
    figures = Figures(visitors=10, buyers=2, orders=4, unpriced_orders=1, revenue=30.0)
    assert figures.average_order_value == 10.0
    assert figures.conversion == 0.2
    assert replace(figures, orders=1).average_order_value is None
