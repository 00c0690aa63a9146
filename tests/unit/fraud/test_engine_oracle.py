"""The engine against plain lists, on generated streams."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.fraud.oracle import Oracle
from tests.unit.fraud.streams import RULES, streams, told

from flywheel.fraud.engine import Engine
from flywheel.fraud.words import Event


@settings(max_examples=150, deadline=None)
@given(streams(), st.data())
def test_verdicts_are_those_of_plain_lists(events: list[Event], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(events)))
    engine, oracle = Engine(RULES), Oracle(RULES)
    found = [*engine.judge(events[:cut]), *(verdict for event in events[cut:] for verdict in engine.judge([event]))]
    assert told(found) == oracle.judge(events)
