"""Segments at a real HAProxy: a service says in which a visitor is, and tests are for those alone."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.edge.stand import Answer, Edge, edge, live
from tests.unit.edge.test_experiments import SHOP, all_lime, people, variant

from flywheel.edge.document import Consent, EdgeDocument, Target, Visitor
from flywheel.edge.quoting import DocumentProblem
from flywheel.edge.render import render

KEY = "5e" * 32
ONE, OTHER = people(2)


def shop(*segments: str, key: str = KEY, **more: Any) -> EdgeDocument:
    known = msgspec.structs.replace(SHOP, segments_key=key, **more)
    return live(known, tests=(all_lime(target=Target(segments=segments)),) if segments else ())


async def told(stand: Edge, says: str, visitor: str = ONE, **headers: str) -> Answer:
    """Ask a service that says in which segments the visitor is."""
    for service in stand.services.values():
        service.headers = {"X-FW-Segments": says} if says else {}
    sent = "; ".join(each for each in (f"fw_vid={visitor}" if visitor else "", headers.pop("cookie", "")) if each)
    answer = await stand.ask("/login", Cookie=sent or "none=1", **headers)
    for service in stand.services.values():
        service.headers = {}
    assert answer.status == 200
    assert not answer.all("x-fw-segments"), "what a service thinks of its visitors is not for them to know"
    return answer


async def test_whoever_a_service_says_is_in_a_segment_enters_from_the_next_request_on(tmp_path: Path) -> None:
    async with edge(tmp_path, shop("big-spenders", "new-parents")) as stand:
        connection = await stand.connect()
        assert await variant(connection, ONE) == ""
        answer = await told(stand, "Night-Owls, big-spenders")
        (cookie,) = (each for each in answer.all("set-cookie") if each.startswith("fw_seg="))
        assert "HttpOnly" in cookie
        assert "Max-Age" in cookie
        kept = f"fw_seg={answer.cookies['fw_seg']}"
        assert await variant(connection, ONE, cookie=kept) == "button=lime"
        # What is known already is not said again; what is new takes the place of all that was said before.
        assert "fw_seg" not in (await told(stand, "night-owls,big-spenders", cookie=kept)).cookies
        changed = (await told(stand, "night-owls", cookie=kept)).cookies["fw_seg"]
        assert await variant(connection, ONE, cookie=f"fw_seg={changed}") == ""


async def test_whoever_is_in_the_test_stays_in_it(tmp_path: Path) -> None:
    async with edge(tmp_path, shop("big-spenders")) as stand:
        kept = (await told(stand, "big-spenders")).cookies["fw_seg"]
        seen = await stand.ask("/", Cookie=f"fw_vid={ONE}; fw_seg={kept}")
        (name,) = (each for each in seen.cookies if each.startswith("fw_in_"))
        left = (await told(stand, "none", cookie=f"fw_seg={kept}")).cookies["fw_seg"]
        connection = await stand.connect()
        cookie = f"fw_seg={left}; {name}={seen.cookies[name]}"
        assert await variant(connection, ONE, cookie=cookie) == "button=lime"
        assert await variant(connection, ONE, cookie=f"fw_seg={left}") == ""


async def test_nobody_can_say_so_of_themselves_or_lend_it(tmp_path: Path) -> None:
    async with edge(tmp_path, shop("big-spenders")) as stand:
        connection = await stand.connect()
        names, _, signature = (await told(stand, "big-spenders")).cookies["fw_seg"].partition("~")
        assert await variant(connection, OTHER, cookie=f"fw_seg={names}~{signature}") == ""
        forged = ("big-spenders", "big-spenders~", f"big-spenders~{'0' * 64}", f"x.big-spenders~{signature}", "~", "")
        for each in forged:
            assert await variant(connection, ONE, cookie=f"fw_seg={each}") == "", each
        assert await variant(connection, ONE, X_FW_Segments="big-spenders") == ""
        # A name is a whole name.
        near = (await told(stand, "big-spenders-2, not-big-spenders")).cookies["fw_seg"]
        assert await variant(connection, ONE, cookie=f"fw_seg={near}") == ""


async def test_what_makes_no_sense_changes_nothing(tmp_path: Path) -> None:
    too_many = ", ".join(f"s{number}" for number in range(33))
    async with edge(tmp_path, shop("big-spenders")) as stand:
        for says in ("", " ", "big_spenders", "a;b", "-a", "a" * 41, too_many, "é", 'a"b', "a~b", "a.b-"):
            assert "fw_seg" not in (await told(stand, says)).cookies, says


async def test_a_new_visitor_is_known_at_once_and_nobody_without_consent(tmp_path: Path) -> None:
    async with edge(tmp_path, shop("big-spenders")) as stand:
        answer = await told(stand, ", ".join(f"segment-{'x' * 28}-{i}" for i in range(31)) + ",big-spenders", "")
        assert await variant(
            await stand.connect(), answer.cookies["fw_vid"], cookie=f"fw_seg={answer.cookies['fw_seg']}"
        )
    asks = Visitor(consent=Consent(cookie="ok", granted=("yes",)))
    async with edge(tmp_path / "asks", shop("big-spenders", visitor=asks)) as stand:
        assert not (await told(stand, "big-spenders")).cookies
        assert "fw_seg" in (await told(stand, "big-spenders", cookie="ok=yes")).cookies


async def test_before_its_test_begins_segments_are_remembered_and_without_one_they_are_not(tmp_path: Path) -> None:
    async with edge(tmp_path, shop()) as stand:
        kept = (await told(stand, "big-spenders")).cookies["fw_seg"]
        await stand.give(shop("big-spenders"))
        assert await variant(await stand.connect(), ONE, cookie=f"fw_seg={kept}") == "button=lime"
        await stand.give(shop(key=""))
        assert not (await told(stand, "big-spenders")).cookies


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (shop("big-spenders", key=""), "segmentsKey"),
        (shop("big-spenders", key="secret"), "segmentsKey"),
        (shop("a'b"), r"live.tests\[0\].target.segments\[0\]"),
        (shop("a", "a|b"), r"live.tests\[0\].target.segments\[1\]"),
    ],
)
def test_documents_that_make_no_sense_are_refused(document: EdgeDocument, path: str) -> None:
    with pytest.raises(DocumentProblem, match=path):
        render(document, {})
