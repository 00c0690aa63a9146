"""Where the operator hands over models, ahead of the rules that ask them."""

import asyncio
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec
from aiohttp import web

from flywheel.events.http_answers import read_body, refusal
from flywheel.fraud.callers import Callers
from flywheel.fraud.judging import Judging
from flywheel.fraud.modelfacts import DIGEST, LARGEST, MODELS, ModelFacts
from flywheel.fraud.models import Models, digest_of
from flywheel.fraud.modeltrial import Trial, try_model
from flywheel.fraud.records import Model
from flywheel.fraud.trouble import must_be_ready

REMEMBERED = 300.0
"""Seconds for which a refused model is not tried again."""
MOST_REMEMBERED = 32
_encode = msgspec.json.Encoder().encode


class ModelServer:
    """Takes models."""

    def __init__(self, callers: Callers, judging: Judging, models: Models, complaint: Callable[[], str | None]) -> None:
        self._callers, self._judging, self._models, self._complaint = callers, judging, models, complaint
        self._one = asyncio.Lock()
        self._refused: OrderedDict[str, tuple[float, Trial]] = OrderedDict()

    def add_to(self, application: web.Application) -> None:
        """Add the handler."""
        application.router.add_put(MODELS + "/{digest}", self._take)

    def facts(self) -> dict[str, ModelFacts]:
        """Tell of the models that can be asked."""
        return self._models.facts(self._judging.casebook.models)

    async def _take(self, request: web.Request) -> web.Response:
        """Try a model, put it on the volume, and write into the journal that it may be asked from here on."""
        await self._callers.operator(request)
        must_be_ready(self._complaint)
        digest = request.match_info["digest"]
        if not DIGEST.fullmatch(digest):
            return refusal(400, "unreadable", "A digest is sha256: and 64 digits.")
        data = await read_body(request, LARGEST)
        if not hmac.compare_digest(digest_of(data), digest):
            return refusal(400, "another", "The file has another digest than the path says.")
        # One at a time: each trial takes a processor and a hundred megabytes.
        async with self._one:
            return await self._keep(digest, data)

    async def _keep(self, digest: str, data: bytes) -> web.Response:
        known = self.facts().get(digest)
        if known is None:
            tried = await self._try(digest, data)
            if tried.facts is None:
                return refusal(422, "unfit", tried.problem)
            known = tried.facts
            # The file first: a journal that names it must find it.
            await asyncio.to_thread(self._models.keep, digest, data, tuple(self._judging.casebook.models))
            await self._judging.submit(Model(digest))
        return web.Response(body=_encode(known), content_type="application/json")

    async def _try(self, digest: str, data: bytes) -> Trial:
        at, refused = self._refused.get(digest, (0.0, None))
        if refused is not None and time.monotonic() < at + REMEMBERED:
            return refused
        tried = await try_model(data)
        if tried.problem:
            self._refused[digest] = time.monotonic(), tried
            if len(self._refused) > MOST_REMEMBERED:
                self._refused.popitem(last=False)
        return tried
