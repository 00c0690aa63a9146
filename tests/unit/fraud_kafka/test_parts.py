"""The parts that need no broker: the journal read a second time, what is done once, records of events, options."""

import math
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from flywheel.cli import main
from flywheel.fraud.fields import text
from flywheel.fraud.flink_records import Record, event_of, record_of
from flywheel.fraud.flink_topics import problems as wrong_properties
from flywheel.fraud.journal import Journal
from flywheel.fraud.journal_tail import JournalTail
from flywheel.fraud.kafka import Kafka, files_of, flink_properties, problems, worker_options
from flywheel.fraud.once import Once, named
from flywheel.fraud.outgrown import Outgrown
from flywheel.fraud.outgrown import problems as wrong
from flywheel.fraud.recent_events import Place, RecentEvents
from flywheel.fraud.words import Event, Verdict

FULL = Kafka("kafka-0:9093,[2001:db8::1]:9093", "shop", "SASL_SSL", "SCRAM-SHA-512", "login", certificate=True)


@given(
    writes=st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=4), max_size=12),
    segment=st.integers(1, 120),
    at_once=st.integers(1, 200),
    dice=st.randoms(use_true_random=False),
)
def test_the_tail_gives_each_record_once_in_order_while_others_are_written(
    tmp_path_factory: pytest.TempPathFactory, writes: list[list[bytes]], segment: int, at_once: int, dice: object
) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal"), segment)
    tail, found, written = JournalTail(journal, 0), [], []
    for records in writes:
        journal.append(records)
        written += records
        if dice.random() < 0.6:  # type: ignore[attr-defined]
            found += tail.read(journal.position - (len(records) > 1), at_once)
    while tail.position < journal.position:
        found += tail.read(journal.position, at_once)
    journal.close()
    assert found == list(enumerate(written))
    assert tail.lost == 0


def test_what_was_removed_before_it_was_read_is_counted_and_passed_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1)
    for number in range(6):
        journal.append([bytes([number])])
    tail = JournalTail(journal, 0)
    assert tail.read(1) == [(0, b"\0")]
    journal.forget(4)
    assert tail.read(6) == [(4, b"\4"), (5, b"\5")]
    assert tail.lost == 3
    assert journal.beginning_of_last(1) == 5
    tail.seek(4)
    assert tail.read(6) == [(4, b"\4"), (5, b"\5")]
    journal.close()


def test_a_file_that_ends_too_early_is_no_endless_loop(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([b"a", b"b"])
    [file] = tmp_path.glob("*.journal")
    file.write_bytes(file.read_bytes()[:-1])
    tail = JournalTail(journal, 0)
    with pytest.raises(OSError, match="ends before the record 1"):
        tail.read(2, at_once=1_000_000) and tail.read(2)
    journal.close()


def verdict(event: str, rule: str = "r") -> Verdict:
    return Verdict(rule=rule, version="v", event=event, at=1, key=("k",), observed=1, limit=0, since=0)


def test_of_a_rule_and_an_event_there_is_one_verdict_and_no_more_than_so_many_are_remembered() -> None:
    once = Once(3)
    assert once.add(named(verdict("a"), 0, 1))
    assert not once.add(named(verdict("a"), 5, 7)), "an event with an id is known by it"
    assert once.add(named(verdict("a", "other"), 0, 1))
    assert once.add(named(verdict(""), 0, 1))
    assert not once.add(named(verdict(""), 0, 1))
    again = Once(3)
    again.load(once.dump())
    assert not again.add(named(verdict(""), 0, 1))
    assert again.add(named(verdict(""), 0, 2))
    assert again.add(named(verdict("a"), 0, 1)), "the oldest was forgotten"


values = st.one_of(
    st.text(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-9, 9).map(float)
)


@given(
    fields=st.dictionaries(st.text(min_size=1, max_size=9), values, max_size=5),
    address=st.sampled_from(["", "192.0.2.1", "2001:db8::1"]),
)
def test_an_event_comes_back_from_its_record_as_it_was(fields: dict[str, str | float | bool], address: str) -> None:
    event = Event(id="m", name="n", time=5, arrived=7, address=address, user="u", fields=fields)
    record = msgspec.json.decode(msgspec.json.encode(record_of(event)), type=Record)
    assert event_of(record) == msgspec.structs.replace(
        event, fields={name: value for name, value in fields.items() if value != ""}
    )


def test_what_is_infinite_comes_back_as_large_as_numbers_get() -> None:
    event = Event(id="m", time=1, arrived=1, fields={"a": math.inf, "b": -math.inf})
    fields = event_of(record_of(event)).fields
    assert fields == {"a": 1.7976931348623157e308, "b": -1.7976931348623157e308}
    assert text(fields["a"])


def test_recent_events_have_their_bound() -> None:
    recent = RecentEvents(room=10)
    for number in range(5):
        recent.put(Place("t", 0, number), b"1234")
    found = [recent.get(Place("t", 0, number)) for number in range(5)]
    assert found == [None, None, None, b"1234", b"1234"]


def test_clients_get_in_by_files_and_no_secret_is_in_what_flink_is_told() -> None:
    assert files_of(FULL) == ("username", "password", "ca.crt", "tls.crt", "tls.key")
    properties = flink_properties(FULL)
    assert wrong_properties({key: value for key, value in properties.items() if "jaas" not in key}) == ()
    assert 'password="${directory:/etc/flywheel/kafka:password}"' in properties["sasl.jaas.config"]
    options = worker_options(FULL, "/there", {"username": "u", "password": "p"})
    assert options["ssl.ca.location"] == "/there/ca.crt"
    assert (options["sasl.username"], options["sasl.password"]) == ("u", "p")
    assert flink_properties(Kafka("kafka:9092")) == {}


@pytest.mark.parametrize(
    ("kafka", "path"),
    [
        (Kafka("kafka"), "servers"),
        (Kafka("kafka:9092,"), "servers"),
        (Kafka("kafka:9092 other:9092"), "servers"),
        (Kafka("http://kafka:9092"), "servers"),
        (Kafka("kafka:9092", "Shop"), "topicPrefix"),
        (Kafka("kafka:9092", "a/b"), "topicPrefix"),
        (Kafka("kafka:9092", security="SASL_SSL"), "secretName"),
        (Kafka("kafka:9092", security="SSL", secret="../x"), "secretName"),
        (Kafka("kafka:9092", secret="login", certificate=True), "clientCertificate"),
        (Kafka("kafka:9092", security="SSL", certificate=True), "clientCertificate"),
    ],
)
def test_what_no_client_can_use_is_refused_with_its_value(kafka: Kafka, path: str) -> None:
    assert path in {each.path for each in problems(kafka)}
    assert f"fraud.kafka.{path}" in {each.path for each in wrong(Outgrown(kafka))}


@pytest.mark.parametrize("directory", ["s3", "file:///tmp", "/data"])
def test_a_directory_that_pods_do_not_share_is_refused(directory: str) -> None:
    assert {each.path for each in wrong(Outgrown(directory=directory))} == {"fraud.flink.directory"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["operator", "-A", "--fraud-kafka=kafka"], "is no list of addresses"),
        (["operator", "-A", "--fraud-kafka=kafka:1", "--fraud-kafka-security=SASL_SSL"], "needs a Secret"),
        (["operator", "-A", "--fraud-flink-directory=file:///x"], "a directory of each pod alone"),
        (["operator", "-A", "--fraud-flink-parallelism=0"], "range"),
        (["fraud-worker", "-n=shop", "--kafka=kafka"], "is no list of addresses"),
    ],
)
def test_a_command_that_is_told_nonsense_says_so_and_does_not_start(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert said in done.output
