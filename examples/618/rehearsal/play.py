"""One rehearsal from the apply to the proof that nothing is left."""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import yaml
from tests.lab.cluster.client import Cluster, CommandFailedError

from rehearsal.abtest_run import ABTestRun
from rehearsal.accounts import Account, of_crowd
from rehearsal.books import Books
from rehearsal.compress import Cut, Manifest, Pace, compress, compress_test
from rehearsal.fraud_run import FraudRun
from rehearsal.landing import VARIANT, Landing
from rehearsal.leftovers import leftovers
from rehearsal.observer import Observer
from rehearsal.regular import Regular
from rehearsal.screen import Screen
from rehearsal.shoppers import RATE, Shoppers
from rehearsal.show import Show
from rehearsal.snapshot import STAGES, Snapshot, changes
from rehearsal.verdict import Seen
from rehearsal.versions import TOO_LITTLE, with_version
from rehearsal.view import frame
from rehearsal.visitor import Visitor

CAMPAIGN_FILE = Path(__file__).resolve().parents[1] / "campaign.yaml"
ABTEST_FILE = CAMPAIGN_FILE.with_name("abtest.yaml")
GROWING = "seckill"
ENTRY, ENTRY_PORT = "edge", 80
"""What visitors come through."""
RETIREMENT_SECONDS = 90
"""How long the removal may take before the rehearsal gives up waiting for Retired."""
STARTING_SECONDS = 4
"""How long a pod of the crowd takes to begin."""
SHOW_SECONDS = 55
"""After the opening the releases begin: the flash sale has grown with the flood, so that new pods need no longer share
the node with it, and the crowd is still there. That of the page waits for the A/B test, which is about the page."""
GOING_HOME_SECONDS = 30
"""Before the sale ends the crowd comes no more: the last pay, and the autoscaler has its time."""
ACCOUNTS_SECONDS = 60
"""How long the last events may take until the report has them."""
LISTENED_EVERY = 3
MEANING = {
    "Scheduled": "the campaign is known, and nothing runs",
    "Preparing": "every service is created at its base size, with the edge and the event store",
    "Warm": "the flash sale is scaled up before the sale opens; the first shoppers look around",
    "Live": "the sale is open; now the flood comes",
    "Draining": "the sale is over: back to base size, visitors finish",
    "Retained": "zero pods, objects kept for inspection",
    "Retired": "everything is removed, and the report stays",
}


class Play:
    """The campaign of `campaign.yaml`, compressed, in `namespace` of `cluster`."""

    def __init__(
        self, cluster: Cluster, screen: Screen, namespace: str, pace: Pace | None = None, cut: Cut | None = None
    ) -> None:
        self._cluster, self._screen, self.namespace = cluster, screen, namespace
        self._pace, self._cut = pace or Pace(), cut or Cut()
        self.written: Manifest = yaml.safe_load(CAMPAIGN_FILE.read_text())
        self.written_test: Manifest = yaml.safe_load(ABTEST_FILE.read_text())
        self.name: str = self.written["metadata"]["name"]
        self.seen = Seen(GROWING, self._cut.autoscaled[GROWING].warm)
        edge = f"http://{self.name}-{ENTRY}"
        self._shoppers = Shoppers(cluster, namespace, edge)
        self._fraud = FraudRun(cluster, namespace, edge, screen)
        self._books = Books(cluster, namespace, self.name)
        self.landing = Landing(cluster, namespace)
        self.seen.seed = self._shoppers.seed
        self._shown = Snapshot()
        self._url = ""
        self._blind = False
        self._looks = 0

    async def perform(self) -> Seen:
        """Apply the campaign, watch it through all of its stages, and look whether anything is left."""
        commit, green = await asyncio.to_thread(self.landing.open)
        self._screen.say(f"pushed    examples/landing to {self.landing.url}: {commit}")
        self._screen.say(f"pushed    branch {VARIANT}, the same page with green buttons: {green}")
        image, url = self._cluster.images["shop"], self.landing.url
        made = compress(self.written, datetime.now(UTC), self._pace, self._cut, image, url)
        self._show = Show(self._cluster, self.namespace, made, self.landing, self._screen)
        first = json.dumps(with_version(made, TOO_LITTLE))
        self._cluster.kubectl("apply", "-n", self.namespace, "-f", "-", input=first)
        starts_at = made["spec"]["schedule"]["startsAt"]
        self._screen.say(f"applied   campaign {self.name}: starts {starts_at}")
        self._apply_test()
        self._crowd_at = datetime.fromisoformat(starts_at) - timedelta(seconds=self._shoppers.lead + STARTING_SECONDS)
        async with Observer(self._cluster, self.namespace, self.name) as observer:
            beside = [asyncio.create_task(each) for each in (self._visit(), self._release(observer))]
            try:
                await self._watch(observer)
            finally:
                for each in beside:
                    each.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
                self.landing.close()
        self._screen.end()
        await asyncio.to_thread(self._look_back)
        return self.seen

    def _apply_test(self) -> None:
        made = compress_test(self.written_test, self._cut, self.landing.url)
        self._cluster.kubectl("apply", "-n", self.namespace, "-f", "-", input=json.dumps(made))
        self._screen.say(f"applied   abtest {made['metadata']['name']}: {made['spec']['hypothesis']}")

    async def _watch(self, observer: Observer) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._pace.total + RETIREMENT_SECONDS
        while loop.time() < deadline:
            await self._look(observer)
            if self._shown.stage == "Retired":
                return
            await asyncio.sleep(1)
        self._screen.say(f"gave up   not Retired {RETIREMENT_SECONDS} s after its time")

    async def _look(self, observer: Observer) -> None:
        try:
            shown = await observer.look() or Snapshot()
            await self._ask(observer)
        except (httpx.HTTPError, OSError) as error:
            if not self._blind:
                self._screen.say(f"waiting   the API server does not answer: {type(error).__name__} {error}")
            self._blind = True
            return
        self._blind = False
        self.seen.note(shown)
        for line in changes(self._shown, shown):
            self._screen.say(line)
        came = shown.stage != self._shown.stage
        self._shown = shown
        if came and shown.stage in MEANING:
            self._screen.say(self._screen.ink.bold(f"          {shown.stage}: {MEANING[shown.stage]}"))
        if not self._shoppers.sent and self._reached("Warm") and datetime.now(UTC) >= self._crowd_at:
            await asyncio.to_thread(self._send_crowd)
        self._draw()

    async def _ask(self, observer: Observer) -> None:
        """Hear the crowd, the worker and the shop, now and then: each answer costs a process something."""
        self._looks += 1
        if self._looks % LISTENED_EVERY or not self._shoppers.sent:
            return
        await self._shoppers.listen(observer)
        self.seen.abtest.sightings = self._shoppers.sightings
        if self._shoppers.report and not self.seen.crowd:
            self._take_report(self._shoppers.report)
        if self._shown.stage not in ("Retained", "Retired"):
            self.seen.channels = await self._books.channels(observer) or self.seen.channels
            self.seen.accounts.shop = await self._books.of_shop(observer) or self.seen.accounts.shop

    def _reached(self, stage: str) -> bool:
        return STAGES.index(self._shown.stage or "Scheduled") >= STAGES.index(stage)

    def _draw(self) -> None:
        notes = [
            f"shop      {self._url or 'not yet open'}"
            + (f"   {self.seen.answers} pages seen" if self.seen.answers else "")
        ]
        if self._shoppers.sent:
            notes.append(f"crowd     {'gone home; ' if self.seen.crowd else ''}{self._shoppers.progress or 'sets out'}")
        title, ink = self.written["spec"]["title"], self._screen.ink
        width = self._screen.width
        self._screen.draw(frame(self._shown, title, datetime.now(UTC), notes, width, ink, self.seen.channels))

    async def _visit(self) -> None:
        """Be one person at this machine: look in early, buy when it opens, reload until it is over."""
        await self._until(lambda: self._entry_is_ready() and all(map(self._serves, ("landing", "seckill", "store"))))
        say = self._screen.say
        try:
            async with Visitor(self._cluster, self.namespace, f"{self.name}-{ENTRY}", ENTRY_PORT, say) as visitor:
                self._url = visitor.url
                say(self._screen.ink.bold(f"shop      open it in a browser: {visitor.url}"))
                await visitor.arrive()
                await visitor.try_to_buy()
                await self._until(lambda: self._shown.stage == "Live")
                reloading = asyncio.create_task(visitor.watch(self.seen, lambda: self._shown.stage == "Live"))
                await visitor.try_to_buy()
                self.seen.accounts.person = Account(1, await visitor.shop())
                await reloading
        except (httpx.HTTPError, CommandFailedError, KeyError, ValueError) as error:
            self.seen.unanswered.append(f"{type(error).__name__}: {error}")
            say(f"shop      {type(error).__name__}: {error}")
        finally:
            self._url = ""

    async def _release(self, observer: Observer) -> None:
        """Release what is to be released while the crowd shops, and what the test finds better; then stop hunters."""
        await self._until(lambda: self._shown.stage == "Live")
        try:
            async with Regular(self._cluster, self.namespace, f"{self.name}-{ENTRY}", ENTRY_PORT) as regular:
                testing = asyncio.create_task(self._test().perform(observer, regular, self.seen.abtest))
                try:
                    await asyncio.sleep(SHOW_SECONDS)
                    await self._show.perform(observer, regular, self.seen.releases, ("fix", "bad"))
                    await testing
                finally:
                    testing.cancel()
                if self.seen.abtest.told.line:
                    await self._show.adopt(VARIANT)
                # The worker starts meanwhile. Hunters look at the page, too: they come when the test about it is over.
                await self._fraud.prepare()
                await self._show.perform(observer, regular, self.seen.releases, ("page",))
                await self._fraud.perform(observer, self.seen.fraud)
        except (httpx.HTTPError, CommandFailedError, TimeoutError) as error:
            self._screen.say(f"release   {type(error).__name__}: {error}")

    def _test(self) -> ABTestRun:
        name = self.written_test["spec"]["service"]
        service = next(each for each in self.written["spec"]["services"] if each["name"] == name)
        gates = [each["name"] for each in service["release"]["before"]]
        return ABTestRun(self._show.path, name, gates, self._screen)

    def _serves(self, service: str) -> bool:
        return self._shown.service(service).ready > 0

    def _entry_is_ready(self) -> bool:
        return any(each[:2] == ("EdgeReady", "True") for each in self._shown.conditions)

    async def _until(self, condition: Callable[[], bool]) -> None:
        # What is waited for is seen by the next look at the cluster, which tells nobody.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.2)

    def _send_crowd(self) -> None:
        self._shoppers.send(self._shoppers.lead + self._pace.live - GOING_HOME_SECONDS)
        self._screen.say(
            f"crowd     flywheel simulate shoppers.yaml, from a Job: {RATE:g} shoppers a second, seed {self.seen.seed},"
            f" and a flood when the sale opens"
        )

    def _take_report(self, said: Manifest) -> None:
        self.seen.crowd, self.seen.accounts.crowd = said, of_crowd(said)
        self._screen.say(
            f"crowd     seed {said['seed']}: {said['visits']['started']} visits, {said['requests']} requests,"
            f" {said['failed']} failed, {self.seen.accounts.crowd};"
            f" p50 {said['p50_ms']} ms, p95 {said['p95_ms']} ms, p99 {said['p99_ms']} ms"
        )

    def _look_back(self) -> None:
        accounts = self.seen.accounts
        deadline = time.monotonic() + ACCOUNTS_SECONDS
        self.seen.report = self._books.complete(accounts)
        while not accounts.agree and time.monotonic() < deadline:
            time.sleep(2)
            self.seen.report = self._books.complete(accounts)
        if self.seen.report is None:
            self._screen.say("report    there is none")
        self.seen.leftovers, kinds = leftovers(self._cluster, self.namespace, self.name)
        self._screen.say(f"search    {len(self.seen.leftovers)} objects with the campaign's label among {kinds} kinds")
