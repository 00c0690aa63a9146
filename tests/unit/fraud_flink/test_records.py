"""Records of events say what the engine would read, and verdicts come back as they were."""

import ipaddress
import json
import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from flywheel.fraud.fields import network, text
from flywheel.fraud.flink_records import record_of, verdict_of
from flywheel.fraud.moments import moment
from flywheel.fraud.rule import Count, Rule
from flywheel.fraud.words import Event, Verdict

values = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.floats()
    | st.booleans()
    | st.ip_addresses().map(str)
    | st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat())
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10), values, max_size=8))
def test_a_record_has_each_field_in_its_type(fields: dict[str, str | float | bool]) -> None:
    event = Event(id="e", time=1, arrived=2, address="::ffff:192.0.2.1", fields=fields)
    record = json.loads(msgspec.json.encode(record_of(event)))
    given = {name: value for name, value in fields.items() if value != ""}
    kinds = {name: type(value) for name, value in given.items()}
    assert record.get("fields", {}) == {name: text(value) for name, value in given.items()}
    numbers = {name for name, kind in kinds.items() if kind is float and not math.isnan(given[name])}
    assert record.get("numbers", {}).keys() == numbers
    assert all(record["numbers"][name] == given[name] for name in numbers if math.isfinite(given[name]))
    assert record.get("truths", {}) == {name: given[name] for name, kind in kinds.items() if kind is bool}
    told = {name: moment(value) for name, value in given.items() if kinds[name] is str}
    assert {name: at for name, at in record.get("moments", {}).items() if name in fields} == {
        name: at for name, at in told.items() if at is not None
    }
    assert record["addresses"]["address"] == "4:11000000000000000000001000000001"


@given(st.ip_addresses(), st.integers(0, 32), st.integers(0, 128))
def test_the_network_of_a_verdict_is_written_as_the_engine_writes_it(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, ipv4: int, ipv6: int
) -> None:
    bits = record_of(Event(id="e", time=1, arrived=1, address=str(address))).addresses["address"]
    prefix = ipv4 if bits.startswith("4:") else ipv6
    rule = Rule(
        name="r",
        key=("user", "addressPrefix"),
        window=10,
        lateness=1,
        conditions=(Count(more_than=1),),
        prefix_ipv4=ipv4,
        prefix_ipv6=ipv6,
    )
    row = {
        "rule": "r",
        "version": rule.version,
        "event": "e",
        "at": 1,
        "key": ["u", bits[: prefix + 2]],
        "observed": 2.0,
        "limit": 1.0,
        "since": -9,
        "saturated": True,
    }
    assert verdict_of(row, rule) == Verdict(
        rule="r",
        version=rule.version,
        event="e",
        at=1,
        key=("u", network(str(address), ipv4, ipv6)),
        observed=2.0,
        limit=1.0,
        since=-9,
        saturated=True,
    )
