"""The example's rules meet the example's crowds and hunters: nobody honest is harmed, and most hunters are stopped."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.fraud_worker.rehearsing import Rehearsal

from flywheel.api.fraudrule import FraudRule
from flywheel.api.load import load_fraudrule
from flywheel.simulation.behaviour import Behaviour
from flywheel.simulation.read import read_behaviour

EXAMPLE = Path(__file__).parents[3] / "examples/618"
HUNTERS = (EXAMPLE / "hunters.yaml").read_text("utf-8")
RULES = [each for each in yaml.safe_load_all((EXAMPLE / "fraudrules.yaml").read_text("utf-8")) if each]
SECONDS = 90.0
SEEDS = range(618, 626)


def enforced(*names: str, **changes: Any) -> list[FraudRule]:
    """The example's rules, or those of some names, enforced. Without the holdout, whom chance leaves alone."""
    made = []
    for rule in RULES:
        if names and rule["metadata"]["name"] not in names:
            continue
        spec = {**rule["spec"], "mode": "Enforce", "holdout": "0%", **changes}
        spec.pop("minimumPrecision", None)
        made.append(load_fraudrule({**rule, "spec": spec}))
    return made


def behaviour(seed: int = 618) -> Behaviour:
    return read_behaviour(HUNTERS).model_copy(update={"seed": seed})


def played(rules: list[FraudRule], seed: int, seconds: float = SECONDS) -> Rehearsal:
    made = Rehearsal(behaviour(seed), rules)
    made.run(seconds)
    return made


@pytest.mark.parametrize("seed", SEEDS)
def test_crowds_behind_one_address_are_left_alone_and_hunters_are_not(seed: int) -> None:
    report = played(enforced(), seed).fates.report()
    shares = {name: each["stopped_share"] for name, each in report["groups"].items()}
    assert report["honest"]["stopped_share"] == 0, shares
    assert report["honest"]["visits"] > 200
    assert report["dishonest"]["stopped_share"] > 2 / 3, shares
    for name in ("hundred-accounts", "night-device", "botnet"):
        assert shares[name] > 2 / 3, shares
    # The edge hears of a claim in haste when it has been made: the first one of each account is what it costs to know.
    assert shares["in-haste"] > 1 / 3, shares
    assert shares["patient"] == 0, "who stays below every limit is found by no limit: look at the text of the example"


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_a_line_at_two_computers_is_no_farm(seed: int) -> None:
    report = played(enforced(), seed, seconds=600).fates.report()
    assert report["groups"]["library"]["visits"] == 7
    assert report["honest"]["stopped_share"] == 0, report["groups"]


def test_the_school_would_have_been_harmed_by_a_hastier_rule() -> None:
    burst = next(each for each in RULES if each["metadata"]["name"] == "coupon-burst")
    slower = [{"count": {"moreThan": 20}}, {"accountAge": {"lessThan": "10s", "since": "Signed Up"}}]
    assert [set(each) for each in burst["spec"]["condition"]["all"]] == [set(each) for each in slower]
    report = played(enforced("coupon-burst", condition={"all": slower}), 618).fates.report()
    assert report["groups"]["school"]["stopped_share"] > 0.5
    assert report["groups"]["carrier"]["stopped_share"] == 0


def test_in_shadow_hunters_are_found_and_nobody_is_stopped() -> None:
    made = played(enforced(mode="Shadow"), 618)
    assert made.fates.refused == 0
    assert all(made.hits(name) > 0 for name in ("coupon-burst", "device-farm", "claim-in-haste", "young-account"))
