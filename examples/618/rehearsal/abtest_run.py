"""Follows the A/B test from the opening of the sale until its winner is what everybody sees."""

import asyncio
import time
from collections.abc import Callable, Iterable

import httpx

from rehearsal.abtest import WINNER, ABTestSeen, ABTestView
from rehearsal.landing import GREEN, RED
from rehearsal.observer import Observer
from rehearsal.regular import Regular
from rehearsal.releases import Release, releases
from rehearsal.screen import Screen
from rehearsal.visitor import BROWSER

VERDICT_SECONDS = 200.0
"""How long the test may take from the opening of the sale until it is decided."""
PROMOTION_SECONDS = 90.0
"""How long the winner may take until it has passed its gates and is what the service runs."""
LOOK_SECONDS = 0.3
NEW_VISITORS = 25
PAGES = {RED: "red", GREEN: WINNER}


class ABTestRun:
    """Watches; it does nothing to the test."""

    def __init__(self, campaign_path: str, service: str, gates: Iterable[str], screen: Screen) -> None:
        """Take the path of the Campaign, the service that is tested, and its gates that the winner has to pass."""
        self._path, self._service, self._gates, self._screen = campaign_path, service, frozenset(gates), screen

    async def perform(self, observer: Observer, regular: Regular, seen: ABTestSeen) -> None:
        """Watch until the winner is promoted, and write down what was seen."""
        told = seen.told
        regular.note_for(told)
        try:
            before = await self._release(observer)
            decided = await self._until(seen, lambda view: bool(view.verdict), VERDICT_SECONDS, "a verdict")
            began = time.monotonic()
            await self._until(seen, lambda view: view.state == "Promoted", PROMOTION_SECONDS, "the winner promoted")
            took = time.monotonic() - began
            release = await self._release(observer)
            passed = {each.name for each in release.gates if each.verdict == "Passed"}
            if release.number <= before.number or not self._gates <= passed:
                missing = ", ".join(sorted(self._gates - passed)) or "all, as nothing was released"
                told.amiss.append(f"the winner was promoted, but not through these gates: {missing}")
            seen.fresh.update(await _new_visitors(regular.url))
            told.line = _line(decided, took, sorted(passed))
            self._say(f"{told.line}; {NEW_VISITORS} new visitors see {', '.join(map(_named, seen.fresh))}")
        except (TimeoutError, httpx.HTTPError, ValueError) as problem:
            told.amiss.append(f"{type(problem).__name__}: {problem}")
            self._say(str(problem))
        finally:
            regular.note_no_more(told)

    async def _until(self, seen: ABTestSeen, so: Callable[[ABTestView], bool], seconds: float, what: str) -> ABTestView:
        deadline = time.monotonic() + seconds
        while seen.last is None or not so(seen.last):
            if time.monotonic() > deadline:
                state = f"; the A/B test is {seen.last.state}, {seen.last.message}" if seen.last else ""
                raise TimeoutError(f"not seen within {seconds:g} s: {what}{state}")
            await asyncio.sleep(LOOK_SECONDS)
        return seen.last

    async def _release(self, observer: Observer) -> Release:
        status = ((await observer.get(self._path)) or {}).get("status") or {}
        return releases(status).get(self._service, Release(self._service))

    def _say(self, line: str) -> None:
        self._screen.say(self._screen.ink.bold(f"abtest    {line}"))


def _line(view: ABTestView, took: float, gates: Iterable[str]) -> str:
    lasted = (view.counted_at - view.started_at).total_seconds() if view.counted_at and view.started_at else 0
    won = next((each.compared for each in view.arms if each.name == view.winner), "")
    return (
        f"{view.name}: {view.winner or 'nobody'} has won after {lasted:.0f} s and {view.visitors} visitors, {won};"
        f" released {took:.1f} s after the verdict, browser gates {', '.join(gates)} passed"
    )


def _named(name: str) -> str:
    return name or "another page"


async def _new_visitors(url: str) -> list[str]:
    """Look at the front page as so many people without a cookie; tell what each saw."""
    saw = []
    for _ in range(NEW_VISITORS):
        async with httpx.AsyncClient(base_url=url, timeout=10, headers={"user-agent": BROWSER}) as somebody:
            page = await somebody.get("/")
        page.raise_for_status()
        saw.append(next((name for colour, name in PAGES.items() if colour in page.text), ""))
    return saw
