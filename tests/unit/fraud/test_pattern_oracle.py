"""Sequences, ages of accounts, speeds and links against the whole past, on generated streams."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.fraud.pattern_oracle import PatternOracle
from tests.unit.fraud.streams import PATTERNS, places, streams

from flywheel.fraud.engine import Engine
from flywheel.fraud.words import Event


@settings(max_examples=150, deadline=None)
@given(streams(extra=places()), st.data())
def test_verdicts_are_those_of_the_whole_past(events: list[Event], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(events)))
    engine = Engine(PATTERNS)
    found = [*engine.judge(events[:cut]), *(verdict for event in events[cut:] for verdict in engine.judge([event]))]
    assert [(each.rule, each.event, round(each.observed, 3)) for each in found] == PatternOracle(PATTERNS).told(events)
