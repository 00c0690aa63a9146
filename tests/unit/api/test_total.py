"""Whatever comes in: a resource or an InvalidResource comes out, and never another exception."""

import copy
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bad_abtests.table import BASES as TESTS
from tests.bad_abtests.table import good_abtest
from tests.bad_campaigns.table import BASES, good_campaign
from tests.bad_fraudrules.table import BASES as RULES
from tests.bad_fraudrules.table import good_fraudrule

from flywheel.api.abtest import ABTest
from flywheel.api.load import InvalidResource, load_abtest, load_campaign, load_fraudrule, unknown_fields
from flywheel.api.quantities import MOMENT_PATTERN, Text, read_duration, read_moment

LOADERS = {"Campaign": load_campaign, "ABTest": load_abtest, "FraudRule": load_fraudrule}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
python_values = json_values | st.dates() | st.binary() | st.sets(st.integers()) | st.just(object())


def check(manifest: Any, kind: str) -> None:
    """Load; whatever else than an InvalidResource is raised fails the test."""
    problems = None
    try:
        LOADERS[kind](manifest)
    except InvalidResource as error:
        problems = error.problems
    assert problems is None or all(problem.message for problem in problems)
    assert problems != ()


@given(python_values)
def test_any_value(value: Any) -> None:
    for kind in LOADERS:
        check(value, kind)
    unknown_fields(value)
    unknown_fields(value, ABTest)


def places(value: Any, parent: Any = None, key: Any = None) -> list[tuple[Any, Any]]:
    """Every place of a value where something else could stand: (container, key)."""
    found = [(parent, key)] if parent is not None else []
    if isinstance(value, dict):
        return found + [place for name, item in value.items() for place in places(item, value, name)]
    if isinstance(value, list):
        return found + [place for index, item in enumerate(value) for place in places(item, value, index)]
    return found


GOOD = [
    *(good_campaign(base) for base in BASES),
    *(good_abtest(base) for base in TESTS),
    *(good_fraudrule(base) for base in RULES),
]
PLACES = [(index, place) for index, good in enumerate(GOOD) for place in range(len(places(good)))]


@settings(max_examples=400)
@given(st.sampled_from(PLACES), python_values)
def test_a_good_resource_with_anything_in_any_place(where: tuple[int, int], value: Any) -> None:
    good, place = where
    manifest = copy.deepcopy(GOOD[good])
    container, key = places(manifest)[place]
    container[key] = value
    check(manifest, GOOD[good]["kind"])


@settings(max_examples=200)
@given(st.sampled_from(PLACES), st.text(max_size=8), python_values)
def test_a_good_resource_with_anything_beside_any_place(where: tuple[int, int], name: str, value: Any) -> None:
    good, place = where
    manifest = copy.deepcopy(GOOD[good])
    container, _ = places(manifest)[place]
    if isinstance(container, dict):
        container[name] = value
    else:
        container.append(value)
    check(manifest, GOOD[good]["kind"])


@settings(max_examples=200)
@given(st.sampled_from(PLACES))
def test_a_good_resource_with_one_place_empty(where: tuple[int, int]) -> None:
    good, place = where
    manifest = copy.deepcopy(GOOD[good])
    container, key = places(manifest)[place]
    del container[key]
    check(manifest, GOOD[good]["kind"])


@given(st.dates(date(2000, 1, 1), date(2199, 12, 31)), st.times().map(lambda each: each.replace(microsecond=0)))
def test_every_moment_of_the_calendar_has_the_form(day: date, time: Any) -> None:
    moment = datetime.combine(day, time)
    assert Text(MOMENT_PATTERN, "", 32).matches(moment.isoformat())
    assert read_moment(moment.isoformat()) == moment


@given(st.integers(2000, 2199), st.integers(0, 13), st.integers(0, 32))
def test_the_form_knows_exactly_the_days_that_exist(year: int, month: int, day: int) -> None:
    try:
        exists = bool(date(year, month, day))
    except ValueError:
        exists = False
    assert Text(MOMENT_PATTERN, "", 32).matches(f"{year:04}-{month:02}-{day:02}T12:00:00Z") == exists


def test_leap_days_of_two_centuries() -> None:
    form = Text(MOMENT_PATTERN, "", 32)
    leap = [year for year in range(2000, 2200) if form.matches(f"{year}-02-29T00:00:00")]
    assert leap == [year for year in range(2000, 2200) if year % 4 == 0 and year != 2100]


@given(st.integers(0, 9999), st.integers(0, 99999), st.integers(0, 9_999_999), st.integers(0, 99_999_999))
def test_a_duration_is_the_sum_of_its_parts(days: int, hours: int, minutes: int, seconds: int) -> None:
    text = f"{days}d{hours}h{minutes}m{seconds}s"
    assert read_duration(text) == timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "5 m", "5m5h", "1.5h", "5m\n", "٥m", "1w", "5M"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        read_duration(text)
