"""The engine against SQL over the whole log, on generated streams."""

from hypothesis import given, settings
from tests.unit.fraud.sql_oracle import SqlOracle
from tests.unit.fraud.streams import RULES, streams

from flywheel.fraud.engine import Engine
from flywheel.fraud.words import Event

MATCHES = {"coupons": "name = 'Coupon Claimed' AND amount > 5"}


@settings(max_examples=25, deadline=None)
@given(streams())
def test_verdicts_are_those_of_sql(events: list[Event]) -> None:
    rules = [rule for rule in RULES if len(rule.conditions) == 1]
    verdicts = Engine(rules).judge(events)
    oracle = SqlOracle(events)
    for rule in rules:
        mine = [each for each in verdicts if each.rule == rule.name]
        found = [(each.event, "\x1f".join(each.key), each.observed, each.since) for each in mine]
        assert found == oracle.told(rule, MATCHES.get(rule.name, "TRUE")), rule.name
