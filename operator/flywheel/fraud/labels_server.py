"""Where the operator, and people who try rules on the past, are told what is known of who was dishonest."""

import asyncio
from collections.abc import Callable

import msgspec
from aiohttp import web

from flywheel.fraud import naming
from flywheel.fraud.archive import Archive
from flywheel.fraud.callers import Callers
from flywheel.fraud.filing import Filing
from flywheel.fraud.judging import Judging
from flywheel.fraud.known_labels import LONGEST_PAGE, PAGES, KnownLabel, LabelPage, page_of
from flywheel.fraud.trouble import must_be_ready
from flywheel.fraud.wishes import BadWish

LONGEST_NAME = 253
MOST_NUMBER = 1 << 53
_encode = msgspec.json.Encoder().encode


class LabelsServer:
    """The handler of `GET /v1/fraud/labels`."""

    def __init__(self, callers: Callers, judging: Judging, filing: Filing, complaint: Callable[[], str | None]) -> None:
        """Make it.

        Args:
            callers: Who may.
            judging: Has the labels.
            filing: Knows what was done to whom.
            complaint: Why nothing can be told now.
        """
        self._callers, self._judging, self._filing, self._complaint = callers, judging, filing, complaint

    def add_to(self, application: web.Application, people: web.Application) -> None:
        """Add the handler where the operator asks, and where people do.

        Args:
            application: The worker's own port.
            people: The port on the pod's loopback.
        """
        application.router.add_get(naming.LABELS, self._tell_operator)
        people.router.add_get("/labels", self._tell)

    async def _tell_operator(self, request: web.Request) -> web.Response:
        await self._callers.operator(request)
        return await self._tell(request)

    async def _tell(self, request: web.Request) -> web.Response:
        """Tell a page of labels, the latest first."""
        must_be_ready(self._complaint)
        asked = request.query
        campaign, rule = asked.get("campaign", ""), asked.get("rule", "")
        numbers = [asked.get(name, "0") for name in ("before", "skip")]
        if not (0 < len(campaign) <= LONGEST_NAME and 0 < len(rule) <= LONGEST_NAME):
            raise BadWish("campaign, rule: say of which campaign and which rule labels are wanted.")
        if any(not each.isdecimal() or len(each) > 16 or int(each) > MOST_NUMBER for each in numbers):
            raise BadWish("before, skip: whole numbers are taken, as the page before gave them.")
        before, skip = map(int, numbers)
        for most in PAGES:
            page = await self._page(campaign, rule, before, skip, most)
            body = await asyncio.to_thread(_encode, page)
            if len(body) <= LONGEST_PAGE:
                break
        return web.Response(body=body, content_type="application/json")

    async def _page(self, campaign: str, rule: str, before: int, skip: int, most: int) -> LabelPage:
        desk = self._judging.casebook.desks.get(campaign)
        if desk is None:
            return LabelPage()
        # Sorting many of them takes a while, and whoever is judged meanwhile must not wait for it.
        labels, before, skip = await asyncio.to_thread(page_of, desk.labels.dump(), rule, before, skip, most)
        by_events = desk.keeping.addresses != "Store"

        def known(archive: Archive) -> tuple[KnownLabel, ...]:
            return archive.known(campaign, rule, labels, by_events=by_events)

        return LabelPage(labels=await self._filing.ask(known), before=before, skip=skip)
