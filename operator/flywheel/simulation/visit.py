"""One visit: a shopper's way through the steps, over real HTTP."""

import asyncio
import random
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from flywheel.simulation.behaviour import LEAVE, VISITOR_COOKIE, Behaviour, Preference, Sale, Span, Step, Track
from flywheel.simulation.fates import Fate, answered
from flywheel.simulation.plan import Shopper, choose
from flywheel.simulation.tally import Tally
from flywheel.simulation.texts import Missing, extract, fill, fill_all, sees

MOST_BODY = 4 << 20
MOST_HOPS = 5
REDIRECTS = (301, 302, 303, 307, 308)
PAGES = (200, 304)
TIMEOUT = aiohttp.ClientTimeout(total=30, connect=10)
TRACK_PATH = "/v1/track"
SERVER_AGENT = "shop/1.0 (server)"


@dataclass(frozen=True, slots=True)
class Answer:
    """The last answer to a step."""

    status: int
    url: str
    body: str


class Unanswered(Exception):  # noqa: N818 - a state
    """A request has failed; it is counted already."""


@dataclass(slots=True)
class Visit:
    """What one visit needs. `session` has the shopper's cookies, `server` none."""

    behaviour: Behaviour
    shopper: Shopper
    origin: str
    session: aiohttp.ClientSession
    server: aiohttp.ClientSession
    tally: Tally
    speed: float = 1.0
    values: dict[str, str | int | float] = field(default_factory=dict)
    page: str = ""
    """Address of the page on which the shopper is."""
    fate: Fate = field(default_factory=Fate)

    async def run(self) -> None:
        """Go from step to step until the shopper leaves. Failures are counted, never raised."""
        try:
            await self._walk()
        except Unanswered:
            self.fate.is_unanswered = True
        finally:
            # Whoever is cut off has a fate as well.
            if not self.shopper.bot:
                self.tally.fates.end(self.shopper.member, self._visitor(), self.fate)

    async def _walk(self) -> None:
        shopper = self.shopper
        rng = random.Random(f"{self.behaviour.seed}/{shopper.name}")  # noqa: S311 - a simulation
        self.values = {
            "entry": shopper.entry,
            "shopper": shopper.number,
            "channel": shopper.channel,
            "region": shopper.region,
        }
        if shopper.member:
            self.values |= {"user": shopper.member.user, "device": shopper.member.device}
        self.page = shopper.referrer
        if not shopper.bot:
            self.tally.channels[shopper.channel].visits += 1
        name = shopper.start
        for _ in range(self.behaviour.most_steps):
            step = self.behaviour.steps[name]
            self.values["uuid"] = uuid.UUID(int=rng.getrandbits(128), version=4).hex
            answer = await self._take(name, step, rng)
            seen = self._preference(step, answer)
            if not shopper.bot:
                self.tally.seen(shopper.channel, self._visitor())
                if seen:
                    self.tally.saw(seen.name, self._visitor())
            await asyncio.sleep(_between(step.think, rng) / self.speed)
            weights = seen.next if seen else step.next
            name = choose(rng, weights.items()) if answer else step.otherwise
            if seen and not shopper.bot:
                self.tally.went(seen.name, name)
            if name == LEAVE:
                return

    def _preference(self, step: Step, answer: Answer | None) -> Preference | None:
        """Give the first preference about what an answer shows; None where it shows nothing of the kind."""
        body = answer.body if answer else ""
        return next((each for each in step.prefers if answer and sees(each.sees, body, self.values)), None)

    async def _take(self, name: str, step: Step, rng: random.Random) -> Answer | None:
        """Take one step; give its answer, or None where it did not go well."""
        refused = self.fate.refused
        try:
            answer = await self._request(step)
        except Missing as error:
            self.tally.refusals[f"{name}: {error}"] += 1
            return None
        if self.fate.refused > refused and answer.status in step.expect:
            # Led elsewhere than they wanted, to a page that came well.
            self.tally.refusals[f"{name}: challenged"] += 1
            return None
        if answer.status not in step.expect:
            if answer.status < 500:
                self.tally.refusals[f"{name}: {answer.status}"] += 1
            return None
        for variable, what in step.extract.items():
            found = extract(what, answer.body, answer.url, self.values, rng)
            if found is not None:
                self.values[variable] = found
            elif what.required:
                self.tally.refusals[f"{name}: no {variable} in the answer"] += 1
                return None
        self._note_sale(step.sale)
        for track in step.track:
            await self._track(name, track, rng)
        return answer

    async def _request(self, step: Step) -> Answer:
        method, url = step.method, urljoin(self.origin, fill(step.path, self.values, in_path=True))
        body: dict[str, Any] = {}
        if step.form is not None:
            body["data"] = {key: fill(value, self.values) for key, value in step.form.items()}
        elif step.body is not None:
            body["json"] = fill_all(step.body, self.values)
        headers = self._headers() | {key: fill(value, self.values) for key, value in step.headers.items()}
        for _ in range(MOST_HOPS + 1):
            answer, target = await self._hop(method, url, headers, body)
            if not target:
                self.page = answer.url
                return answer
            url = urljoin(url, target)
            if urlsplit(url).netloc != urlsplit(self.origin).netloc:
                # Elsewhere is not ours to load.
                return answer
            if answer.status not in (307, 308):
                method, body = "GET", {}
        self.tally.failure("too many redirects")
        raise Unanswered

    async def _hop(
        self, method: str, url: str, headers: Mapping[str, str], body: Mapping[str, Any]
    ) -> tuple[Answer, str]:
        began = time.perf_counter()
        try:
            async with self.session.request(method, url, headers=headers, allow_redirects=False, **body) as response:
                raw = await response.content.read(MOST_BODY)
                while not response.content.at_eof() and len(raw) < MOST_BODY:
                    raw += await response.content.read(MOST_BODY - len(raw))
                status, kind = response.status, response.content_type
                target = response.headers.get("location", "") if status in REDIRECTS else ""
                text = raw.decode(response.charset or "utf-8", errors="replace")
        except (aiohttp.ClientError, TimeoutError, LookupError, OSError) as error:
            self.tally.failure(type(error).__name__)
            raise Unanswered from error
        self.fate.note(answered(self.behaviour.stops, status, target))
        self.tally.request(
            self.shopper.channel,
            (time.perf_counter() - began) * 1000,
            status,
            bot=self.shopper.bot,
            page=method == "GET" and status in PAGES and kind == "text/html",
        )
        return Answer(status, url, text), target

    def _headers(self) -> dict[str, str]:
        headers = {"user-agent": self.shopper.agent, "accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.5"}
        if self.page:
            headers["referer"] = self.page
        if self.shopper.region and self.behaviour.regions:
            headers[self.behaviour.regions.header] = self.shopper.region
        if self.shopper.address:
            # As a gateway says it, which the edge believes of those alone that it trusts.
            headers["x-forwarded-for"] = self.shopper.address
        return headers

    def _visitor(self) -> str:
        for cookie in self.session.cookie_jar:
            if cookie.key == VISITOR_COOKIE:
                return cookie.value
        return ""

    async def _track(self, name: str, track: Track, rng: random.Random) -> None:
        """Send an event, as a browser does or as a server does; a refused one does not end the visit."""
        try:
            properties = fill_all(track.properties, self.values)
        except Missing as error:
            self.tally.event_failures[f"{track.event} after {name}: {error}"] += 1
            return
        event: dict[str, Any] = {
            "type": "track",
            "event": track.event,
            "properties": properties,
            "messageId": f"simulate-{uuid.UUID(int=rng.getrandbits(128), version=4)}",
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "anonymousId": self._visitor() or f"{self.behaviour.seed}-{self.shopper.name}",
        }
        if self.shopper.member:
            event["userId"] = self.shopper.member.user
            event["context"] = {"device": {"id": self.shopper.member.device}}
        if track.sender == "Server":
            session, headers = self.server, {"user-agent": SERVER_AGENT}
            more: dict[str, Any] = {"auth": aiohttp.BasicAuth(self.behaviour.write_key, "")}
        else:
            session, headers, more = self.session, self._headers(), {}
            event["writeKey"] = self.behaviour.write_key
            event.setdefault("context", {})["page"] = {"url": self.page, "path": urlsplit(self.page).path}
        try:
            async with session.post(
                urljoin(self.origin, TRACK_PATH), json=event, headers=headers, allow_redirects=False, **more
            ) as response:
                await response.content.read(MOST_BODY)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.tally.event_failures[f"{track.event}: {type(error).__name__}"] += 1
            return
        if status != 200:
            self.tally.event_failures[f"{track.event}: status {status}"] += 1
            return
        self.tally.events[track.event] += 1

    def _note_sale(self, sale: Sale | None) -> None:
        if sale is None or self.shopper.bot:
            return
        try:
            amount = float(fill(sale.revenue, self.values).replace(",", ""))
        except (Missing, ValueError):
            amount = 0.0
        self.tally.order(self.shopper.channel, self._visitor(), amount)


def _between(span: Span, rng: random.Random) -> float:
    return rng.uniform(span.least.total_seconds(), span.most.total_seconds())
