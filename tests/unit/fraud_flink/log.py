"""A log as Flink and the engine both read it: ties, late, repeated and future events, and much that is odd."""

import json
from pathlib import Path
from random import Random

import msgspec

from flywheel.fraud.flink_records import record_of
from flywheel.fraud.words import Event, Value

START = 1_800_000_000_000
ODD = (
    "it's; DROP TABLE x; --",
    "a\\u0027b",
    "\"`' OR 1=1 /*",
    "${x} %s {y}\n\t",
    "优惠券 🎟️",
    "\u2028'\ufeff",
    "5",
)
"""Texts that mean something somewhere."""
ODD_FIELD = 'properties.it\'s "odd"; -- `'
PLACES = ((31.23, 121.47), (31.0, 121.3), (48.86, 2.35), (48.85, 2.35), (None, 2.0), (91.0, 2.0))
ADDRESSES = (
    "",
    "192.0.2.1",
    "192.0.2.2",
    "192.0.31.7",
    "198.51.100.1",
    "2001:db8::1",
    "2001:db8:0:ff::",
    "::ffff:c000:201",
)


def events(seed: int, many: int = 1500) -> list[Event]:
    """Make a log. Arrivals never go back, times do."""
    dice = Random(seed)
    made: list[Event] = []
    arrived = START
    for number in range(many):
        arrived += dice.choice([0, 0, 0, 1, 7, 50, 120, 400])
        if made and dice.random() < 0.08:
            made.append(msgspec.structs.replace(dice.choice(made[-30:]), arrived=arrived))
            continue
        behind = dice.choice([0, 0, 0, 0, 1, 50, 100, 101, 300, 700, 2500, -400])
        made.append(
            Event(
                id=f"e{number}",
                type=dice.choice(["track"] * 9 + ["page"]),
                name=dice.choice(["Coupon Claimed", "Coupon Claimed", "Signed Up", ""]),
                time=arrived - behind,
                arrived=arrived,
                address=dice.choice(ADDRESSES),
                visitor=dice.choice(["", "v1", "v2"]),
                user=dice.choice(["", "u1", "u2", "u3", "u4", "ü5", "u6"]),
                fields=fields(dice, arrived),
            )
        )
    return made


def fields(dice: Random, arrived: int) -> dict[str, Value]:
    """Make the other fields of an event; some are missing."""
    latitude, longitude = dice.choice(PLACES)
    found: dict[str, Value | None] = {
        "device": dice.choice([None, "d1", "d1", "d2", ODD[0], 7.0, "7"]),
        "amount": dice.choice([None, 6.1, 2.05, -1.0, "9", 0.00005, 0.00015, 2e9, float("inf"), True]),
        "code": dice.choice([None, "", "A", *ODD, 5.0, 5.5, 1e22, 1e-7, True, False]),
        ODD_FIELD: dice.choice([None, "x", ODD[2]]),
        "properties.ip": dice.choice([None, "192.0.2.77", "10.1.2.3", "2001:db8::9", "no address"]),
        "latitude": latitude,
        "longitude": longitude,
        "created": dice.choice(
            [
                None,
                "soon",
                "2027-01-15",
                arrived + dice.randint(-1500, 300) * 1.0,
                float(arrived // 1000),
                f"2027-01-15T16:0{dice.randint(0, 3)}:{dice.randint(10, 59)}.5+08:00",
            ]
        ),
    }
    return {name: value for name, value in found.items() if value is not None}


def write(log: list[Event], path: Path) -> None:
    """Write a log as the topic has it, with what Kafka would tell of lane and place."""
    path.parent.mkdir(parents=True)
    with path.open("w") as file:
        for place, event in enumerate(log):
            record = {**msgspec.to_builtins(record_of(event)), "lane": 0, "place": place}
            file.write(json.dumps(record, allow_nan=False) + "\n")
