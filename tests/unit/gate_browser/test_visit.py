"""What a real Chromium makes of each step, on a site that answers as a shop does."""

import asyncio
import re

import pytest
from tests.unit.gate_browser.looking import look, look_in_vain, plan
from tests.unit.gate_browser.site import Site

from flywheel.release.gate.browser import pictures
from flywheel.release.gate.browser.runner import visit


async def test_every_kind_of_step_holds_on_a_page_that_is_as_it_should_be(site: Site) -> None:
    visited = await look(
        site.address,
        """
        - open: /?utm_source=sms
        - status: 200
        - title: 618 会场
        - expectText: "¥99"
        - visible: "#claim"
        - hidden: "#secret"
        - click: "#claim"
        - expectText: 领取成功
        - expectTextIn: {selector: "#price", text: "99"}
        - fill: {label: Phone, value: "13800000000"}
        - press: Enter
        - expectTextIn: {selector: "#said", text: phone is 13800000000}
        - fill: {selector: "#phone", value: "2"}
        - select: {selector: "#size", value: l}
        - expectText: size is l
        - select: {label: Size, value: Small}
        - expectText: size is s
        - clickText: 领取优惠券
        - clickRole: {role: link, name: Order}
        - url: /orders/*?from=shop
        - title: Order 42
        - waitFor: 1s
        - screenshot: order
        - open: /plain
        - noConsoleErrors: true
        """,
    )
    assert visited.result.sentence() == "all 25 steps hold"
    assert visited.result.exit_code == 0
    assert visited.result.pictures == ("23-order.jpg",)
    assert [each["outcome"] for each in visited.report["steps"]] == ["Success"] * 25


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ('{click: "#no"}', "step 2 of 2, click #no: there is no such element within TIME"),
        ('{click: "#off"}', "it is there and could not be used within TIME: element is not enabled"),
        ("{click: .card}", "2 elements match, name one of them more precisely"),
        ("{clickText: 领取}", 'click "领取": there is no such element'),
        ("{clickRole: {role: tab}}", "click tab: there is no such element"),
        ('{fill: {selector: "#claim", value: x}}', "fill #claim: "),
        ("{fill: {label: Street, value: s3cret}}", "fill Street: there is no such element"),
        ('{select: {selector: "#size", value: XXL}}', "select in #size: "),
        ("{expectText: 已领取}", 'expect "已领取": not within TIME; the page shows "618 会场 ¥99'),
        ("{expectText: hidden words}", "not within TIME"),
        ('{expectTextIn: {selector: "#price", text: "1"}}', 'expect "1" in #price: not within TIME; it shows "¥99"'),
        ('{expectTextIn: {selector: "#no", text: "1"}}', "no such element within TIME"),
        ("{expectTextIn: {selector: .card, text: one}}", "2 elements match"),
        ('{visible: "#secret"}', "visible #secret: not within TIME: it is hidden"),
        ('{hidden: "#price"}', 'hidden #price: still seen after TIME, with the text "¥99"'),
        ("{url: /orders/*}", "url /orders/*: after TIME the page is at /"),
        ("{title: 双十一}", 'not within TIME; the title is "优购 618 会场"'),
        ("{status: 404}", "status 404: answered 200"),
    ],
)
async def test_a_step_that_does_not_hold_fails_and_says_what_was_there(site: Site, step: str, says: str) -> None:
    visited = await look_in_vain(
        site.address, f"[{{open: /}}, {step}]", lambda seen, time: says.replace("TIME", time) in seen.result.sentence()
    )
    assert visited.result.outcome == "Failure"
    assert visited.result.exit_code == 1
    assert re.search(re.escape(says).replace("TIME", r"\d+ s"), visited.result.sentence())
    assert visited.result.step == 2
    assert visited.result.pictures == ("02-failed.jpg",)
    assert "s3cret" not in f"{visited.result}{visited.report}"


@pytest.mark.parametrize("step", ['{click: "a[["}', "{visible: ':nope(x)'}", "{hidden: 'a[['}", "{press: NoSuchKey}"])
async def test_what_no_browser_understands_says_nothing_of_the_page(site: Site, step: str) -> None:
    visited = await look(site.address, f"[{{open: /}}, {step}]")
    assert visited.result.outcome == "Error", visited.result
    assert visited.result.exit_code == 2
    assert "cannot be understood" in visited.result.message


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_a_refusal_fails_when_the_page_is_opened(site: Site, status: int) -> None:
    visited = await look(site.address, f"[{{open: /status/{status}}}, {{screenshot: a}}]")
    assert visited.result.outcome == "Failure"
    assert visited.result.sentence() == f"step 1 of 2, open /status/{status}: answered {status}"


async def test_a_refusal_that_is_expected_holds(site: Site) -> None:
    visited = await look(site.address, "[{open: /status/503}, {status: 503}]")
    assert visited.result.outcome == "Success"


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("/console-error", "stock is unknown"),
        ("/page-error", "uncaught wx is not defined"),
        ("/missing-picture", "/no-such.png"),
    ],
)
async def test_errors_of_a_page_are_heard(site: Site, page: str, says: str) -> None:
    visited = await look(site.address, f"[{{open: {page}}}, {{noConsoleErrors: true}}]")
    assert visited.result.outcome == "Failure"
    assert says in visited.result.message
    assert any(says in each for each in visited.report["consoleErrors"])


async def test_errors_of_earlier_pages_count(site: Site) -> None:
    visited = await look(site.address, "[{open: /console-error}, {open: /plain}, {noConsoleErrors: true}]")
    assert "stock is unknown" in visited.result.message


async def test_a_page_without_an_icon_has_no_error(site: Site) -> None:
    visited = await look(site.address, "[{open: /no-icon}, {waitFor: 1s}, {noConsoleErrors: true}]")
    assert visited.result.outcome == "Success", visited.result


@pytest.fixture
def nothing_to_take_a_picture_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "TIMEOUT_SECONDS", 1.0)


@pytest.mark.usefixtures("nothing_to_take_a_picture_of")
async def test_a_page_that_never_comes_fails_in_its_time(site: Site) -> None:
    visited = await look(site.address, "[{open: /slow}]", stepTimeout="1s")
    assert visited.result.outcome == "Failure"
    assert visited.result.message == "not loaded within 1 s"


async def test_an_address_that_nobody_listens_on_is_an_error_of_the_gate(site: Site) -> None:
    await site.stop()
    visited = await look(site.address, "[{open: /}]")
    assert visited.result.outcome == "Error"
    assert visited.result.message == "the address cannot be reached: connection refused"


@pytest.mark.parametrize("address", ["http://no-such-host.invalid", "http://169.254.169.254"])
async def test_an_address_that_cannot_be_looked_up_or_must_not_be_called_is_an_error_of_the_gate(address: str) -> None:
    visited = await look(address, "[{open: /}]")
    assert visited.result.outcome == "Error"
    assert "the address cannot be reached" in visited.result.message


async def test_an_address_that_goes_away_in_between_is_a_failure(site: Site) -> None:
    async def leave() -> None:
        await site.wait_for("/plain")
        await site.stop()

    leaving = asyncio.create_task(leave())
    visited = await look(site.address, "[{open: /plain}, {waitFor: 3s}, {open: /}]")
    await leaving
    assert visited.result.outcome == "Failure"
    assert visited.result.sentence() == "step 3 of 3, open /: answered 502"


@pytest.mark.usefixtures("nothing_to_take_a_picture_of")
async def test_a_page_that_hangs_is_a_failure(site: Site) -> None:
    visited = await look(site.address, "[{open: /busy}, {clickText: Hang}, {expectText: done}]", stepTimeout="1s")
    assert visited.result.outcome == "Failure"


async def test_a_browser_that_does_not_start_is_an_error(site: Site) -> None:
    visited = await visit(plan(site.address), executable="/bin/false")
    assert visited.result.outcome == "Error"
    assert visited.result.sentence().startswith("before the first step: /bin/false did not start")


async def test_a_visit_can_be_ended_from_outside(site: Site) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(visit(plan(site.address, "[{open: /slow}]", stepTimeout="2m"), stop=stop))
    await site.wait_for("/slow")
    stop.set()
    visited = await running
    assert visited.result.sentence() == "step 1 of 1, open /slow: the visit was ended from outside"
    assert visited.result.exit_code == 2
