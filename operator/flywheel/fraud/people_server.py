"""What people ask of the worker and tell it: why somebody was found, what holds, who is let go, who was dishonest.

It is a port on the pod's loopback, as that of the event store: who may forward ports to the pod may all of it. Services
label at the worker's own port, with their token.
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Iterable

import msgspec
from aiohttp import web

from flywheel.events.http_answers import read_body, refusal
from flywheel.events.identity import NotAllowed, NotIdentified
from flywheel.events.loopback import guard
from flywheel.fraud import naming
from flywheel.fraud.archive import MOST_FOUND, Archive
from flywheel.fraud.blocks import Decision
from flywheel.fraud.callers import Callers
from flywheel.fraud.desk import Desk
from flywheel.fraud.erase_server import EraseServer
from flywheel.fraud.filing import Filing
from flywheel.fraud.judging import Judging
from flywheel.fraud.others import Others, Untold
from flywheel.fraud.pardons import together
from flywheel.fraud.records import Labelled, Pardoned, Record, Removal
from flywheel.fraud.trouble import Handler, must_be_ready, tell_trouble
from flywheel.fraud.verdicts import JOINT, Kept
from flywheel.fraud.wishes import AllowWish, BadWish, LabelsWish, LabelWish, UnblockWish, labels_of, pardon_of

MOST_BYTES = 1 << 20
MOST_DECISIONS = 10_000
"""In one answer."""
AT_ONCE = 1_000
"""Records that are submitted together."""
_encode = msgspec.json.Encoder().encode


class Shown(msgspec.Struct, rename="camel", omit_defaults=True):
    """A verdict, for people and their programs."""

    campaign: str
    rule: str
    version: str
    event: str
    at: int
    key: dict[str, str] | list[str]
    observed: float
    limit: float
    since: int
    done: str
    action: str = ""
    until: int = 0
    visitor: str = ""
    user: str = ""
    address: str = ""
    said: str = ""


class PeopleServer:
    """Handlers for people, and for services that label."""

    def __init__(
        self,
        callers: Callers,
        judging: Judging,
        filing: Filing,
        complaint: Callable[[], str | None],
        others: Others | None = None,
        clock: Callable[[], int] = lambda: int(time.time() * 1000),
        erasing: EraseServer | None = None,
    ) -> None:
        self._erasing = erasing
        self._callers, self._judging, self._filing = callers, judging, filing
        self._complaint, self._clock, self._others = complaint, clock, others

    def add_to(self, application: web.Application) -> None:
        """Add what services may: to label."""
        application.router.add_post(naming.LABELS, self._label_as_service)

    def application(self) -> web.Application:
        """Make what people may."""
        made = web.Application(middlewares=[guard, tell_trouble, self._when_ready])
        made.router.add_get("/verdicts", self._verdicts)
        made.router.add_get("/decisions", self._decisions)
        made.router.add_get("/allowed", self._allowed)
        made.router.add_post("/unblock", self._unblock)
        made.router.add_post("/allow", self._allow)
        made.router.add_post("/labels", self._label_by_hand)
        if self._erasing is not None:
            self._erasing.add_to(made)
        return made

    @web.middleware
    async def _when_ready(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        must_be_ready(self._complaint)
        return await handler(request)

    async def _verdicts(self, request: web.Request) -> web.Response:
        """Give the verdicts about whatever a text names, the latest first."""
        campaign, of = self._desk(request.query.get("campaign", "")).campaign, request.query.getall("of", [])
        if not 0 < len(of) <= 4 or any(not each for each in of):
            raise BadWish("of: name an event, visitor, user, address or key; of a key with several values, each.")
        most = _number(request.query.get("limit", "100"), MOST_FOUND)
        masked = JOINT.join(self._judging.casebook.known_as(campaign, of))

        def asked(archive: Archive) -> list[Kept]:
            return archive.find(campaign, JOINT.join(of), masked, most)

        return _answer([_shown(each) for each in await self._filing.ask(asked)])

    async def _decisions(self, request: web.Request) -> web.Response:
        """Give what holds now, by campaign and rule, what lasts longest first."""
        most = _number(request.query.get("limit", "1000"), MOST_DECISIONS)
        wanted = {name: request.query.get(name, "") for name in ("rule", "value")}
        held = [(desk.campaign, each) for desk in self._desks(request) for each in desk.blocks]
        # There may be many, and whoever is judged meanwhile must not wait for them.
        total, first = await asyncio.to_thread(_chosen, held, most, self._clock(), **wanted)
        told = [{"campaign": campaign, **msgspec.to_builtins(each)} for campaign, each in first]
        return _answer({"total": total, "decisions": told})

    async def _allowed(self, request: web.Request) -> web.Response:
        now = self._clock()
        found = [
            {"campaign": desk.campaign, **{field: getattr(each, field) for field in each.__struct_fields__}}
            for desk in self._desks(request)
            for each in desk.pardons
            if each.until > now
        ]
        return _answer(sorted(found, key=lambda each: (each["campaign"], each["until"])))

    async def _unblock(self, request: web.Request) -> web.Response:
        wish = msgspec.json.decode(await read_body(request, MOST_BYTES), type=UnblockWish)
        desk = self._desk(wish.campaign)
        if sum(map(bool, (wish.decision, wish.kind or wish.value, wish.rule))) != 1 or bool(wish.kind) != bool(
            wish.value
        ):
            raise BadWish("Say what is to end: a decision, or kind and value of a subject, or a rule.")
        ended = together([each for each in desk.blocks if _is_meant(wish, each)], desk.blocks)
        await self._submit(Removal(desk.campaign, each.id) for each in ended)
        return _answer([msgspec.to_builtins(each) for each in ended])

    async def _allow(self, request: web.Request) -> web.Response:
        wish, now = msgspec.json.decode(await read_body(request, MOST_BYTES), type=AllowWish), self._clock()
        desk, pardon = self._desk(wish.campaign), pardon_of(wish, self._clock())
        if not desk.pardons.has_room_for(pardon, now):
            raise BadWish(f"{len(desk.pardons)} are left alone already; use lists.allow of the rule for so many.")
        before = len(desk.blocks)
        await self._submit([Pardoned(desk.campaign, pardon, now)])
        return _answer({"ended": max(0, before - len(desk.blocks)), "value": pardon.value})

    async def _label_by_hand(self, request: web.Request) -> web.Response:
        return await self._label(request, "", pass_on=False)

    async def _label_as_service(self, request: web.Request) -> web.Response:
        """Take labels of a service of the namespace, or of the operator; and of a worker to which they were said."""
        try:
            by = await self._callers.service(request)
        except (NotIdentified, NotAllowed) as refused:
            try:
                await self._callers.operator(request)
            except (NotIdentified, NotAllowed):
                raise refused from None
            by = ""
        must_be_ready(self._complaint)
        try:
            from_worker = by == naming.WORKER
            return await self._label(request, "" if from_worker else by, pass_on=not from_worker)
        except Untold as error:
            return refusal(503, "others", f"{error} Send them again: what is known counts once.", {"Retry-After": "1"})

    async def _label(self, request: web.Request, by: str, *, pass_on: bool) -> web.Response:
        wish = msgspec.json.decode(await read_body(request, MOST_BYTES), type=LabelsWish)
        desk, book = self._desk(wish.campaign), self._judging.casebook

        def kept(each: LabelWish) -> LabelWish:
            return msgspec.structs.replace(each, key=book.known_as(desk.campaign, each.key)) if each.key else each

        labels = labels_of([kept(each) for each in wish.labels], self._clock(), by)
        await self._submit([Labelled(desk.campaign, labels)])
        if pass_on and self._others:
            # Each finds in them whom it has found itself; and all have to know them as said at the same moment.
            told = zip(wish.labels, labels, strict=True)
            same = [msgspec.structs.replace(each, at=label.at, by=label.by) for each, label in told]
            await self._others.tell(naming.LABELS, _encode(LabelsWish(campaign=desk.campaign, labels=same)))
        return _answer({"labels": len(labels), "known": len(desk.labels)})

    async def _submit(self, records: Iterable[Record]) -> None:
        """Have records judged, many at a time: those that wait together are written together."""
        wanted = list(records)
        for start in range(0, len(wanted), AT_ONCE):
            await asyncio.gather(*map(self._judging.submit, wanted[start : start + AT_ONCE]))

    def _desks(self, request: web.Request) -> list[Desk]:
        """Give the desk that is asked for, or all of them."""
        name = request.query.get("campaign", "")
        return [self._desk(name)] if name else list(self._judging.casebook.desks.values())

    def _desk(self, campaign: str) -> Desk:
        """Give the desk of a campaign; without a name, of the only one."""
        desks = self._judging.casebook.desks
        desk = desks.get(campaign) if campaign or len(desks) != 1 else next(iter(desks.values()))
        if desk is None:
            known = ", ".join(sorted(desks)) or "none"
            what = f"this worker judges nothing of {campaign[:80]!r}" if campaign else "say which one is meant"
            raise BadWish(f"campaign: {what}; it knows {known}.")
        return desk


def _chosen(
    held: list[tuple[str, Decision]], most: int, now: int, rule: str, value: str
) -> tuple[int, list[tuple[str, Decision]]]:
    """Give how many decisions are meant, and the first of them."""
    meant = [
        pair for pair in held if pair[1].until > now and rule in ("", pair[1].rule) and value in ("", pair[1].value)
    ]
    return len(meant), heapq.nsmallest(most, meant, key=_rank)


def _rank(pair: tuple[str, Decision]) -> tuple[str, str, int, str]:
    campaign, decision = pair
    return campaign, decision.rule, -decision.until, decision.value


def _is_meant(wish: UnblockWish, decision: Decision) -> bool:
    if wish.decision:
        return decision.id == wish.decision
    if wish.rule:
        return decision.rule == wish.rule
    return (decision.kind, decision.value) == (wish.kind, wish.value)


def _shown(kept: Kept) -> Shown:
    key = dict(zip(kept.names, kept.key, strict=True)) if kept.names else list(kept.key)
    others = {name: getattr(kept, name) for name in Shown.__struct_fields__ if name != "key"}
    return Shown(key=key, **others)


def _number(text: str, most: int) -> int:
    if not text.isdecimal() or not 0 < int(text[:9]) <= most:
        raise BadWish(f"limit: a whole number from 1 to {most} is taken.")
    return int(text)


def _answer(content: object) -> web.Response:
    return web.Response(body=_encode(content), content_type="application/json")
