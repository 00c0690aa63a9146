"""What services and gateways ask the worker: whether somebody may do something. Answered from memory.

`POST /v1/fraud/check` is for a service that is about to grant something. `/v1/fraud/ext-authz/<campaign>/<path>` is
for gateways that ask before each request (Envoy's ext_authz over HTTP, nginx's auth_request, Gateway API's
ExternalAuth): it answers exactly 200, or what the client is to be answered. Of several workers each answers for all: it
asks the others. A worker that cannot judge says what `onUnavailable` of the rules says, and lets gateways' visitors
through. One that does not answer, or answers 503, has said nothing: it is the asker then that has to do what the rules
say.
"""

import asyncio
import ipaddress
import time
from collections.abc import Callable
from typing import Literal, NamedTuple
from urllib.parse import quote

import msgspec
from aiohttp import web

from flywheel.edge.naming import VISITOR_COOKIE
from flywheel.events.http_answers import read_body, refusal
from flywheel.fraud import naming, passes, unavailable
from flywheel.fraud.asked import Question, held_by, together, unheard
from flywheel.fraud.blocks import AT_THE_EDGE, STRENGTH, Decision
from flywheel.fraud.callers import Callers
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.others import Others
from flywheel.fraud.trouble import NotReady, Unreadable, must_be_ready

MOST_BYTES = 64 << 10
LONGEST_PASS = 30 * 86_400
PASS = 3_600
"""Seconds for which a pass holds where no challenge says how long."""
VerdictWord = Literal["Allow", "Tag", "Review", "Throttle", "Challenge", "Block"]


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


class Found(NamedTuple):
    """What is known of somebody."""

    decisions: list[Decision]
    """The strongest first."""
    missing: frozenset[int]
    """Numbers of workers that said nothing."""


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
        others: Others | None = None,
        number: int = 0,
        clock: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self._callers, self._casebook, self._key = callers, casebook, key
        self._complaint, self._observe, self._clock = complaint, observe, clock
        self._written_rules, self._others, self._number = written_rules, others, number

    def add_to(self, application: web.Application) -> None:
        """Add the handlers."""
        application.router.add_post(naming.CHECK, self._check)
        application.router.add_post(naming.PASSES, self._grant)
        application.router.add_post(naming.HELD, self._tell)
        application.router.add_route("*", naming.EXT_AUTHZ + "/{campaign}", self._authorise)
        application.router.add_route("*", naming.EXT_AUTHZ + "/{campaign}/{rest:.*}", self._authorise)

    async def found(self, question: Question) -> Found:
        """Give what holds for somebody by all workers, the strongest first, and which of them said nothing."""
        now, said, missing = self._clock(), [], set[int]()
        if self._others:
            heard = await self._others.ask(question)
            said, missing = [*heard.held], {*heard.missing}
        if self._complaint():
            missing.add(self._number)
        else:
            said.append(held_by(self._casebook.desks.get(question.campaign), question, now))
        return Found(together(said, question, now), frozenset(missing))

    async def _check(self, request: web.Request) -> web.Response:
        began = time.perf_counter()
        await self._callers.service(request)
        question = _question.decode(await read_body(request, MOST_BYTES))
        found = await self.found(question)
        reasons = [
            Reason(each.rule, each.action, f"{each.kind} {each.value}", each.until, each.event, each.reason)
            for each in found.decisions
        ]
        answer = Answer(found.decisions[0].action if found.decisions else "Allow", reasons)
        if found.missing:
            try:
                answer = await self._with_unheard(question, found.missing, answer)
            except (OSError, ValueError) as error:
                said = self._complaint() or "Not all workers answer."
                raise NotReady(f"{said} Nor is known what then holds: {error}") from error
        self._observe("check", time.perf_counter() - began)
        return web.Response(body=_encode(answer), content_type="application/json")

    async def _tell(self, request: web.Request) -> web.Response:
        """Tell another worker what is known here of somebody."""
        await self._callers.worker(request)
        must_be_ready(self._complaint)
        question = _question.decode(await read_body(request, MOST_BYTES))
        known = held_by(self._casebook.desks.get(question.campaign), question, self._clock())
        return web.Response(body=_encode(known), content_type="application/json")

    async def _with_unheard(self, question: Question, missing: frozenset[int], answer: Answer) -> Answer:
        """Add what `onUnavailable` says of rules by which workers that said nothing may have decided.

        Raises:
            OSError: The rules cannot be read.
            ValueError: They make no sense.
        """
        complaint = self._complaint()
        text = await asyncio.to_thread(self._written_rules) if complaint else self._casebook.rules
        rules, of = unavailable.rules_in(text, question.campaign), 1 + len(self._others or ())
        theirs = unheard(rules, question, missing, self._casebook.shard._replace(of=of)) if of > 1 else rules
        if of > 1 and not theirs:
            return answer
        away = (
            complaint or "the worker was starting"
            if of == 1
            else f"{', '.join(map(naming.worker_name, sorted(missing)))} cannot be asked"
        )
        said = unavailable.words_of(theirs)
        reasons = [
            Reason(rule, word, "", 0, "", f"nobody can judge now, and onUnavailable says so: {away}")
            for rule, word in said
        ]
        words: list[VerdictWord] = [answer.verdict, *(word for _, word in said[:1])]
        verdict = max(words, key=lambda word: -1 if word == "Allow" else STRENGTH[word])
        return Answer(verdict, [*answer.reasons, *reasons], available=False)

    async def _grant(self, request: web.Request) -> web.Response:
        await self._callers.service(request)
        wanted = _wanted.decode(await read_body(request, MOST_BYTES))
        try:
            address = str(ipaddress.ip_address(wanted.address))
        except ValueError as error:
            raise Unreadable(f"The wish cannot be read: {error}") from error
        seconds = await self._pass_for(wanted) if wanted.seconds is None else wanted.seconds
        if not 0 < seconds <= LONGEST_PASS:
            return refusal(400, "bad_seconds", f"A pass lasts 1 to {LONGEST_PASS} seconds.")
        until = self._clock() // 1000 + seconds
        value = passes.sign(*self._key, until, address, wanted.visitor)
        return web.json_response(
            {"cookie": naming.PASS_COOKIE, "value": value, "until": until}, headers={"Cache-Control": "no-store"}
        )

    async def _pass_for(self, wanted: PassWanted) -> int:
        """Give how long the challenges that hold for somebody let them through; of several the shortest."""
        held = (await self.found(Question(wanted.campaign, wanted.address, wanted.visitor))).decisions
        return min((each.pass_for for each in held if each.action == "Challenge" and each.pass_for), default=PASS)

    async def _authorise(self, request: web.Request) -> web.Response:
        began = time.perf_counter()
        campaign = request.match_info["campaign"]
        path = request.raw_path.removeprefix(f"{naming.EXT_AUTHZ}/{campaign}")
        if not path:
            # nginx asks always the same address. Elsewhere such a header may be the client's own.
            path = request.headers.get("X-Original-URI", "/")
        visitor = request.cookies.get(VISITOR_COOKIE, "")
        question = Question(campaign, _client(request), visitor, path=path.partition("?")[0])
        found = await self.found(question)
        answer = self._answer(found, question, path, request.cookies.get(naming.PASS_COOKIE, ""))
        self._observe("ext-authz", time.perf_counter() - began)
        return answer

    def _answer(self, found: Found, question: Question, path: str, shown: str) -> web.Response:
        held = [each for each in found.decisions if each.action in AT_THE_EDGE]
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
        elif found.missing:
            # Pages stay open.
            headers["X-Fraud-Verdict"] = "Unavailable"
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
