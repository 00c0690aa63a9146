"""What the operator asks the worker: how it is doing, what holds, and to end a decision before its time."""

import math
import time
from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

from flywheel.events.http_answers import read_body
from flywheel.fraud import naming
from flywheel.fraud.callers import Callers
from flywheel.fraud.filing import Filing, evidence_of
from flywheel.fraud.judging import Judging
from flywheel.fraud.lists_server import told
from flywheel.fraud.modelfacts import ModelFacts
from flywheel.fraud.records import Removal, Rules
from flywheel.fraud.rules_file import LARGEST
from flywheel.fraud.rulings import RuleFigures
from flywheel.fraud.trouble import must_be_ready

MOST_BYTES = 64 << 10
VOLUME_LAGS = 180.0
"""Seconds that the kubelet may take to bring a ConfigMap to a pod, with room to spare."""
MOST_TOLD = 1_000
"""Decisions in one answer."""


class Unblock(msgspec.Struct, forbid_unknown_fields=True):
    """Which decision is to end."""

    campaign: str
    decision: str


_unblock = msgspec.json.Decoder(Unblock)
_rules = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


class AdminServer:
    """Handlers for the operator."""

    def __init__(
        self,
        callers: Callers,
        judging: Judging,
        filing: Filing,
        complaint: Callable[[], str | None],
        latency: Callable[[str], float | None],
        keys: Callable[[], Mapping[str, object]],
        models: Callable[[], Mapping[str, ModelFacts]] = dict,
        streams: Callable[[str], Mapping[str, object]] = lambda _: {},
    ) -> None:
        self._callers, self._judging, self._filing, self._complaint = callers, judging, filing, complaint
        self._latency, self._keys, self._models, self._streams = latency, keys, models, streams
        self._handed_over = -math.inf

    def add_to(self, application: web.Application) -> None:
        """Add the handlers."""
        application.router.add_get(naming.STATE, self._tell_state)
        application.router.add_get(naming.DECISIONS + "/{campaign}", self._list)
        application.router.add_post("/v1/fraud/unblock", self._end)
        application.router.add_put(naming.RULES, self._take_rules)

    async def _tell_state(self, request: web.Request) -> web.Response:
        await self._callers.operator(request)
        return web.json_response(self.state())

    @property
    def is_ahead_of_the_volume(self) -> bool:
        """Whether rules were handed over so lately that the volume may still have those before."""
        return time.monotonic() < self._handed_over + VOLUME_LAGS

    def state(self) -> Mapping[str, object]:
        """Give what the operator writes into the status of rules."""
        judging, book = self._judging, self._judging.casebook
        campaigns = {
            name: {
                "generation": desk.engine.generation,
                "problem": desk.problem,
                "events": desk.events,
                "verdicts": desk.verdicts,
                "digest": desk.digest.hex(),
                "decisions": len(desk.blocks),
                "evicted": desk.blocks.evicted,
                "active": desk.active(),
                "lost": desk.lost,
                "latency": self._latency(name),
                "kafka": self._streams(name),
                "rules": [msgspec.to_builtins(self._proven(name, each)) for each in desk.engine.figures()],
            }
            for name, desk in book.desks.items()
        }
        return {
            **self._keys(),
            "generation": book.generation,
            "position": judging.judged,
            "snapshot": judging.covered,
            "replayed": judging.replayed,
            "campaigns": campaigns,
            "lists": told(book),
            "models": msgspec.to_builtins(self._models()),
        }

    def _proven(self, campaign: str, figures: RuleFigures) -> RuleFigures:
        """Add what labels say."""
        evidence = evidence_of(self._filing, campaign, figures.rule, figures.version)
        return msgspec.structs.replace(figures, evidence=evidence)

    async def _take_rules(self, request: web.Request) -> web.Response:
        """Take the rules that the volume is about to bring."""
        await self._callers.operator(request)
        must_be_ready(self._complaint)
        text = await read_body(request, LARGEST)
        _rules.decode(text)
        self._handed_over = time.monotonic()
        if text != self._judging.casebook.rules:
            await self._judging.submit(Rules(text))
        return web.json_response(self.state())

    async def _list(self, request: web.Request) -> web.Response:
        await self._callers.operator(request)
        desk = self._judging.casebook.desks.get(request.match_info["campaign"])
        held = [] if desk is None else sorted(desk.blocks, key=lambda each: -each.until)
        return web.Response(body=_encode(held[:MOST_TOLD]), content_type="application/json")

    async def _end(self, request: web.Request) -> web.Response:
        await self._callers.operator(request)
        must_be_ready(self._complaint)
        wanted = _unblock.decode(await read_body(request, MOST_BYTES))
        await self._judging.submit(Removal(wanted.campaign, wanted.decision))
        return web.json_response({})
