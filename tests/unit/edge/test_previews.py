"""Who names a revision sees it, nobody else does, and it is no visit."""

import json
import time
import uuid
from pathlib import Path

import msgspec
import pytest
from tests.unit.edge.stand import Answer, document, edge, live, trial, until

from flywheel.edge.document import (
    Block,
    EdgeRoute,
    Limits,
    Preview,
    Share,
    VariantRange,
)
from flywheel.events.access_log import AccessLog, LogRules, Record
from flywheel.events.meters import Meters

NEXT = "0123456789abcdef"
LAST = "fedcba9876543210"
OTHER = "00000000deadbeef"
WEB = Preview(service="web", slot="green", revision=NEXT)
PLAIN = document()
FAST = document(limits=Limits(requests_per_second=100_000))


def seen(answer: Answer) -> tuple[str, str | None, str | None]:
    """Which service answered, what the answer says of it, and what the service was told."""
    return answer.echo["service"], answer.one("x-fw-preview"), answer.echo["headers"].get("x-fw-preview")


async def test_who_names_the_revision_sees_it_and_is_told_so(tmp_path: Path) -> None:
    async with edge(tmp_path, PLAIN) as stand:
        stand.services["web-green"].headers = {
            "Cache-Control": "public, max-age=600",
            "CDN-Cache-Control": "max-age=600",
            "Expires": "Thu, 01 Jan 2099 00:00:00 GMT",
            "X-FW-Preview": "a lie",
        }
        stand.services["web-blue"].headers = {"Cache-Control": "public, max-age=600"}
        connection = await stand.connect()
        assert seen(await connection.ask("/", X_FW_Preview=NEXT)) == ("web-blue", "unknown", None)
        await stand.give(live(PLAIN, previews=(WEB,)))
        answer = await connection.ask("/", X_FW_Preview=NEXT)
        assert seen(answer) == ("web-green", NEXT, NEXT)
        assert answer.all("cache-control") == ["private, no-store"]
        assert answer.all("x-fw-preview") == [NEXT]
        assert not answer.all("expires")
        assert not answer.all("cdn-cache-control")
        assert answer.one("x-request-id")
        ordinary = await connection.ask("/")
        assert seen(ordinary) == ("web-blue", None, None)
        assert ordinary.all("cache-control") == ["public, max-age=600"]
        await stand.give(live(PLAIN, active={"web": "green"}))
        gone = await connection.ask("/", X_FW_Preview=NEXT)
        assert (gone.echo["service"], gone.all("x-fw-preview")) == ("web-green", ["unknown"])
        assert not stand.reloads


@pytest.mark.parametrize(
    ("named", "expected"),
    {
        f"{OTHER}, {NEXT}": ("web-green", NEXT, NEXT),
        f"{LAST},{NEXT}": ("web-blue", LAST, LAST),
        ",".join([*(f"{number:016x}" for number in range(7)), NEXT]): ("web-green", NEXT, NEXT),
        ",".join([*(f"{number:016x}" for number in range(8)), NEXT]): ("web-blue", "unknown", None),
        NEXT.upper(): ("web-blue", "unknown", None),
        f"{NEXT}0": ("web-blue", "unknown", None),
        f"{NEXT}/web": ("web-blue", "unknown", None),
        "known": ("web-blue", "unknown", None),
        "-": ("web-blue", "unknown", None),
        "|": ("web-blue", "unknown", None),
        "%[src]": ("web-blue", "unknown", None),
        "": ("web-blue", "unknown", None),
        # It is known, though not of this service: a shop is seen with the next page and the store that there is.
        "ffffffffffffffff": ("web-blue", None, None),
    }.items(),
)
async def test_only_revisions_that_there_are_count(
    tmp_path: Path, named: str, expected: tuple[str, str | None, str | None]
) -> None:
    previews = (
        WEB,
        Preview(service="web", slot="blue", revision=LAST),
        Preview(service="pay", slot="", revision="f" * 16),
    )
    async with edge(tmp_path, live(PLAIN, previews=previews)) as stand:
        for cookie in ("a=b", f"fw_vid={uuid.uuid4()}"):
            assert seen(await stand.ask("/", X_FW_Preview=named, Cookie=cookie)) == expected


async def test_several_services_are_seen_together(tmp_path: Path) -> None:
    previews = (WEB, Preview(service="pay", slot="", revision=NEXT), Preview(service="pay", slot="", revision=OTHER))
    async with edge(tmp_path, live(PLAIN, previews=previews)) as stand:
        assert seen(await stand.ask("/", X_FW_Preview=NEXT)) == ("web-green", NEXT, NEXT)
        assert seen(await stand.ask("/pay", X_FW_Preview=NEXT)) == ("pay", NEXT, NEXT)
        assert seen(await stand.ask("/pay", X_FW_Preview=f"{OTHER}, {NEXT}")) == ("pay", OTHER, OTHER)
        raw = f"GET /pay HTTP/1.1\r\nHost: a\r\nX-FW-Preview: {LAST}\r\nx-fw-preview: {OTHER}\r\n\r\n".encode()
        assert seen(await stand.raw(raw)) == ("pay", OTHER, OTHER)
        assert [each.lower().count(b"x-fw-preview") for each in stand.services["pay"].raw] == [1, 1, 1]
        forged = await stand.ask("/pay", X_FW_Preview=NEXT, X_FW_Preview_Too="x", X_FW_Visitor="me", X_FW_Variant="t=v")
        assert {name for name in forged.echo["headers"] if name.startswith("x-fw")} == {"x-fw-preview"}


async def test_a_preview_is_no_visit_and_takes_no_part_in_tests_and_shares(tmp_path: Path) -> None:
    arms = (VariantRange(variant="red", slot="blue", start=0, end=10_000),)
    changes = {
        "previews": (WEB,),
        "tests": (trial("button", arms),),
        "shares": (Share(service="web", slot="blue", basis_points=10_000),),
    }
    async with edge(tmp_path, live(FAST, **changes)) as stand:
        for service in stand.services.values():
            service.content_type = "text/html"
        known = str(uuid.uuid4())
        for agent, cookie in (("new", "a=b"), ("known", f"fw_vid={known}")):
            answer = await stand.ask(
                "/page?utm_source=mail", X_FW_Preview=NEXT, Cookie=cookie, User_Agent=agent, Accept="text/html"
            )
            assert seen(answer) == ("web-green", NEXT, NEXT)
            assert not answer.all("set-cookie")
            assert "x-fw-variant" not in answer.echo["headers"]
            record = await stand.record(ua=agent)
            assert {"page": 0, "nv": 0, "ch": "_preview", "svc": "web", "slot": "green"}.items() <= record.items()
            assert not {"test", "var", "us"} & record.keys()
        assert answer.echo["headers"]["x-fw-visitor"] == known
        ordinary = await stand.ask("/page", User_Agent="visit", X_FW_Preview=OTHER)
        assert ordinary.echo["headers"]["x-fw-variant"] == "button=red"
        record = await stand.record(ua="visit")
        assert {"page": 1, "nv": 1, "ch": "direct", "slot": "blue", "test": "button"}.items() <= record.items()
        assert not stand.reloads


async def test_rows_and_figures_have_the_slot_that_answered(tmp_path: Path) -> None:
    meters = Meters("shop", "spring")
    log = AccessLog(None, meters, tmp_path / "state")  # type: ignore[arg-type]
    async with edge(tmp_path, live(PLAIN, previews=(WEB,))) as stand:
        await stand.ask("/", User_Agent="active")
        await stand.ask("/", User_Agent="preview", X_FW_Preview=NEXT)
        await stand.give(live(PLAIN, active={"web": "green"}))
        await stand.ask("/", User_Agent="switched")
        log.use_document(PLAIN)
        rows = {}
        for agent in ("active", "preview", "switched"):
            record = await stand.record(ua=agent)
            log.take(json.dumps(record).encode())
            row = LogRules(PLAIN, b"salt").request(msgspec.convert(record, Record, strict=False), 0)
            rows[agent] = (row.slot, row.channel, row.page)
    assert rows == {
        "active": ("blue", "direct", False),
        "preview": ("green", "_preview", False),
        "switched": ("green", "direct", False),
    }
    assert meters.requests.values == {("web", "blue", "", "2xx"): 1.0, ("web", "green", "", "2xx"): 2.0}


async def test_blocks_and_limits_hold_for_previews(tmp_path: Path) -> None:
    known, slow = str(uuid.uuid4()), document(limits=Limits(requests_per_second=1))
    block = Block(kind="visitor", value=known, until=int(time.time()) + 600)
    async with edge(tmp_path, live(slow, previews=(WEB,), blocks=(block,))) as stand:
        refused = await stand.ask("/", X_FW_Preview=NEXT, Cookie=f"fw_vid={known}")
        assert (refused.status, stand.services["web-green"].requests) == (403, 0)

        async def is_too_much() -> bool:
            return (await stand.ask("/", X_FW_Preview=NEXT)).status == 429

        await until(is_too_much, "the limit is reached")


async def test_a_preview_without_pods_answers_503_and_the_active_slot_goes_on(tmp_path: Path) -> None:
    async with edge(tmp_path, live(FAST, previews=(WEB,))) as stand:
        stand.pods("web-green")
        connection = await stand.connect()

        async def is_away() -> bool:
            return (await connection.ask("/", X_FW_Preview=NEXT)).status == 503

        await until(is_away, "the preview is at zero")
        answer = await connection.ask("/", X_FW_Preview=NEXT, User_Agent="away")
        assert answer.body == b"There is nobody to answer right now."
        assert (answer.one("retry-after"), answer.one("x-fw-preview")) == ("5", NEXT)
        assert answer.one("cache-control") == "private, no-store"
        assert (await stand.record(ua="away"))["slot"] == "green"
        assert seen(await connection.ask("/")) == ("web-blue", None, None)
        stand.pods("web-green", stand.services["web-green"])

        async def is_back() -> bool:
            return (await connection.ask("/", X_FW_Preview=NEXT)).status == 200

        await until(is_back, "the preview has a pod again")
        assert not stand.reloads


ROUTES = {
    "for all hosts": (EdgeRoute(path="/", service="web"), EdgeRoute(path="/pay", service="pay")),
    "for some hosts": (
        EdgeRoute(path="/", service="web", hosts=("shop.example",)),
        EdgeRoute(path="/pay", service="pay", hosts=("shop.example",)),
    ),
    "beside a wildcard": (
        EdgeRoute(path="/", service="pay", hosts=("*.shop.example",)),
        EdgeRoute(path="/", service="web", hosts=("shop.example", "m.shop.example")),
        EdgeRoute(path="/pay", service="pay", hosts=("shop.example",)),
    ),
}


@pytest.mark.parametrize("which", ROUTES)
async def test_a_host_of_its_own_shows_a_preview_among_the_routes_of_its_service(tmp_path: Path, which: str) -> None:
    given = document(limits=Limits(requests_per_second=100_000), routes=ROUTES[which])
    host, late = "next.shop.example", "late.shop.example"
    async with edge(tmp_path, live(given, previews=(WEB,))) as stand:
        known = f"fw_vid={uuid.uuid4()}"
        connection = await stand.connect()
        before = await connection.ask("/", Host=host)
        assert before.one("x-fw-preview") is None
        hosted = Preview(service="web", slot="green", revision=NEXT, hosts=(host, late))
        await stand.give(live(given, previews=(hosted, Preview(service="web", slot="blue", revision=LAST))))
        for cookie in ("a=b", known):
            for name in (host, "Next.Shop.Example:8080", late):
                assert seen(await connection.ask("/", Host=name, Cookie=cookie)) == ("web-green", NEXT, NEXT)
            assert seen(await connection.ask("/", Host=host, X_FW_Preview=LAST, Cookie=cookie))[1] == LAST
            assert seen(await connection.ask("/pay", Host=host, Cookie=cookie)) == ("pay", None, None)
            assert seen(await connection.ask("/", Host="shop.example", Cookie=cookie)) == ("web-blue", None, None)
        await stand.give(live(given, previews=(WEB,)))
        after = await connection.ask("/", Host=host)
        assert (after.status, after.one("x-fw-preview")) == (before.status, None)
        assert not stand.reloads


async def test_previews_survive_a_haproxy_that_starts_anew(tmp_path: Path) -> None:
    hosted = Preview(service="web", slot="green", revision=NEXT, hosts=("next.example",))
    async with edge(tmp_path, PLAIN) as stand:
        await stand.give(live(PLAIN, previews=(hosted,)))
        await stand.stop()
        await stand.start_haproxy()
        assert seen(await stand.ask("/", Host="next.example")) == ("web-green", NEXT, NEXT)
        assert seen(await stand.ask("/", X_FW_Preview=NEXT)) == ("web-green", NEXT, NEXT)
