"""From YAML to verdicts and decisions: rules as people write them, judged by the real engine."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from flywheel.api.load import load_fraudrule
from flywheel.fraud.compiling import ruled_of
from flywheel.fraud.embedded import EmbeddedEngine
from flywheel.fraud.policy import Ruled, Rules, write_rules
from flywheel.fraud.rule import problems
from flywheel.fraud.rulings import RulesProblem, Ruling, Shard
from flywheel.fraud.words import Event

NOW = datetime(2027, 6, 16, 12, 0, tzinfo=UTC)
AT = round(NOW.timestamp() * 1000)
EXAMPLE = Path("examples/618/fraudrules.yaml")


def written(**spec: Any) -> Ruled:
    asked = {
        "campaign": "yougou-618",
        "match": {"event": "Coupon Claimed"},
        "key": ["address"],
        "window": "60s",
        "condition": {"count": {"moreThan": 2}},
        "action": {"block": {"for": "30m", "scope": ["/coupon"]}},
        "mode": "Enforce",
        "holdout": "0%",
        **spec,
    }
    metadata = {"name": "burst", "namespace": "shop", "generation": 3}
    manifest = {"apiVersion": "flywheel.dev/v1alpha1", "kind": "FraudRule", "metadata": metadata, "spec": asked}
    return ruled_of(load_fraudrule(manifest), NOW)


def engine(*rules: Ruled) -> EmbeddedEngine:
    made = EmbeddedEngine("yougou-618", Shard(secret=b"secret"))
    made.load(write_rules(Rules(rules=rules)))
    return made


def claim(number: int, after: int = 0, **fields: Any) -> Event:
    given = {"address": "203.0.113.7", "visitor": "v1", "user": f"u{number}", **fields}
    return Event(id=f"m{number}", name="Coupon Claimed", time=AT + after, arrived=AT + after, **given)


def judged(made: EmbeddedEngine, *events: Event) -> list[Ruling]:
    return list(made.judge(events))


def test_the_third_claim_of_an_address_within_a_minute_closes_the_coupon_page_to_it() -> None:
    made = engine(written())
    assert not judged(made, claim(1), claim(2, 1000))
    [ruling] = judged(made, claim(3, 2000))
    [decision] = ruling.decisions
    assert (decision.kind, decision.value, decision.action) == ("address", "203.0.113.7", "Block")
    assert (decision.until, decision.scope) == (AT + 2000 + 1_800_000, ("/coupon",))
    assert "203.0.113.7" in decision.reason
    [told] = made.figures()
    assert (told.generation, told.evaluated, told.hits, told.acted, told.would) == (3, 3, 1, 1, 0)


@pytest.mark.parametrize(
    ("spec", "kind", "value"),
    [
        ({"key": ["addressPrefix"]}, "address", "203.0.113.0/24"),
        ({"key": ["visitor"]}, "visitor", "v1"),
        ({"key": ["properties.coupon"], "state": {"maximumKeys": 100}}, "visitor", "v1"),
        ({"key": ["device"], "state": {"maximumKeys": 100}}, "device", "d1"),
    ],
)
def test_whose_requests_it_is_follows_from_the_key(spec: dict[str, Any], kind: str, value: str) -> None:
    fields = {"device": "d1", "properties.coupon": "VIP"}
    found = judged(engine(written(**spec)), *(claim(each, fields=fields) for each in range(3)))
    assert [(each.decisions[0].kind, each.decisions[0].value) for each in found] == [(kind, value)]


def test_in_shadow_nothing_is_done_and_it_is_counted() -> None:
    made = engine(written(mode="Shadow"))
    [ruling] = judged(made, *(claim(each) for each in range(3)))
    assert ruling.decisions == ()
    assert (made.figures()[0].hits, made.figures()[0].would, made.figures()[0].acted) == (1, 1, 0)


def test_the_holdout_is_never_stopped() -> None:
    made = engine(written(holdout="50%"))
    for number in range(400):
        judged(
            made, *(claim(number * 10 + each, address=f"198.51.{number // 200}.{number % 200}") for each in range(3))
        )
    told = made.figures()[0]
    assert told.acted + told.held_out == told.hits == 400
    assert 150 < told.held_out < 250


def test_a_rule_that_is_off_counts_nothing() -> None:
    made = engine(written(mode="Off"))
    assert not judged(made, *(claim(each) for each in range(5)))
    assert made.figures()[0].evaluated == 0


def test_an_engine_goes_on_from_what_another_wrote_down() -> None:
    one = engine(written())
    judged(one, claim(1), claim(2))
    two = engine(written())
    two.restore(one.snapshot())
    assert [each.verdict for each in judged(two, claim(3))] == [each.verdict for each in judged(one, claim(3))]
    assert two.figures() == one.figures()


def test_rules_that_make_no_sense_leave_those_before() -> None:
    made = engine(written())
    before = made.generation
    with pytest.raises(RulesProblem, match="yougou-618"):
        made.load(b'[{"rule": 1}]')
    assert made.generation == before
    assert judged(made, *(claim(each) for each in range(3)))


def test_a_snapshot_of_another_share_of_the_keys_begins_anew() -> None:
    one = EmbeddedEngine("yougou-618", Shard(0, 2, b"secret"))
    one.load(write_rules(Rules(rules=(written(),))))
    two = engine(written())
    two.restore(one.snapshot())
    assert two.figures()[0].evaluated == 0


def test_the_rules_of_the_example_can_be_carried_out() -> None:
    for manifest in yaml.safe_load_all(EXAMPLE.read_text("utf-8")):
        manifest["metadata"] |= {"namespace": "shop", "generation": 1}
        ruled = ruled_of(load_fraudrule(manifest), NOW)
        assert problems(ruled.rule) == []
