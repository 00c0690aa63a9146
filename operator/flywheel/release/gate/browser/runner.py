"""One visit, from the start of the browser to the verdict."""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from playwright.async_api import Page

from flywheel.release.gate.browser.actions import CannotLookError, StepFailedError, Visitor
from flywheel.release.gate.browser.chromium import EXECUTABLE, BrowserDidNotStartError, new_window, running_chromium
from flywheel.release.gate.browser.console import Console
from flywheel.release.gate.browser.pictures import Album
from flywheel.release.gate.browser.proxy import Proxy
from flywheel.release.gate.browser.steps import Plan, Step
from flywheel.release.gate.browser.verdict import Result, one_line

log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""What a step may take beyond its own time before the browser is held to be stuck."""
LONGEST_PROBLEM = 600


@dataclass(slots=True)
class Visit:
    """A visit and what it has shown."""

    result: Result
    pictures: dict[str, bytes] = field(default_factory=dict)
    """JPEG by file name."""
    report: dict[str, Any] = field(default_factory=dict)
    """All that was noted, as JSON."""


@dataclass(slots=True)
class _Notes:
    """What is known so far, kept outside of what may be cancelled."""

    plan: Plan
    began: float
    album: Album
    taken: list[dict[str, Any]] = field(default_factory=list)
    at: int = 0
    browser: str = ""
    console: Console | None = None


async def visit(plan: Plan, *, executable: str = EXECUTABLE, stop: asyncio.Event | None = None) -> Visit:
    """Carry out a plan; never raises for what browser and page do.

    Args:
        plan: What to do.
        executable: Path of Chromium.
        stop: Ends the visit early, as an error.
    """
    notes = _Notes(plan, time.monotonic(), Album(sum(step.do == "screenshot" for step in plan.steps)))
    proxy = Proxy(plan)
    running = asyncio.ensure_future(_visit(notes, proxy, executable))
    stopped = asyncio.ensure_future((stop or asyncio.Event()).wait())
    await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
    ended = stopped.done() and not running.done()
    for task in (running, stopped):
        task.cancel()
    await asyncio.wait({running, stopped}, timeout=GRACE_SECONDS)
    if ended or not running.done() or running.cancelled():
        return _concluded(notes, "Error", "the visit was ended from outside")
    failure = running.exception()
    if failure:
        # Playwright raises plain Exceptions, too, as when its driver is gone.
        log.error("the visit was not finished", exc_info=failure)
        return _concluded(notes, "Error", one_line(f"the browser failed: {failure}", LONGEST_PROBLEM))
    return _concluded(notes, *running.result())


Verdict = tuple[Literal["Success", "Failure", "Error"], str]


async def _visit(notes: _Notes, proxy: Proxy, executable: str) -> Verdict:
    try:
        async with proxy.running(), running_chromium(notes.plan, proxy.port, executable) as browser:
            notes.browser = f"Chromium {browser.version}"
            context = await new_window(browser, notes.plan)
            notes.console = Console(context, proxy)
            return await _take_steps(notes, await context.new_page(), proxy, notes.console)
    except BrowserDidNotStartError as error:
        return "Error", one_line(str(error), LONGEST_PROBLEM)


async def _take_steps(notes: _Notes, page: Page, proxy: Proxy, console: Console) -> Verdict:
    visitor = Visitor(page, notes.plan, proxy, console)
    steps = notes.plan.steps
    for number, step in enumerate(steps, 1):
        notes.at = number
        began = time.monotonic()
        following = steps[number].do if number < len(steps) else ""
        verdict = await _take(visitor, notes, page, step, before_status=following == "status")
        seconds = round(time.monotonic() - began, 3)
        notes.taken.append({"step": number, "what": step.what, "seconds": seconds, "outcome": verdict[0]})
        if verdict[0] != "Success":
            await notes.album.take(page, number, "failed", failed=True)
            return verdict
    return "Success", f"all {len(steps)} steps hold" if len(steps) > 1 else "the step holds"


async def _take(visitor: Visitor, notes: _Notes, page: Page, step: Step, *, before_status: bool) -> Verdict:
    if step.do == "screenshot":
        await notes.album.take(page, notes.at, step.text)
        return "Success", ""
    own = step.number if step.do == "waitFor" else notes.plan.step_seconds
    try:
        async with asyncio.timeout(own + GRACE_SECONDS):
            await visitor.take(step, before_status=before_status)
    except StepFailedError as error:
        return "Failure", one_line(str(error), LONGEST_PROBLEM)
    except CannotLookError as error:
        return "Error", one_line(str(error), LONGEST_PROBLEM)
    except TimeoutError:
        # Not one of Playwright's: a page that is busy for ever does not even answer the browser.
        return "Failure", f"the page does not respond ({own + GRACE_SECONDS:g} s)"
    return "Success", ""


def _concluded(notes: _Notes, outcome: Literal["Success", "Failure", "Error"], message: str) -> Visit:
    plan, album = notes.plan, notes.album
    result = Result(
        outcome=outcome,
        step=notes.at,
        steps=len(plan.steps),
        what=plan.steps[notes.at - 1].what if notes.at else "",
        message=message,
        seconds=round(time.monotonic() - notes.began, 2),
        pictures=tuple(album.pictures),
        address=plan.dial,
    )
    report = {
        "outcome": outcome,
        "message": result.sentence(),
        "address": plan.dial,
        "origin": plan.origin,
        "browser": notes.browser,
        "viewport": f"{plan.width}x{plan.height}",
        "steps": notes.taken,
        "consoleErrors": list(notes.console.complaints) if notes.console else [],
        "consoleErrorsInAll": notes.console.count if notes.console else 0,
        "refusedHosts": notes.console.refused if notes.console else {},
        "pictureProblems": album.problems,
    }
    return Visit(result, dict(album.pictures), report)
