"""How long verdicts took of late."""

import math

from hypothesis import given
from hypothesis import strategies as st

from flywheel.fraud.lags import LATEST, Lags, rounded_up


@given(st.lists(st.floats(0, 100), min_size=1, max_size=3 * LATEST))
def test_p99_is_the_smallest_within_which_99_of_100_of_the_latest_were_judged(seconds: list[float]) -> None:
    lags = Lags()
    for each in seconds:
        lags.note("shop", each)
    latest = seconds[-LATEST:]
    found = lags.p99("shop")
    assert found in latest
    enough = [each for each in latest if sum(other <= each for other in latest) >= 0.99 * len(latest)]
    assert found == min(enough)


def test_nothing_is_said_of_nothing() -> None:
    assert Lags().p99("shop") is None


@given(st.floats(0, 1e7))
def test_a_figure_is_rounded_up_to_a_round_one(milliseconds: float) -> None:
    found = rounded_up(milliseconds)
    assert milliseconds <= found <= max(1, 2.5 * milliseconds)
    assert found / 10 ** int(math.log10(found)) in (1, 2, 5)
