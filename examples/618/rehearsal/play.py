"""One rehearsal from the apply to the proof that nothing is left."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import yaml
from tests.lab.cluster.client import Cluster, CommandFailedError

from rehearsal.compress import Cut, Manifest, Pace, compress
from rehearsal.crowd import NAME as CROWD
from rehearsal.crowd import crowd, read_report
from rehearsal.leftovers import leftovers
from rehearsal.observer import Observer
from rehearsal.screen import Screen
from rehearsal.snapshot import STAGES, Snapshot, changes
from rehearsal.verdict import Seen
from rehearsal.view import frame
from rehearsal.visitor import Visitor

CAMPAIGN_FILE = Path(__file__).resolve().parents[1] / "campaign.yaml"
GROWING = "seckill"
PORT = 8080
ENTRY, ENTRY_PORT = "edge", 80
"""What visitors come through."""
RETIREMENT_SECONDS = 90
"""How long the removal may take before the rehearsal gives up waiting for Retired."""
CROWD_RATE = 5.0
MEANING = {
    "Scheduled": "the campaign is known, and nothing runs",
    "Preparing": "every service is created at its base size",
    "Warm": "the flash sale is scaled up before the first visitor comes",
    "Live": "the sale is open; now the crowd comes",
    "Draining": "the sale is over: back to base size, visitors finish",
    "Retained": "zero pods, objects kept for inspection",
    "Retired": "everything is removed, and the report stays",
}


class Play:
    """The campaign of `campaign.yaml`, compressed, in `namespace` of `cluster`."""

    def __init__(
        self,
        cluster: Cluster,
        screen: Screen,
        image: str,
        namespace: str,
        pace: Pace | None = None,
        cut: Cut | None = None,
    ) -> None:
        self._cluster, self._screen, self._image, self.namespace = cluster, screen, image, namespace
        self._pace, self._cut = pace or Pace(), cut or Cut()
        self.written: Manifest = yaml.safe_load(CAMPAIGN_FILE.read_text())
        self.name: str = self.written["metadata"]["name"]
        self.seen = Seen(GROWING, self._cut.autoscaled[GROWING].warm)
        self._shown = Snapshot()
        self._url = ""
        self._crowd_sent = self._blind = False

    async def perform(self) -> Seen:
        """Apply the campaign, watch it through all of its stages, and look whether anything is left."""
        made = compress(self.written, datetime.now(UTC), self._pace, self._cut, self._image)
        self._kubectl_apply(made)
        self._screen.say(f"applied   campaign {self.name}: starts {made['spec']['schedule']['startsAt']}")
        async with Observer(self._cluster, self.namespace, self.name) as observer:
            visiting = asyncio.create_task(self._visit())
            try:
                await self._watch(observer)
            finally:
                visiting.cancel()
                await asyncio.gather(visiting, return_exceptions=True)
        self._screen.end()
        await asyncio.to_thread(self._look_back)
        return self.seen

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
        if shown.stage == "Live" and not self._crowd_sent:
            await asyncio.to_thread(self._send_crowd)
        if STAGES.index("Draining") <= STAGES.index(shown.stage or "Scheduled") and self.seen.crowd is None:
            await asyncio.to_thread(self._ask_crowd)
        self._draw()

    def _draw(self) -> None:
        notes = [
            f"shop    {self._url or 'not yet open'}"
            + (f"   {self.seen.answers} pages seen" if self.seen.answers else "")
        ]
        if self._crowd_sent:
            over = self.seen.crowd is not None
            notes.append(
                "crowd   " + ("gone home" if over else f"{CROWD_RATE:g} visitors a second, from a Job in the cluster")
            )
        title = self.written["spec"]["title"]
        self._screen.draw(frame(self._shown, title, datetime.now(UTC), notes, self._screen.width, self._screen.ink))

    async def _visit(self) -> None:
        """Be one person at this machine: look in early, buy when it opens, reload until it is over."""
        await self._until(lambda: all(self._shown.service(name).ready for name in ("landing", "seckill", "store")))
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
                await visitor.shop()
                await reloading
        except (httpx.HTTPError, CommandFailedError, KeyError, ValueError) as error:
            self.seen.unanswered.append(f"{type(error).__name__}: {error}")
            say(f"shop      {type(error).__name__}: {error}")
        finally:
            self._url = ""

    async def _until(self, condition: Callable[[], bool]) -> None:
        # What is waited for is seen by the next look at the cluster, which tells nobody.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.2)

    def _send_crowd(self) -> None:
        url = f"http://{self.name}-{GROWING}:{PORT}"
        self._kubectl_apply(crowd(self.namespace, self._image, url, CROWD_RATE, self._pace.live - 15))
        self._crowd_sent = True
        self._screen.say(
            f"crowd     a Job sends {CROWD_RATE:g} visitors a second to {url}; each signs in and tries to buy"
        )

    def _ask_crowd(self) -> None:
        self.seen.crowd = read_report(self._cluster.kubectl("logs", f"job/{CROWD}", "-n", self.namespace, check=False))
        if self.seen.crowd:
            said = self.seen.crowd
            self._screen.say(
                f"crowd     {said['requests']} requests, {said['failed']} failed, {said['answers']};"
                f" p50 {said['p50_ms']} ms, p95 {said['p95_ms']} ms, p99 {said['p99_ms']} ms"
            )

    def _look_back(self) -> None:
        name, path = f"{self.name}-report", r"jsonpath={.data.report\.json}"
        text = self._cluster.kubectl("get", "configmap", name, "-n", self.namespace, "-o", path, check=False)
        try:
            self.seen.report = json.loads(text)
        except ValueError:
            self._screen.say(f"report    there is none: {text.strip()}")
        self.seen.leftovers, kinds = leftovers(self._cluster, self.namespace, self.name)
        self._screen.say(f"search    {len(self.seen.leftovers)} objects with the campaign's label among {kinds} kinds")

    def _kubectl_apply(self, manifest: Manifest) -> None:
        self._cluster.kubectl("apply", "-n", self.namespace, "-f", "-", input=json.dumps(manifest))
