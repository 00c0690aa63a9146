"""A/B tests at a real HAProxy: who is in which, what they see, what is remembered of it, and what is told."""

import asyncio
import random
import uuid
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given as given_any
from hypothesis import strategies as st
from tests.unit.edge.stand import Connection, Edge, document, edge, live, trial, until

from flywheel.edge.bucket import assigned, bucket
from flywheel.edge.document import (
    BUCKETS,
    Backend,
    Consent,
    EdgeDocument,
    EdgeService,
    ForcedVariant,
    Limits,
    Preview,
    Segment,
    Share,
    Target,
    TargetHeader,
    VariantRange,
    Visitor,
)
from flywheel.edge.document import Test as Trial
from flywheel.edge.endpoints import Server
from flywheel.edge.livemaps import live_maps
from flywheel.edge.render import render
from flywheel.edge.runtime_api import MANY
from flywheel.edge.testmaps import prefixes
from flywheel.events.access_log import LogRules, Record
from flywheel.events.rows import RequestRow

SEED = 618
FAST = Limits(requests_per_second=100_000, connections_per_address=1000)
PAY = EdgeService(name="pay", backends=(Backend(service="pay", port="http", capacity=2),))
WEB = EdgeService(
    name="web",
    backends=(
        Backend(service="web-blue", port="http", capacity=2),
        Backend(slot="lime", service="web-green", port="http", capacity=2),
    ),
)
"""A service that is changed in place, and a variant of it."""
SHOP = document(limits=FAST, services=(WEB, PAY))
TOKEN = "0123456789abcdef0123456789abcdef"
PHONE = (
    "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0 Mobile Safari/537.36"
)
TABLET = "Mozilla/5.0 (Linux; Android 16; SM-X900) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0 Safari/537.36"
IPAD = "Mozilla/5.0 (iPad; CPU OS 19_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
DESKTOP = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0 Safari/537.36"


def people(count: int, seed: int = SEED) -> list[str]:
    dice = random.Random(seed)
    return [str(uuid.UUID(int=dice.getrandbits(128), version=4)) for _ in range(count)]


def halves(middle: int = 5000) -> list[VariantRange]:
    return [
        VariantRange(variant="red", slot="", start=0, end=middle),
        VariantRange(variant="lime", slot="lime", start=middle, end=10_000),
    ]


def given(*tests: Trial, **more: Any) -> EdgeDocument:
    return live(SHOP, tests=tests, **more)


def all_lime(name: str = "button", **more: Any) -> Trial:
    return trial(name, halves(0), **more)


async def variant(connection: Connection, visitor: str = "", path: str = "/", **headers: str) -> str:
    """What a visitor is said to see; empty where they take no part."""
    cookies = "; ".join(each for each in (f"fw_vid={visitor}" if visitor else "", headers.pop("cookie", "")) if each)
    answer = await connection.ask(path, Cookie=cookies or "none=1", **headers)
    assert answer.status == 200
    return str(answer.echo["headers"].get("x-fw-variant", ""))


async def test_layers_holdouts_and_variants_are_as_python_reckons(tmp_path: Path) -> None:
    print(f"seed {SEED}")
    first = trial("first", halves(3000), salt="a", segments=(Segment(start=0, end=2500),), holdout=1000)
    second = trial("second", halves(7000), salt="b|ü", segments=(Segment(start=2500, end=9000),))
    shared = given(first, second, holdout_salt="held")
    async with edge(tmp_path, shared) as stand:
        connection = await stand.connect()
        counted: Counter[str] = Counter()
        for number, visitor in enumerate(people(1500)):
            wanted = assigned(shared.live, "web", visitor)
            # With a query other rules decide, as of somebody who arrives: alike.
            seen = await variant(connection, visitor, "/?a=b" if number % 2 else "/")
            assert seen == ("=".join(wanted) if wanted else "")
            counted[seen.partition("=")[0]] += 1
        assert 200 < counted["first"] < 480, "a quarter, less the holdout"
        assert 850 < counted["second"] < 1100
        assert not stand.reloads


async def test_a_share_is_of_those_who_are_in_no_test(tmp_path: Path) -> None:
    test = trial("button", halves(10_000), segments=(Segment(start=0, end=5000),))
    shared = given(test, shares=(Share(service="web", slot="lime", basis_points=10_000),))
    async with edge(tmp_path, shared) as stand:
        connection = await stand.connect()
        for visitor in people(40):
            inside = assigned(shared.live, "web", visitor) is not None
            for path in ("/", "/?a=b"):
                answer = await connection.ask(path, Cookie=f"fw_vid={visitor}")
                assert answer.echo["service"] == ("web-blue" if inside else "web-green")


async def test_more_traffic_takes_visitors_in_and_moves_nobody(tmp_path: Path) -> None:
    some = given(trial("button", halves(), segments=(Segment(start=0, end=3000),)))
    more = given(trial("button", halves(), segments=(Segment(start=0, end=3000), Segment(start=5000, end=8000))))
    visitors = people(300)
    async with edge(tmp_path, some) as stand:
        connection = await stand.connect()
        before = {each: await variant(connection, each) for each in visitors}
        await stand.give(more)
        after = {each: await variant(connection, each) for each in visitors}
        moved = [each for each, seen in before.items() if seen and after[each] != seen]
        assert not moved
        assert sum(map(bool, after.values())) > 1.5 * sum(map(bool, before.values()))
        assert not stand.reloads


async def test_a_person_is_assigned_alike_on_all_devices(tmp_path: Path) -> None:
    phone, laptop = next(
        (a, b) for a in people(20) for b in people(20, 5) if (bucket("s", a) < 5000) != (bucket("s", b) < 5000)
    )
    async with edge(tmp_path, given(trial("button", halves()))) as stand:
        connection = await stand.connect()
        seen = await variant(connection, phone)
        assert await variant(connection, laptop) != seen
        assert await variant(connection, laptop, cookie=f"fw_as={phone}") == seen
        assert (await stand.record(vid=laptop))["vid"] == laptop
        assert await variant(connection, laptop, "/?a=b", cookie=f"fw_as={phone}") == seen
        for path in ("/", "/?a=b"):
            assert await variant(connection, laptop, path, cookie="fw_as=nonsense") != seen


@pytest.mark.parametrize(
    ("target", "inside", "outside"),
    [
        (Target(paths=("/coupon", "/sale*")), [("/coupon", {}), ("/sale/1", {})], [("/", {}), ("/coupon/2", {})]),
        (
            Target(headers=(TargetHeader(name="X-App", values=("ios", "android")),)),
            [("/", {"x_app": "ios"}), ("/", {"X_App": "android"})],
            [("/", {}), ("/", {"X_App": "iosX"})],
        ),
        (Target(devices=("Phone",)), [("/", {"User_Agent": PHONE})], [("/", {"User_Agent": DESKTOP}), ("/", {})]),
        (
            Target(devices=("Tablet", "Desktop")),
            [("/", {"User_Agent": TABLET}), ("/", {"User_Agent": IPAD}), ("/", {"User_Agent": DESKTOP})],
            [("/", {"User_Agent": PHONE})],
        ),
        (Target(visitors="Returning", paths=("/",)), [("/", {})], [("/a", {}), ("/", {"cookie": "fw_new=1"})]),
        (Target(visitors="New"), [("/", {"cookie": "fw_new=1"})], [("/", {})]),
    ],
)
async def test_whoever_is_meant_enters_and_nobody_else(
    tmp_path: Path, target: Target, inside: list[tuple[str, dict[str, str]]], outside: list[tuple[str, dict[str, str]]]
) -> None:
    async with edge(tmp_path, given(all_lime(target=target))) as stand:
        connection = await stand.connect()
        for path, headers in inside:
            assert await variant(connection, people(1)[0], path, **headers) == "button=lime", (path, headers)
        for path, headers in outside:
            assert await variant(connection, people(1)[0], path, **headers) == "", (path, headers)


async def test_regions_are_those_that_a_trusted_proxy_tells(tmp_path: Path) -> None:
    shop = document(limits=FAST, services=(WEB, PAY), trusted_proxies=("127.0.0.1/32",), region_header="X-Region")
    async with edge(tmp_path, live(shop, tests=(all_lime(target=Target(regions=("CN-SH",))),))) as stand:
        connection = await stand.connect()
        told = {"X_Forwarded_For": "1.2.3.4"}
        assert await variant(connection, people(1)[0], X_Region="CN-SH", **told) == "button=lime"
        assert await variant(connection, people(1)[0], X_Region="CN-BJ", **told) == ""


async def test_who_comes_new_is_new_until_the_visit_ends(tmp_path: Path) -> None:
    async with edge(tmp_path, given(all_lime(target=Target(visitors="New", paths=("/coupon",))))) as stand:
        connection = await stand.connect()
        first = await connection.ask("/")
        session = next(each for each in first.all("set-cookie") if each.startswith("fw_new="))
        assert "Max-Age" not in session
        visitor = first.cookies["fw_vid"]
        assert await variant(connection, visitor, "/coupon", cookie="fw_new=1") == "button=lime"
        assert await variant(connection, visitor, "/coupon") == "", "who comes back another day is not new"


async def test_whoever_is_in_stays_in_whatever_the_target_says(tmp_path: Path) -> None:
    test = trial("button", halves(), target=Target(paths=("/coupon",)))
    visitor = next(each for each in people(50) if bucket("s", each) >= 5000)
    async with edge(tmp_path, given(test)) as stand:
        connection = await stand.connect()
        answer = await connection.ask("/coupon", Cookie=f"fw_vid={visitor}")
        kept = next(each for each in answer.all("set-cookie") if each.startswith("fw_in_"))
        assert kept.partition("; ")[0].endswith("=lime")
        assert "HttpOnly" in kept
        cookie = kept.partition(";")[0]
        assert await variant(connection, visitor, "/elsewhere", cookie=cookie) == "button=lime"
        again = await connection.ask("/elsewhere", Cookie=f"fw_vid={visitor}; {cookie}")
        assert not [each for each in again.all("set-cookie") if each.startswith("fw_in_")], "it is told once"
        assert await variant(connection, visitor, "/elsewhere", cookie=f"{cookie}x") == "", "no such variant"
        out = trial("button", halves(), target=test.target, segments=())
        await stand.give(given(out))
        assert await variant(connection, visitor, "/coupon", cookie=cookie) == "", "less traffic lets go"


async def test_a_sticky_test_keeps_the_variant_when_shares_change(tmp_path: Path) -> None:
    visitor = next(each for each in people(50) if 3000 <= bucket("s", each) < 5000)
    async with edge(tmp_path, given(trial("button", halves(), sticky=True))) as stand:
        connection = await stand.connect()
        answer = await connection.ask("/", Cookie=f"fw_vid={visitor}")
        cookie = next(each for each in answer.all("set-cookie") if each.startswith("fw_in_")).partition(";")[0]
        await stand.give(given(trial("button", halves(3000), sticky=True)))
        assert await variant(connection, visitor, cookie=cookie) == "button=red"
        assert await variant(connection, visitor) == "button=lime", "as a new one would be"


async def test_a_tester_sees_what_a_link_names_and_is_not_counted(tmp_path: Path) -> None:
    forced = (ForcedVariant(token=TOKEN, variant="lime", slot="lime"),)
    visitor = next(each for each in people(50) if bucket("s", each) < 5000)
    async with edge(tmp_path, given(trial("button", halves(), forced=forced))) as stand:
        connection = await stand.connect()
        answer = await connection.ask(f"/?fw_variant={TOKEN}", Cookie=f"fw_vid={visitor}")
        assert (answer.echo["service"], answer.one("x-fw-variant")) == ("web-green", "button=lime")
        assert answer.one("cache-control") == "private, no-store"
        record = await stand.record(vid=visitor)
        assert (record.get("test", ""), record["slot"], record["page"]) == ("", "lime", 0)
        cookie = next(each for each in answer.all("set-cookie") if each.startswith("fw_forced=")).partition(";")[0]
        assert await variant(connection, visitor, "/next", cookie=cookie) == "button=lime"
        gone = await connection.ask("/?fw_variant=off", Cookie=f"fw_vid={visitor}; {cookie}")
        assert gone.echo["service"] == "web-blue"
        assert any(each.startswith("fw_forced=; Max-Age=0") for each in gone.all("set-cookie"))
        guess = await connection.ask(f"/?fw_variant={'0' * 32}", Cookie=f"fw_vid={visitor}")
        assert (guess.echo["service"], guess.one("x-fw-variant")) == ("web-blue", None)
        assert not [each for each in guess.all("set-cookie") if "fw_forced" in each]


async def test_without_consent_nobody_takes_part_and_nothing_is_remembered(tmp_path: Path) -> None:
    shop = document(limits=FAST, services=(WEB, PAY), visitor=Visitor(consent=Consent()))
    async with edge(tmp_path, live(shop, tests=(all_lime(sticky=True),))) as stand:
        connection = await stand.connect()
        answer = await connection.ask("/", Cookie=f"fw_vid={people(1)[0]}")
        assert "x-fw-variant" not in answer.echo["headers"]
        assert not answer.all("set-cookie")
        assert await variant(connection, people(1)[0], cookie="fw_consent=granted") == "button=lime"


async def test_the_log_has_the_whole_user_agent_and_referrer(tmp_path: Path) -> None:
    """Both have commas, which in other headers divide values."""
    async with edge(tmp_path, SHOP) as stand:
        await stand.ask("/", User_Agent=PHONE, Referer="https://news.example/a,b")
        record = await stand.record()
        assert (record["ua"], record["ref"]) == (PHONE, "news.example")


async def _ask_all(stand: Edge, visitors: list[str]) -> list[tuple[int, str]]:
    connection = await stand.connect()
    found = []
    for each in visitors:
        answer = await connection.ask("/", Cookie=f"fw_vid={each}")
        found.append((answer.status, answer.echo["service"] if answer.status == 200 else ""))
    return found


async def test_a_variant_whose_pods_die_falls_back_to_the_control_and_the_log_says_so(tmp_path: Path) -> None:
    visitors = people(40)
    async with edge(tmp_path, given(all_lime())) as stand:
        assert set(await _ask_all(stand, visitors)) == {(200, "web-green")}
        await stand.services["web-green"].vanish()
        crowds = await asyncio.gather(*(_ask_all(stand, visitors) for _ in range(3)))
        assert {each for crowd in crowds for each in crowd} == {(200, "web-blue")}
        stand.records.clear()
        await _ask_all(stand, visitors[:1])
        record = await stand.record(vid=visitors[0])
        assert (record["test"], record["var"], record["slot"]) == ("button", "lime", ""), "as assigned, and who served"
        assert not stand.reloads


async def test_tests_without_a_target_begin_change_and_end_without_a_reload(tmp_path: Path) -> None:
    """Also with a holdout, and beside tests that do need structure."""
    plain = trial("plain", halves(), segments=(Segment(start=0, end=4000),))
    held = trial("held", halves(), segments=(Segment(start=0, end=4000),), holdout=5000)
    aimed = all_lime("aimed", target=Target(devices=("Phone",)), segments=(Segment(start=5000, end=BUCKETS),))
    first, *others = people(300)
    async with edge(tmp_path, given(aimed)) as stand:
        connection = await stand.connect()
        for tests in ((plain, aimed), (held, aimed), (aimed, plain), (aimed,)):
            now = given(*tests, holdout_salt="h")
            await stand.give(now)
            for visitor in (first, *others[:60]):
                wanted = assigned(now.live, "web", visitor)
                seen = await variant(connection, visitor, User_Agent=PHONE)
                assert seen == ("=".join(wanted) if wanted else "")
        assert not stand.reloads


async def test_large_tests_change_under_way_without_a_third_thing(tmp_path: Path) -> None:
    """So many entries change at once that maps are replaced as a whole."""

    def form(salt: str) -> EdgeDocument:
        cuts = (0, 1111, 2223, 3337, 4441, 5557, 6661, 7777, 8887, 9999)
        arms = [
            VariantRange(variant=f"v{number}", slot="lime" if number % 2 else "", start=start, end=end)
            for number, (start, end) in enumerate(pairwise(cuts))
        ]
        return given(trial("large", arms, salt=salt, segments=(Segment(start=1, end=9999),)))

    forms = [form("one"), form("two")]
    maps = live_maps(forms[0])
    assert len(maps["ranges"]) > MANY
    visitors = people(60)
    allowed = {each: {"=".join(assigned(one.live, "web", each) or ()) for one in forms} | {""} for each in visitors}
    settled = [each for each in visitors if all(assigned(one.live, "web", each) for one in forms)]
    async with edge(tmp_path, forms[0]) as stand:
        stop = asyncio.Event()

        async def look() -> int:
            connection, count = await stand.connect(), 0
            while not stop.is_set():
                for visitor in settled:
                    assert await variant(connection, visitor) in allowed[visitor] - {""}
                count += 1
            return count

        looking = asyncio.create_task(look())
        for number in range(1, 9):
            await stand.give(forms[number % 2])
        stop.set()
        assert await looking > 1
        assert not stand.reloads


@given_any(st.integers(0, 99), st.integers(0, BUCKETS), st.integers(0, BUCKETS))
def test_beginnings_of_numbers_stand_for_exactly_the_numbers_of_a_range(base: int, one: int, other: int) -> None:
    start, end = sorted((one, other))
    found = list(prefixes((10 + base) * BUCKETS, start, end))
    assert len(found) <= 72
    for at in (start - 1, start, (start + end) // 2, end - 1, end):
        if 0 <= at < BUCKETS:
            fitting = [each for each in found if f"{10 + base}{at:04}".startswith(each)]
            assert len(fitting) == (start <= at < end)


def row_of(record: dict[str, Any]) -> RequestRow:
    return LogRules(SHOP, b"salt").request(msgspec.convert(record, Record, strict=False), 0)


async def test_an_exposure_says_that_the_control_stood_in_for_a_variant(tmp_path: Path) -> None:
    visitor = next(each for each in people(50) if bucket("s", each) >= 5000)
    control = next(each for each in people(50) if bucket("s", each) < 5000)
    red, lime = halves()
    away = VariantRange(variant="lime", slot="", start=lime.start, end=lime.end, fallback=True)
    async with edge(tmp_path, given(trial("button", [red, lime]))) as stand:
        connection = await stand.connect()

        async def told(who: str, path: str = "/") -> tuple[str, str, int]:
            stand.records.clear()
            assert (await connection.ask(path, Cookie=f"fw_vid={who}")).status == 200
            row = row_of(await stand.record(vid=who))
            return row.variant, row.slot, row.fallback

        assert await told(visitor) == ("lime", "lime", 0)
        await stand.give(given(trial("button", [red, away])))
        assert await told(visitor) == ("lime", "", 1)
        assert await told(visitor, "/?utm_source=mail") == ("lime", "", 1)
        assert await told(control) == ("red", "", 0)
        await stand.give(given(trial("button", [red, lime])))
        # What only HAProxy knows: nobody has told the edge that the pods are gone.
        await stand.services["web-green"].vanish()
        assert await told(visitor) == ("lime", "", 1)
        assert await told(visitor, "/?utm_source=mail") == ("lime", "", 1)
        assert await told(control) == ("red", "", 0)
        stand.pods("web-green")
        assert await told(visitor) == ("lime", "", 1)
        assert not stand.reloads


async def test_a_tester_is_told_when_the_control_stands_in(tmp_path: Path) -> None:
    forced = (ForcedVariant(token=TOKEN, variant="lime", slot="lime"),)
    async with edge(tmp_path, given(trial("button", halves(), forced=forced))) as stand:
        await stand.services["web-green"].vanish()
        answer = await stand.ask(f"/?fw_variant={TOKEN}")
        assert (answer.echo["service"], answer.one("x-fw-variant")) == ("web-blue", "button=lime;away")


async def test_a_preview_is_seen_also_by_testers_and_visitors_of_a_test(tmp_path: Path) -> None:
    revision = "fedcba9876543210"
    forced = (ForcedVariant(token=TOKEN, variant="lime", slot="lime"),)
    preview = Preview(service="web", slot="", revision=revision)
    async with edge(tmp_path, given(all_lime(sticky=True, forced=forced), previews=(preview,))) as stand:
        for cookie in (f"fw_vid={people(1)[0]}", f"fw_vid={people(1)[0]}; fw_forced={TOKEN}", f"fw_forced={TOKEN}"):
            stand.records.clear()
            answer = await stand.ask("/", Cookie=cookie, X_FW_Preview=revision)
            assert (answer.echo["service"], answer.one("x-fw-preview")) == ("web-blue", revision)
            assert answer.one("x-fw-variant") is None
            assert "x-fw-variant" not in answer.echo["headers"]
            assert not answer.all("set-cookie")
            record = await stand.record()
            assert (record.get("test", ""), record["nv"], record["page"]) == ("", 0, 0)
        unknown = await stand.ask("/", Cookie=f"fw_forced={TOKEN}", X_FW_Preview="0" * 16)
        assert unknown.one("x-fw-variant") == "button=lime"
        assert unknown.one("cache-control") == "private, no-store"


async def test_caches_do_not_keep_what_testers_see_and_others_are_not_told(tmp_path: Path) -> None:
    forced = (ForcedVariant(token=TOKEN, variant="lime", slot="lime"),)
    async with edge(tmp_path, given(trial("button", halves(), forced=forced))) as stand:
        for service in stand.services.values():
            service.headers = {"Cache-Control": "public, max-age=600", "Expires": "Thu, 01 Jan 2099 00:00:00 GMT"}
        kept = await stand.ask("/", Cookie=f"fw_forced={TOKEN}")
        assert (kept.all("cache-control"), kept.all("expires")) == (["private, no-store"], [])
        assert kept.one("x-fw-preview") is None
        ordinary = await stand.ask("/", Cookie=f"fw_vid={people(1)[0]}")
        assert ordinary.all("cache-control") == ["public, max-age=600"]
        assert ordinary.one("x-fw-variant") is None
        elsewhere = await stand.ask("/pay", Cookie=f"fw_forced={TOKEN}")
        assert elsewhere.all("cache-control") == ["public, max-age=600"]


async def test_a_link_works_without_consent_and_keeps_nothing_of_the_person(tmp_path: Path) -> None:
    shop = document(limits=FAST, services=(WEB, PAY), visitor=Visitor(consent=Consent()))
    forced = (ForcedVariant(token=TOKEN, variant="lime", slot="lime"),)
    async with edge(tmp_path, live(shop, tests=(trial("button", halves(), forced=forced),))) as stand:
        answer = await stand.ask(f"/?fw_variant={TOKEN}", Cookie=f"fw_vid={people(1)[0]}; fw_as={people(1)[0]}")
        assert answer.one("x-fw-variant") == "button=lime"
        assert answer.cookies == {"fw_forced": TOKEN}
        assert "x-fw-visitor" not in answer.echo["headers"]


async def test_no_request_is_lost_when_all_pods_of_a_variant_crash_under_load(tmp_path: Path) -> None:
    visitors = people(8)
    async with edge(tmp_path, given(all_lime())) as stand:
        stop, served = asyncio.Event(), Counter[str]()

        async def look(visitor: str) -> None:
            connection = await stand.connect()
            while not stop.is_set():
                answer = await connection.ask("/", Cookie=f"fw_vid={visitor}")
                assert answer.status == 200
                served[answer.echo["service"]] += 1

        looking = [asyncio.create_task(look(each)) for each in visitors]
        await until(lambda: served["web-green"] > 40, "the variant serves")
        await stand.services["web-green"].stop()
        await stand.services["web-green"].cut()
        await until(lambda: served["web-blue"] > 40, "the control serves")
        stand.pods("web-green")
        await asyncio.sleep(0.1)
        stop.set()
        await asyncio.gather(*looking)
        assert not stand.reloads


def test_behind_a_variant_stand_the_pods_of_the_control_or_of_its_fallback() -> None:
    backends = tuple(Backend(slot=slot, service=f"web-{slot}", port="http", capacity=2) for slot in ("a", "b", "lime"))
    shop = document(services=(EdgeService(name="web", backends=backends), PAY))
    arms = [VariantRange(variant="lime", slot="lime", start=0, end=BUCKETS)]
    ordered = live(shop, active={"web": "a"}, fallbacks={"web": "b"}, tests=(trial("button", arms),))
    pods = {f"web:{slot}": (Server(f"10.0.0.{number}", 80), None) for number, slot in enumerate(("a", "b"), 1)}

    def behind(given_pods: dict[str, tuple[Server | None, ...]]) -> set[str]:
        servers = render(ordered, given_pods).servers["web:lime"]
        return {each.address for name, each in servers.items() if name.startswith("f") and each.enabled}

    assert behind(pods) == {"10.0.0.1"}
    assert behind({"web:b": pods["web:b"]}) == {"10.0.0.2"}
    assert behind({}) == set()
