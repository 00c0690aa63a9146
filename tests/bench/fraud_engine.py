"""How fast the fraud engine judges: five rules, two million events of 40 minutes, 180,000 addresses, planted bursts.

What a worker does is measured from the bytes of a batch to the verdicts: check it, read it, judge it, and let it go;
in batches as large as the engine takes in at once, and in smaller ones. After it in the same run is the same with
events as objects: decoding them from MessagePack, and from decoded ones on. One by one, events are objects decoded a
moment ago. All times are the processor's. The peers are DuckDB, which is given the whole log at once
as columns of integers and asked for the same five rules, and Apache Flink, which judges the log's beginning by two of
the rules, each alone: what they find must be what the engine finds.
"""

import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import duckdb
import msgspec
import numpy as np
from tests.bench import flink
from tests.bench.rows import Row, median, percentile

from flywheel.fraud.batch import encode, pack
from flywheel.fraud.checking import read
from flywheel.fraud.engine import Engine
from flywheel.fraud.packed import Packed, Reading
from flywheel.fraud.rule import Condition, Count, Distinct, Filter, Match, Rate, Rule, Sum
from flywheel.fraud.words import Event

EVENTS, ADDRESSES, DEVICES, USERS = 2_000_000, 180_000, 250_000, 300_000
SINGLES = 200_000
FOR_FLINK = 100_000
"""Events for each rule: Flink takes a few seconds for them."""
BATCH = 4000
"""The engine takes up to 4,096 events in at once, as many as wait while a flood is on."""
SMALL = 1000
START = 1_800_000_000_000
CLAIMED = Match(events=("Coupon Claimed",))
MILLION = 1_000_000
Found = TypeVar("Found")


def _rule(name: str, key: tuple[str, ...], window: int, condition: Condition, match: Match = CLAIMED) -> Rule:
    return Rule(name=name, match=match, key=key, window=window, conditions=(condition,))


LARGE = Match(events=CLAIMED.events, where=(Filter(field="properties.amount", operator="GreaterThan", values=(50.0,)),))
RULES = [
    _rule("address", ("address",), 60_000, Count(more_than=20), Match()),
    _rule("device", ("device",), 600_000, Distinct(field="user", more_than=5), Match()),
    _rule("money", ("user",), 600_000, Sum(field="properties.amount", more_than=500)),
    _rule("rate", ("user",), 10_000, Rate(more_than=0.5), Match()),
    _rule("large", ("address", "device"), 60_000, Count(more_than=3), LARGE),
]
QUERIES = {
    "address": "SELECT count(*) FROM (SELECT time, lag(time, 20) OVER (PARTITION BY address ORDER BY time) AS before "
    "FROM log) WHERE before > time - 60000",
    "device": "SELECT count(*) FROM (SELECT count(DISTINCT user) OVER (PARTITION BY device ORDER BY time "
    "RANGE BETWEEN 599999 PRECEDING AND CURRENT ROW) AS n FROM log) WHERE n > 5",
    "money": "SELECT count(*) FROM (SELECT sum(amount) OVER (PARTITION BY user ORDER BY time "
    "RANGE BETWEEN 599999 PRECEDING AND CURRENT ROW) AS n FROM log WHERE claimed) WHERE n > 500",
    "rate": "SELECT count(*) FROM (SELECT time, lag(time, 5) OVER (PARTITION BY user ORDER BY time) AS before "
    "FROM log) WHERE before > time - 10000",
    "large": "SELECT count(*) FROM (SELECT time, lag(time, 3) OVER (PARTITION BY address, device ORDER BY time) "
    "AS before FROM log WHERE claimed AND amount > 50) WHERE before > time - 60000",
}


class Log:
    """The columns of the log, and events made of them."""

    def __init__(self, count: int = EVENTS) -> None:
        dice = np.random.default_rng(618)
        self.time = START + np.arange(count) * 6 // 5
        self.address = dice.integers(0, ADDRESSES, count)
        self.device = dice.integers(0, DEVICES, count)
        self.user = dice.integers(0, USERS, count)
        hunted = dice.random(count) < 0.02
        self.address[hunted] = dice.integers(0, 60, hunted.sum())
        self.device[hunted] = self.address[hunted]
        self.claimed = dice.random(count) < 0.3
        self.amount = dice.integers(1, 100, count).astype(np.float64)

    def batches(self, count: int, size: int) -> Iterator[list[Event]]:
        """Give events as they come from a decoder: new objects each time."""
        for start in range(0, count, size):
            chosen = slice(start, start + size)
            columns = (self.time, self.address, self.device, self.user, self.claimed, self.amount)
            rows = zip(*(column[chosen].tolist() for column in columns), strict=True)
            yield [_event(start + i, *row) for i, row in enumerate(rows)]


def _event(i: int, time: int, address: int, device: int, user: int, claimed: bool, amount: float) -> Event:
    return Event(
        id=f"{i:08x}-618a-4b0c-9d0e-0123456789ab",
        name="Coupon Claimed" if claimed else "Page Viewed",
        time=time,
        arrived=time,
        address=f"{20 + address // 65536}.{address // 256 % 256}.{address % 256}.17",
        visitor=f"v-{user:08x}",
        user=f"u-{user:07d}",
        fields={
            "device": f"device-{device:012x}",
            "properties.amount": amount,
            "path": "/coupon",
            "service": "seckill",
        },
    )


def measure() -> list[Row]:
    """Measure; give the figures."""
    python = flink.prepare()
    log = Log()
    _warm_up(log)
    peer, expected = _duckdb(log)
    engine = Engine(RULES)
    packed, written = _from_the_wire(engine, log, BATCH)
    small, _ = _from_the_wire(Engine(RULES), log, SMALL)
    others = Engine(RULES)
    decoded, objects = _from_objects(others, log)
    for each in (engine, others):
        if (hits := _hits(each)) != expected:
            raise AssertionError(f"the engine finds {hits}, DuckDB {expected}")
    data, wrote = _timed(lambda: engine.snapshot(b""))
    _, read = _timed(lambda: Engine.restore(data))
    alone, _ = _judged(Engine(RULES), log, SINGLES, BATCH, one_by_one=True)
    singles, _ = _judged(Engine(RULES), log, SINGLES, 1)
    return [
        Row(f"fraud engine: five rules, batches of {BATCH}", EVENTS / sum(packed), "events/s", 1e6, "higher", peer),
        Row("fraud engine: the same, at the median batch", BATCH / median(packed), "events/s", better="higher"),
        Row(f"fraud engine: five rules, batches of {SMALL}", EVENTS / sum(small), "events/s", better="higher"),
        Row("fraud engine: from MessagePack of objects", EVENTS / sum(decoded), "events/s", better="higher"),
        Row("fraud engine: from objects", EVENTS / sum(objects), "events/s", better="higher"),
        Row("fraud engine: writing a batch at the sidecar, an event", written / EVENTS * 1e6, "µs"),
        *_beside_flink(python, log),
        Row("fraud engine: five rules, one by one", SINGLES / sum(alone), "events/s", 200_000, "higher"),
        Row("fraud engine: one event, p50", median(singles) * 1e6, "µs"),
        Row("fraud engine: one event, p99", percentile(singles, 0.99) * 1e6, "µs"),
        Row("fraud engine: longest pause, one by one", max(singles) * 1e3, "ms", 10),
        Row(f"fraud engine: longest pause, batches of {BATCH}", max(packed) * 1e3, "ms", 10),
        Row("fraud engine: memory of a million keys, count over 20", _memory(), "MiB"),
        Row("fraud engine: snapshot after two million events", len(data) / 2**20, "MiB"),
        Row("fraud engine: writing it", wrote * 1e3, "ms"),
        Row("fraud engine: reading it", read * 1e3, "ms"),
    ]


def _warm_up(log: Log) -> None:
    """Have everything compiled."""
    engine = Engine(RULES)
    for batch in log.batches(2 * BATCH, BATCH):
        engine.judge(Packed(Reading(read(encode(pack(batch))))))
    engine.judge(next(log.batches(1, 1)))
    Engine.restore(engine.snapshot(b""))


def _from_the_wire(engine: Engine, log: Log, size: int) -> tuple[list[float], float]:
    """Judge a log batch by batch; give the processor time of each from its bytes on, and that of writing all."""
    taken, written = [], 0.0
    gc.collect()
    gc.freeze()
    for batch in log.batches(EVENTS, size):
        body, spent = _timed(lambda: encode(pack(batch)))  # noqa: B023
        written += spent
        batch.clear()
        taken.append(_timed(lambda: engine.judge(Packed(Reading(read(body)))))[1])  # noqa: B023
    gc.unfreeze()
    return taken, written


def _from_objects(engine: Engine, log: Log) -> tuple[list[float], list[float]]:
    """Judge a log as objects; give the processor time of each batch from MessagePack on, and from decoded events on."""
    decoded, objects = [], []
    encode_objects, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(tuple[Event, ...]).decode
    gc.collect()
    gc.freeze()
    for batch in log.batches(EVENTS, BATCH):
        body = encode_objects(batch)
        batch.clear()
        began = time.thread_time()
        events = decode(body)
        ready = time.thread_time()
        engine.judge(events)
        judged = time.thread_time()
        del events
        decoded.append(time.thread_time() - began)
        objects.append(judged - ready)
    gc.unfreeze()
    return decoded, objects


def _hits(engine: Engine) -> dict[str, int]:
    return {rule.name: engine.counters_of(rule.name).hits for rule in RULES}


def _judged(
    engine: Engine, log: Log, count: int, size: int, *, one_by_one: bool = False
) -> tuple[list[float], dict[str, int]]:
    """Judge a log; give the processor time of each batch, and the hits of each rule.

    Processor time, not time on the wall: what else the machine does is not counted.
    """
    taken = []
    gc.collect()
    gc.freeze()
    for batch in log.batches(count, size):
        began = time.thread_time()
        if one_by_one:
            for event in batch:
                engine.judge_one(event)
        else:
            engine.judge(batch)
        taken.append(time.thread_time() - began)
    gc.unfreeze()
    return taken, _hits(engine)


def _timed(call: Callable[[], Found]) -> tuple[Found, float]:
    began = time.thread_time()
    found = call()
    return found, time.thread_time() - began


def _duckdb(log: Log) -> tuple[float, dict[str, int]]:
    """Ask DuckDB for all rules; give the events a second, on one thread and with the table in memory, and the hits."""
    with duckdb.connect(":memory:", config={"threads": 1}) as database:
        columns = {name: getattr(log, name) for name in ("time", "address", "device", "user", "claimed", "amount")}
        database.register("columns", columns)
        database.execute("CREATE TABLE log AS SELECT * FROM columns")
        began = time.process_time()
        found = {name: database.execute(query).fetchone()[0] for name, query in QUERIES.items()}
        return len(log.time) / (time.process_time() - began), found


def _beside_flink(python: Path, log: Log) -> list[Row]:
    """Judge the beginning of the log by a count and by different users, each alone; Flink is the baseline."""
    chosen = RULES[:2]
    events = [event for batch in log.batches(FOR_FLINK, BATCH) for event in batch]
    rows = []
    for rule, peer in zip(chosen, flink.judged(python, chosen, events), strict=True):
        engine, taken = Engine([rule]), 0.0
        for start in range(0, FOR_FLINK, BATCH):
            body = encode(pack(events[start : start + BATCH]))
            taken += _timed(lambda: engine.judge(Packed(Reading(read(body)))))[1]  # noqa: B023
        if (hits := engine.counters_of(rule.name).hits) != peer.hits:
            raise AssertionError(f"the engine finds {hits} by {rule.name}, Flink {peer.hits}")
        name = f"fraud engine: the rule {rule.name} alone, {FOR_FLINK:,} events (Flink SQL)"
        rows.append(Row(name, FOR_FLINK / taken, "events/s", better="higher", baseline=peer.rate))
    return rows


def _memory() -> float:
    """Give the memory that a rule takes for a million keys, each seen once or twice."""
    engine = Engine([RULES[0]], maximum_ids=1000)
    before = _resident()
    for start in range(0, MILLION * 3 // 2, BATCH):
        engine.judge(
            [Event(id="", time=START, arrived=START, address=f"a{i % MILLION}") for i in range(start, start + BATCH)]
        )
    assert engine.counters_of("address").keys == MILLION
    return _resident() - before


def _resident() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
