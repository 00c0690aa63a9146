"""Rates from counters: against the truth of simulated pods, and what is said when readings are missing."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.metrics.rates import Reading, Readings

ORDERS = "orders"


def read(*values: tuple[float, float]) -> list[Reading]:
    return [Reading(at, {ORDERS: value}) for at, value in values]


def rate_of(pods: dict[str, list[Reading]], now: float, among: list[str] | None = None) -> float | None:
    readings = Readings()
    for pod, each in pods.items():
        for reading in each:
            readings.add(pod, reading)
    rate = readings.rate(ORDERS, among if among is not None else list(pods), now)
    return rate and round(rate.per_second, 9)


def test_the_rates_of_all_pods_are_added_up() -> None:
    pods = {"a": read((0, 100), (5, 150), (10, 200)), "b": read((1, 7), (6, 7), (11, 37))}
    assert rate_of(pods, 11) == 10 + 3


def test_a_counter_that_started_anew_has_counted_from_zero() -> None:
    assert rate_of({"a": read((0, 1000), (5, 1050), (10, 20))}, 10) == 7


def test_what_is_older_than_the_window_does_not_count() -> None:
    assert rate_of({"a": read((0, 0), (5, 5000), (10, 5000), (20, 5000), (35, 5050), (40, 5060))}, 40) == 2


def test_a_first_event_counts_although_its_series_was_not_there_before() -> None:
    readings = [Reading(0, {}), Reading(5, {}), Reading(10, {ORDERS: 40.0})]
    assert rate_of({"a": readings}, 10) == 4


def test_nothing_counted_in_pods_that_were_read_is_zero() -> None:
    assert rate_of({"a": [Reading(0, {}), Reading(5, {})]}, 5) == 0


@pytest.mark.parametrize(
    ("pods", "among"),
    [
        ({}, []),
        ({}, ["a"]),
        ({"a": read((0, 5))}, ["a"]),
        ({"a": read((0, 5), (5, 50))}, ["b"]),
        ({"a": read((0, 5), (5, 50))}, []),
        ({"a": read((-20, 5), (-15, 50))}, ["a"]),
        ({"a": read((0, 5), (5, 50))}, ["a", "b", "c"]),
    ],
)
def test_what_is_not_known_is_not_zero(pods: dict[str, list[Reading]], among: list[str]) -> None:
    assert rate_of(pods, 6, among) is None


def test_a_pod_that_cannot_be_read_is_taken_to_do_as_the_others() -> None:
    pods = {"a": read((0, 0), (5, 50)), "b": read((0, 0), (5, 100))}
    assert rate_of(pods, 6, ["a", "b", "silent"]) == 45


def test_a_pod_that_has_just_come_does_not_change_the_rate() -> None:
    pods = {"a": read((0, 0), (5, 50)), "new": read((5, 3))}
    assert rate_of(pods, 6) == 10


def test_a_pod_that_is_gone_does_not_count() -> None:
    readings = Readings()
    for pod in ("a", "b"):
        for each in read((0, 0), (5, 50)):
            readings.add(pod, each)
    readings.keep_only(["a"])
    assert readings.rate(ORDERS, ["a", "b"], 6) is not None
    assert readings.rate(ORDERS, ["b"], 6) is None


@dataclass
class SimulatedPod:
    """Counts steadily and restarts now and then; the truth is known without any window."""

    per_second: int
    restarts: list[int]

    def counter(self, at: int) -> float:
        since = max([0, *(moment for moment in self.restarts if moment <= at)])
        return float(self.per_second * (at - since))


@given(
    st.lists(
        st.builds(SimulatedPod, st.integers(0, 500), st.lists(st.integers(1, 59), max_size=2)), min_size=1, max_size=6
    ),
    st.integers(2, 10),
    st.integers(30, 60),
)
def test_steady_pods_are_measured_exactly_but_for_what_a_restart_swallows(
    pods: list[SimulatedPod], interval: int, now: int
) -> None:
    readings = Readings()
    for at in range(0, now + 1, interval):
        for number, pod in enumerate(pods):
            readings.add(str(number), Reading(at, {ORDERS: pod.counter(at)}))
    rate = readings.rate(ORDERS, [str(number) for number in range(len(pods))], now)
    assert rate is not None
    truth = sum(pod.per_second for pod in pods)
    # A restart hides at most what was counted since the reading before it.
    lost = sum(pod.per_second * interval * len(pod.restarts) for pod in pods) / (rate.window or 1)
    assert truth - lost - 1e-6 <= rate.per_second <= truth + 1e-6
