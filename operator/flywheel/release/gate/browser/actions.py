"""What each kind of step does on a page, and what is said when it does not hold."""

import asyncio
import re
from collections.abc import Awaitable, Callable

from playwright.async_api import Error, Locator, Page, expect
from playwright.async_api import TimeoutError as TooLate

from flywheel.release.gate.browser.console import Console
from flywheel.release.gate.browser.proxy import Proxy
from flywheel.release.gate.browser.steps import PREVIEW_HEADER, UNKNOWN, Plan, Step, url_matches
from flywheel.release.gate.browser.verdict import one_line

REFUSED_FROM = 400
LONGEST_SEEN = 160
# Playwright's own words for what a person wrote wrong, and for a browser that is gone.
_NOT_UNDERSTOOD = re.compile(
    "while parsing|Unknown engine|not a valid selector|Unknown key|Malformed|is not a valid XPath|SyntaxError"
)
_GONE = re.compile("Target crashed|Page crashed|has been closed|Browser closed|Connection closed")
_CERTIFICATE = re.compile("ERR_CERT_|ERR_SSL_")
_OBSTACLES = re.compile(
    "element is not (?:visible|enabled|stable|editable)|.* intercepts pointer events|"
    "did not find some options|element is outside of the viewport"
)


class StepFailedError(Exception):
    """A step does not hold: the page is not as the plan wants it."""


class CannotLookError(Exception):
    """A step cannot be tried at all, whatever the page is like."""


class Visitor:
    """Takes the steps of a plan on one page."""

    def __init__(self, page: Page, plan: Plan, proxy: Proxy, console: Console) -> None:
        self._page = page
        self._plan = plan
        self._proxy = proxy
        self._console = console
        self._milliseconds = plan.step_seconds * 1000
        self._status: int | None = None
        """Of the last page that was opened; None before the first answer."""
        self._doing: dict[str, Callable[[Step], Awaitable[None]]] = {
            "open": self._open,
            "click": self._click,
            "clickText": self._click,
            "clickRole": self._click,
            "fill": self._fill,
            "select": self._select,
            "press": self._press,
            "expectText": self._expect_text,
            "expectTextIn": self._expect_text,
            "visible": self._visible,
            "hidden": self._hidden,
            "url": self._url,
            "title": self._title,
            "status": self._expect_status,
            "waitFor": self._wait,
            "noConsoleErrors": self._no_console_errors,
        }

    async def take(self, step: Step, *, before_status: bool) -> None:
        """Take one step.

        Args:
            step: The step; screenshots are another's.
            before_status: The next step is about the status, so an answer of any status will do.

        Raises:
            StepFailedError: It does not hold.
            CannotLookError: It cannot be tried.
        """
        try:
            await self._doing[step.do](step)
        except Error as error:
            raise _translated(error) from error
        if step.do == "open" and not before_status and self._status is not None and self._status >= REFUSED_FROM:
            raise StepFailedError(f"answered {self._status}")

    @property
    def _seconds(self) -> str:
        return f"{self._plan.step_seconds:g} s"

    def _named(self, step: Step) -> Locator:
        if step.do == "clickText":
            return self._page.get_by_text(step.text, exact=True).filter(visible=True)
        if step.role:
            return self._page.get_by_role(step.role, name=step.text or None, exact=True)  # type: ignore[arg-type]
        return self._page.get_by_label(step.label) if step.label else self._page.locator(step.selector)

    async def _open(self, step: Step) -> None:
        first, self._status = self._status is None, None
        try:
            answer = await self._page.goto(self._plan.origin + step.text, timeout=self._milliseconds, wait_until="load")
        except TooLate as error:
            if first and self._proxy.unreachable:
                raise CannotLookError(f"the address cannot be reached: {self._proxy.unreachable}") from error
            raise StepFailedError(f"not loaded within {self._seconds}") from error
        except Error as error:
            if first and (self._proxy.unreachable or _CERTIFICATE.search(error.message)):
                why = self._proxy.unreachable or error.message.splitlines()[0]
                raise CannotLookError(f"the address cannot be reached: {why}") from error
            raise
        if first and self._proxy.unreachable:
            raise CannotLookError(f"the address cannot be reached: {self._proxy.unreachable}")
        self._status = answer.status if answer else 0
        if self._plan.must_know and answer and await answer.header_value(PREVIEW_HEADER) == UNKNOWN:
            revision = self._plan.headers.get(PREVIEW_HEADER, "")
            raise CannotLookError(f"the active slot has answered: the edge does not know {revision} yet")

    async def _click(self, step: Step) -> None:
        await self._on(self._named(step), lambda found: found.click(timeout=self._milliseconds))

    async def _fill(self, step: Step) -> None:
        await self._on(self._named(step), lambda found: found.fill(step.text, timeout=self._milliseconds))

    async def _select(self, step: Step) -> None:
        async def choose(found: Locator) -> None:
            await found.select_option(step.text, timeout=self._milliseconds)

        await self._on(self._named(step), choose)

    async def _on(self, found: Locator, act: Callable[[Locator], Awaitable[None]]) -> None:
        try:
            await act(found)
        except TooLate as error:
            if await found.count() == 0:
                raise StepFailedError(f"there is no such element within {self._seconds}") from error
            obstacle = _OBSTACLES.findall(error.message)
            why = f": {obstacle[-1].strip(' -')}" if obstacle else ""
            raise StepFailedError(f"it is there and could not be used within {self._seconds}{why}") from error

    async def _press(self, step: Step) -> None:
        await self._page.keyboard.press(step.text)

    async def _expect_text(self, step: Step) -> None:
        place = self._page.locator(step.selector or "body")
        try:
            await expect(place).to_contain_text(step.text, use_inner_text=True, timeout=self._milliseconds)
        except AssertionError as error:
            where = "it" if step.selector else "the page"
            count = await place.count()
            if count != 1:
                raise StepFailedError(_of_count(count, self._seconds)) from error
            seen = one_line(await place.inner_text(timeout=1000), LONGEST_SEEN)
            shows = f'{where} shows "{seen}"' if seen else f"{where} shows no text"
            raise StepFailedError(f"not within {self._seconds}; {shows}") from error

    async def _visible(self, step: Step) -> None:
        found = self._page.locator(step.selector)
        try:
            await expect(found.filter(visible=True).first).to_be_visible(timeout=self._milliseconds)
        except AssertionError as error:
            there = await found.count()
            why = f"{there} such elements, all hidden" if there > 1 else "it is hidden" if there else "no such element"
            raise StepFailedError(f"not within {self._seconds}: {why}") from error

    async def _hidden(self, step: Step) -> None:
        found = self._page.locator(step.selector).filter(visible=True)
        try:
            await expect(found).to_have_count(0, timeout=self._milliseconds)
        except AssertionError as error:
            seen = one_line(await found.first.inner_text(timeout=1000), LONGEST_SEEN)
            shown = f', with the text "{seen}"' if seen else ""
            raise StepFailedError(f"still seen after {self._seconds}{shown}") from error

    async def _url(self, step: Step) -> None:
        def there(url: str) -> bool:
            return url_matches(step.text, url, self._plan.origin)

        try:
            await self._page.wait_for_url(there, timeout=self._milliseconds, wait_until="commit")
        except TooLate as error:
            here = self._page.url.removeprefix(self._plan.origin)
            raise StepFailedError(f"after {self._seconds} the page is at {one_line(here, LONGEST_SEEN)}") from error

    async def _title(self, step: Step) -> None:
        try:
            await expect(self._page).to_have_title(re.compile(re.escape(step.text)), timeout=self._milliseconds)
        except AssertionError as error:
            title = one_line(await self._page.title(), LONGEST_SEEN)
            raise StepFailedError(f'not within {self._seconds}; the title is "{title}"') from error

    async def _expect_status(self, step: Step) -> None:
        if self._status != int(step.number):
            raise StepFailedError(f"answered {self._status or 'nothing'}")

    async def _wait(self, step: Step) -> None:
        await asyncio.sleep(step.number)

    async def _no_console_errors(self, _step: Step) -> None:
        # What the browser has already to tell arrives before the answer to this.
        await self._page.title()
        if self._console.complaints:
            more = f" (the first of {self._console.count})" if self._console.count > 1 else ""
            hosts = ", ".join(list(self._console.refused)[:3])
            refused = f"; the gate did not let the page reach {hosts}: see allowHosts" if hosts else ""
            raise StepFailedError(f"{self._console.complaints[0]}{more}{refused}")


def _of_count(count: int, seconds: str) -> str:
    return f"{count} elements match, name one of them more precisely" if count else f"no such element within {seconds}"


def _translated(error: Error) -> Exception:
    first = one_line(error.message.splitlines()[0] if error.message else "", 300)
    if _GONE.search(error.message):
        return CannotLookError(f"the browser is gone, perhaps for lack of memory: raise browser.resources ({first})")
    if _NOT_UNDERSTOOD.search(error.message):
        return CannotLookError(f"the step cannot be understood: {first}")
    ambiguous = re.search(r"strict mode violation.* resolved to ([0-9]+) elements", error.message)
    if ambiguous:
        return StepFailedError(_of_count(int(ambiguous[1]), ""))
    return StepFailedError(first)
