"""A/B tests at a real HAProxy: who is in which, what they see, what is remembered of it, and what is told."""

import asyncio
import random
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.unit.edge.stand import Connection, Edge, document, edge, live, trial

from flywheel.edge.bucket import assigned, bucket
from flywheel.edge.document import (
    Backend,
    Consent,
    EdgeDocument,
    EdgeService,
    ForcedVariant,
    Limits,
    Segment,
    Target,
    TargetHeader,
    VariantRange,
    Visitor,
)
from flywheel.edge.document import Test as Trial

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
        for visitor in people(1500):
            wanted = assigned(shared.live, "web", visitor)
            seen = await variant(connection, visitor)
            assert seen == ("=".join(wanted) if wanted else "")
            counted[seen.partition("=")[0]] += 1
        assert 200 < counted["first"] < 480, "a quarter, less the holdout"
        assert 850 < counted["second"] < 1100
        assert not stand.reloads


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
        assert await variant(connection, laptop, cookie="fw_as=nonsense") != seen


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
