"""The set of decisions and the maps made of it: versions, ends, networks in each other, room."""

from typing import Any

import msgspec
import pytest
from tests.unit.events.world import seeded

from flywheel.edge.fraudmaps import FraudMaps
from flywheel.edge.fraudrules import ADDRESSES, POLICIES, SCOPES, VISITORS
from flywheel.fraud import feed
from flywheel.fraud.blocks import Blocks, Decision
from flywheel.fraud.scopes import holds

VISITOR = "01234567-89ab-cdef-0123-456789abcdef"


def made(identity: str = "one", value: str = "192.0.2.1", **fields: Any) -> Decision:
    return Decision(**({"id": identity, "kind": "address", "value": value, "until": 1_000} | fields))


def test_an_earlier_end_shortens_nothing_and_a_later_one_counts():
    blocks = Blocks()
    assert blocks.put(made())
    assert not blocks.put(made(until=900))
    assert not blocks.put(made(until=1_999))
    assert blocks.put(made(until=2_000))
    assert blocks.put(made(until=900, action="Challenge"))
    assert [each.action for each in blocks.at("address", "192.0.2.1", 0)] == ["Challenge"]
    assert blocks.expire(899) == 0
    assert blocks.expire(900) == 1
    assert not list(blocks)


def test_an_address_is_found_in_its_networks_the_strongest_first():
    blocks = Blocks()
    blocks.put(made("net", "192.0.2.0/24", action="Review"))
    blocks.put(made("six", "2001:db8::/56"))
    blocks.put(made())
    assert [each.id for each in blocks.at("address", "192.0.2.1", 0)] == ["one", "net"]
    assert [each.id for each in blocks.at("address", "192.0.2.9", 0)] == ["net"]
    assert [each.id for each in blocks.at("address", "2001:db8::9", 0)] == ["six"]
    assert blocks.at("address", "not an address", 0) == []
    assert blocks.at("address", "192.0.2.1", 1_000) == []


def test_deltas_bring_whoever_follows_to_the_same_set_from_any_version():
    chance, blocks = seeded(3), Blocks(most=30)
    followers: dict[int, tuple[int | None, dict[str, Decision]]] = dict.fromkeys(range(5), (None, {}))
    for turn in range(2_000):
        identity = f"d{chance.randrange(60)}"
        if chance.random() < 0.7:
            action = chance.choice(["Block", "Review"])
            blocks.put(made(identity, f"192.0.2.{chance.randrange(99)}", until=10**6 + turn, action=action))
        else:
            blocks.remove(identity)
        which = chance.randrange(5)
        known, held = followers[which]
        change = feed.read(feed.line("e", feed.since(blocks, known)))
        held = {} if change.whole else dict(held)
        held |= {each.id: each for each in change.put}
        for each in change.gone:
            held.pop(each, None)
        followers[which] = (change.version, held)
        plain = {"rule": "", "event": "", "reason": ""}
        assert held == {each.id: msgspec.structs.replace(each, **plain) for each in blocks if each.is_for_the_edge}
    assert blocks.evicted > 0


def test_whoever_missed_too_much_is_told_everything():
    blocks = Blocks()
    for turn in range(25_000):
        blocks.put(made("same", until=1_000 * turn))
    assert len(blocks._ends) < 25_000
    assert blocks.since(24_999).put != ()
    assert not blocks.since(24_999).whole
    assert blocks.since(3).whole
    assert blocks.since(99_999).whole


def test_a_set_that_was_written_down_goes_on_with_its_versions():
    blocks = Blocks()
    blocks.put(made())
    blocks.put(made("net", "192.0.2.0/24"))
    other = Blocks()
    other.load(*blocks.dump())
    assert (other.version, set(other)) == (blocks.version, set(blocks))
    assert other.since(1).whole


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        *(("/coupon", True), ("/coupon/1", True), ("/couponx", False), ("/%63oupon", True), ("/a/../coupon", True)),
        *(("/coupon;x=1", True), ("/", False), (None, True), ("//coupon", True)),
    ],
)
def test_a_scope_is_read_as_haproxy_reads_it(path: str | None, expected: bool):
    assert holds(made(scope=("/coupon",)), path) is expected


def test_of_networks_in_each_other_the_narrower_says_what_holds_for_both():
    maps = FraudMaps()
    wide, narrow = made("wide", "192.0.2.0/24", scope=("/pay",), until=60_000), made(scope=("/coupon",), until=60_000)
    maps.apply("w", (wide, narrow), (), whole=False, now=0)
    policies = {key: value.split("|")[1] for key, value in maps.maps[ADDRESSES].items()}
    of_narrow = {key for key in maps.maps[SCOPES] if key.startswith(policies["192.0.2.1/32"])}
    assert {key.partition("/")[2] for key in of_narrow} == {"pay/", "coupon/", ""}
    maps.apply("w", (), ("wide",), whole=False, now=0)
    assert list(maps.maps[ADDRESSES]) == ["192.0.2.1/32"]
    assert len(maps.maps[POLICIES]) == 1


def test_changes_of_the_maps_lead_to_what_they_are_whatever_happens():
    """Whoever does nothing but the changes has the same maps; and nothing is left when nothing holds."""
    chance, maps = seeded(11), FraudMaps()
    mirror: dict[str, dict[str, str]] = {name: {} for name in maps.maps}

    def follow(differences: Any) -> None:
        for each in differences:
            assert not each.new.keys() & mirror[each.name].keys()
            assert each.other.keys() <= mirror[each.name].keys()
            mirror[each.name] |= each.new | each.other
            for key in each.gone:
                del mirror[each.name][key]

    values = ["192.0.2.1", "192.0.2.2", "192.0.2.0/24", "192.0.0.0/16", "2001:db8::1", "2001:db8::/32"]
    for now in range(0, 200_000, 200):
        decisions = [
            Decision(
                id=f"d{chance.randrange(12)}",
                kind="address" if chance.random() < 0.8 else "visitor",
                value=chance.choice(values) if chance.random() < 0.8 else VISITOR,
                action=chance.choice(["Block", "Challenge", "Throttle"]),
                until=now + chance.randrange(5_000),
                scope=(chance.choice(["/", "/a", "/a/b"]),),
                page="/prove",
                per_second=1,
            )
            for _ in range(chance.randrange(3))
        ]
        source = chance.choice("xy")
        whole = chance.random() < 0.05
        follow(maps.apply(source, decisions, [f"d{chance.randrange(12)}"], whole=whole, now=now))
        follow(maps.expire(now))
        assert mirror == maps.maps
        named = {value.split("|")[1] for name in (ADDRESSES, VISITORS) for value in maps.maps[name].values()}
        assert named == set(maps.maps[POLICIES])
        assert all(int(value.split("|")[0]) * 1000 > now for value in maps.maps[ADDRESSES].values())
    follow(maps.expire(10**9))
    assert not any(maps.maps.values())
    assert len(maps) == 0
