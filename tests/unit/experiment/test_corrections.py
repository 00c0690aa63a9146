"""Corrections for many questions against statsmodels."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from flywheel.experiment.corrections import bonferroni, holm, rejected, shared_level

P_VALUES = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1), min_size=1)


@pytest.fixture(autouse=True, scope="module")
def spared() -> None:
    """Spare the garbage collector all that earlier tests have left: statsmodels starts it at each question."""
    gc.freeze()


@given(P_VALUES, st.floats(0.001, 0.2))
def test_holm_is_that_of_statsmodels(p_values: dict[str, float], level: float) -> None:
    reject, adjusted, *_ = multipletests(list(p_values.values()), level, method="holm")
    found = holm(p_values)
    assert list(found) == list(p_values)
    assert list(found.values()) == pytest.approx(list(adjusted))
    if all(abs(value - level) > 1e-9 for value in adjusted):
        assert rejected(found, level) == {name for name, said in zip(p_values, reject, strict=True) if said}


@given(P_VALUES)
def test_bonferroni_is_that_of_statsmodels_and_never_stronger_than_holm(p_values: dict[str, float]) -> None:
    _, adjusted, *_ = multipletests(list(p_values.values()), method="bonferroni")
    found = bonferroni(p_values)
    assert list(found.values()) == pytest.approx(list(adjusted))
    assert all(found[name] >= value for name, value in holm(p_values).items())


def test_no_question_has_no_answer() -> None:
    assert holm({}) == bonferroni({}) == {}
    with pytest.raises(ValueError, match="one comparison or more"):
        shared_level(0.05, 0)
    assert shared_level(0.05, 4) == pytest.approx(0.0125)
