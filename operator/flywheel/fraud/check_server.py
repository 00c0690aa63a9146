"""What services and gateways ask the worker: whether somebody may do something. Answered from memory.

`POST /v1/fraud/check` is for a service that is about to grant something. `/v1/fraud/ext-authz/<campaign>/<path>` is
for gateways that ask before each request (Envoy's ext_authz over HTTP, nginx's auth_request, Gateway API's
ExternalAuth): it answers exactly 200, or what the client is to be answered. A worker that cannot judge says what
`onUnavailable` of the rules says, and lets gateways' visitors through. One that does not answer, or answers 503, has
said nothing: it is the asker then that has to do what the rules say.
"""

import asyncio
import ipaddress
import time
from collections.abc import Callable
from typing import Literal
from urllib.parse import quote

import msgspec
from aiohttp import web

from flywheel.edge.naming import VISITOR_COOKIE
from flywheel.events.http_answers import TooLarge, read_body, refusal
from flywheel.fraud import naming, passes, unavailable
from flywheel.fraud.blocks import STRENGTH, Decision
from flywheel.fraud.callers import Callers
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.scopes import holds

MOST_BYTES = 64 << 10
LONGEST_PASS = 30 * 86_400
PASS = 3_600
"""Seconds for which a pass holds where no challenge says how long."""
VerdictWord = Literal["Allow", "Tag", "Review", "Throttle", "Challenge", "Block"]


class Question(msgspec.Struct, forbid_unknown_fields=True):
    """Who wants to do something. What is not known stays empty."""

    campaign: str
    address: str = ""
    visitor: str = ""
    user: str = ""
    device: str = ""
    path: str | None = None


class Reason(msgspec.Struct, rename="camel", omit_defaults=True):
    """One decision that holds."""

    rule: str
    action: str
    subject: str
    until: int
    event: str
    reason: str


class Answer(msgspec.Struct):
    """What holds for somebody: the strongest of the actions, and why."""

    verdict: VerdictWord
    reasons: list[Reason]
    available: bool = True
    """False where nobody can judge now, and the verdict is what `onUnavailable` of the rules says."""


class PassWanted(msgspec.Struct, forbid_unknown_fields=True):
    """Whoever has met a challenge."""

    campaign: str
    address: str
    visitor: str = ""
    seconds: int | None = None
    """Default: what the challenges say that hold for them."""


_question = msgspec.json.Decoder(Question)
_wanted = msgspec.json.Decoder(PassWanted)
_encode = msgspec.json.Encoder().encode


class CheckServer:
    """Handlers for services and gateways."""

    def __init__(
        self,
        callers: Callers,
        casebook: Casebook,
        key: tuple[str, bytes],
        complaint: Callable[[], str | None],
        observe: Callable[[str, float], None],
        written_rules: Callable[[], bytes],
        clock: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self._callers, self._casebook, self._key = callers, casebook, key
        self._complaint, self._observe, self._clock = complaint, observe, clock
        self._written_rules = written_rules

    def add_to(self, application: web.Application) -> None:
        """Add the handlers."""
        application.router.add_post(naming.CHECK, self._check)
        application.router.add_post(naming.PASSES, self._grant)
        application.router.add_route("*", naming.EXT_AUTHZ + "/{campaign}", self._authorise)
        application.router.add_route("*", naming.EXT_AUTHZ + "/{campaign}/{rest:.*}", self._authorise)

    def found(self, question: Question) -> list[Decision]:
        """Give what holds for somebody, the strongest first."""
        desk = self._casebook.desks.get(question.campaign)
        if desk is None:
            return []
        now = self._clock()
        subjects = [(kind, getattr(question, kind)) for kind in ("address", "visitor", "user", "device")]
        held = [each for kind, value in subjects if value for each in desk.blocks.at(kind, value, now)]
        if held and len(desk.pardons):
            held = [
                each
                for each in held
                if not any(desk.pardons.about(kind, value, each.rule, now) for kind, value in subjects if value)
            ]
        return sorted((each for each in held if holds(each, question.path)), key=lambda each: -STRENGTH[each.action])

    async def _check(self, request: web.Request) -> web.Response:
        began = time.perf_counter()
        await self._callers.service(request)
        try:
            question = _question.decode(await read_body(request, MOST_BYTES))
        except (TooLarge, msgspec.DecodeError) as error:
            return refusal(400, "unreadable", f"The question cannot be read: {error}")
        if complaint := self._complaint():
            return await self._answer_unjudged(question.campaign, complaint)
        held = self.found(question)
        reasons = [
            Reason(each.rule, each.action, f"{each.kind} {each.value}", each.until, each.event, each.reason)
            for each in held
        ]
        answer = Answer(held[0].action if held else "Allow", reasons)
        self._observe("check", time.perf_counter() - began)
        return web.Response(body=_encode(answer), content_type="application/json")

    async def _answer_unjudged(self, campaign: str, complaint: str) -> web.Response:
        try:
            said = unavailable.said(await asyncio.to_thread(self._written_rules), campaign)
        except (OSError, ValueError) as error:
            return refusal(503, "not_ready", f"{complaint} Nor is known what then holds: {error}", {"Retry-After": "1"})
        reasons = [
            Reason(rule, word, "", 0, "", f"nobody can judge now, and onUnavailable says so: {complaint}")
            for rule, word in said
        ]
        answer = Answer(said[0][1] if said else "Allow", reasons, available=False)
        return web.Response(body=_encode(answer), content_type="application/json")

    async def _grant(self, request: web.Request) -> web.Response:
        await self._callers.service(request)
        try:
            wanted = _wanted.decode(await read_body(request, MOST_BYTES))
            address = str(ipaddress.ip_address(wanted.address))
        except (TooLarge, msgspec.DecodeError, ValueError) as error:
            return refusal(400, "unreadable", f"The wish cannot be read: {error}")
        seconds = self._pass_for(wanted) if wanted.seconds is None else wanted.seconds
        if not 0 < seconds <= LONGEST_PASS:
            return refusal(400, "bad_seconds", f"A pass lasts 1 to {LONGEST_PASS} seconds.")
        until = self._clock() // 1000 + seconds
        value = passes.sign(*self._key, until, address, wanted.visitor)
        return web.json_response(
            {"cookie": naming.PASS_COOKIE, "value": value, "until": until}, headers={"Cache-Control": "no-store"}
        )

    def _pass_for(self, wanted: PassWanted) -> int:
        """Give how long the challenges that hold for somebody let them through; of several the shortest."""
        held = self.found(Question(wanted.campaign, wanted.address, wanted.visitor))
        return min((each.pass_for for each in held if each.action == "Challenge" and each.pass_for), default=PASS)

    async def _authorise(self, request: web.Request) -> web.Response:
        began = time.perf_counter()
        if self._complaint():
            return web.Response(headers={"Cache-Control": "no-store", "X-Fraud-Verdict": "Unavailable"})
        campaign = request.match_info["campaign"]
        path = request.raw_path.removeprefix(f"{naming.EXT_AUTHZ}/{campaign}")
        if not path:
            # nginx asks always the same address. Elsewhere such a header may be the client's own.
            path = request.headers.get("X-Original-URI", "/")
        visitor = request.cookies.get(VISITOR_COOKIE, "")
        question = Question(campaign, _client(request), visitor, path=path.partition("?")[0])
        answer = self._answer(question, path, request.cookies.get(naming.PASS_COOKIE, ""))
        self._observe("ext-authz", time.perf_counter() - began)
        return answer

    def _answer(self, question: Question, path: str, shown: str) -> web.Response:
        held = [each for each in self.found(question) if each.action in ("Block", "Challenge", "Throttle")]
        first = held[0] if held else None
        headers = {"Cache-Control": "no-store"}
        if first is not None and first.action == "Block":
            return web.Response(status=first.status, text=first.body or "Access is refused.", headers=headers)
        if first is not None and first.action == "Challenge" and not self._has_pass(question, shown):
            location = f"{first.page or '/'}?return={quote(path, safe='')}"
            return web.Response(status=303, headers={**headers, "Location": location})
        # How often somebody comes is counted at the edge; here it is only told that they are slowed down there.
        if first is not None:
            headers["X-Fraud-Verdict"] = first.action
        return web.Response(headers=headers)

    def _has_pass(self, question: Question, shown: str) -> bool:
        keys, now = dict([self._key]), self._clock() // 1000
        return passes.is_good(shown, keys, now, question.address, question.visitor)


def _client(request: web.Request) -> str:
    """Give the client's address: the last in X-Forwarded-For is the gateway's own word, all else is not."""
    told = request.headers.get("X-Forwarded-For", "").rpartition(",")[2]
    try:
        return str(ipaddress.ip_address(told.strip()))
    except ValueError:
        return ""
