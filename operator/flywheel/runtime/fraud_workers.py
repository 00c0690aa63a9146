"""Asks the fraud workers of the campaigns' namespaces what they have seen."""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

import httpx
import msgspec

from flywheel.campaign.fraudasking import Asked, NotAnswered, pod_of
from flywheel.campaign.fraudmodels import Refused
from flywheel.events.naming import operator_audience
from flywheel.fraud import records
from flywheel.fraud.known_labels import KnownLabel, LabelPage, together
from flywheel.fraud.modelfacts import MODELS, ModelFacts
from flywheel.fraud.naming import LABELS, LISTS, PAST, RULES, STATE, worker_urls
from flywheel.fraud.records import Past
from flywheel.kube.errors import ApiError, LoginError
from flywheel.release.gate.calls import Answer, NotAnsweredError, fetch

TIMEOUT = 5.0
"""Seconds: the worker answers from memory."""
MODEL_TIMEOUT = 120.0
"""Seconds for a model: the worker tries it first, in a process of its own."""
PAST_TIMEOUT = 60.0
"""Seconds: many events may be filled in."""
UNFIT = (400, 413, 422)
"""Answers that say that a model is not used: asking again soon changes nothing."""

GetToken = Callable[[str], Awaitable[str]]
"""Gives a token for an audience; raises ApiError or LoginError where there is none."""


class FraudWorkers:
    """The workers of all namespaces."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        get_token: GetToken,
        addresses: Callable[[str, int], tuple[str, ...]] = worker_urls,
    ) -> None:
        self._client, self._get_token, self._addresses = client, get_token, addresses
        self._counts: dict[str, int] = {}
        """How many workers each namespace had when it was looked at last."""

    async def states(self, namespace: str, workers: int) -> Asked:
        """Give what each of so many workers says of itself, and who says nothing."""
        self._counts[namespace] = workers
        addresses = self._addresses(namespace, workers)
        # All at once: one that hangs is waited for no longer than it alone takes.
        said = await asyncio.gather(
            *(self._ask(namespace, "GET", address + STATE) for address in addresses), return_exceptions=True
        )
        asked = Asked({})
        for address, each in zip(addresses, said, strict=True):
            if isinstance(each, NotAnswered):
                asked.missing[address] = str(each)
            elif isinstance(each, BaseException):
                raise each
            else:
                asked.bodies[address] = each
        return asked

    async def hand_over(self, namespace: str, address: str, rules: bytes) -> bytes:
        """Have a worker judge by other rules at once; give what it says of itself then.

        Raises:
            NotAnswered: It cannot be reached, or refuses.
        """
        return await self._ask(namespace, "PUT", address + RULES, rules)

    async def hand_over_model(self, namespace: str, address: str, digest: str, file: bytes) -> ModelFacts:
        """Have a worker keep a model; give what it has found out about it.

        Raises:
            Refused: It does not use it.
            NotAnswered: It cannot be reached.
        """
        url = f"{address}{MODELS}/{digest}"
        answer = await self._call(namespace, "PUT", url, file, MODEL_TIMEOUT, "application/octet-stream")
        try:
            if answer.status in UNFIT:
                raise Refused(_refusal(answer.body).message)
            return _facts(_accepted(answer, "PUT", url))
        except msgspec.MsgspecError as error:
            raise NotAnswered(f"the fraud worker answered what cannot be read to PUT {url}: {error}") from error

    async def hand_lists(self, namespace: str, address: str, lists: bytes) -> bytes:
        """Have a worker take lists; give what it says of itself then.

        Raises:
            NotAnswered: It cannot be reached, or refuses.
        """
        return await self._ask(namespace, "PUT", address + LISTS, lists)

    async def hand_past(self, namespace: str, worker: str, past: Past) -> None:
        """Have a worker fill windows of a rule with what was before.

        Args:
            namespace: Where.
            worker: Name of its pod.
            past: What the event store knows.

        Raises:
            NotAnswered: It cannot be reached, or does not take that.
        """
        address = next((each for each in self._known(namespace) if pod_of(each) == worker), None)
        if address is None:
            raise NotAnswered(f"there is no fraud worker {worker} any more")
        url, body = address + PAST, records.encode(past)
        _accepted(await self._call(namespace, "PUT", url, body, PAST_TIMEOUT, "application/msgpack"), "PUT", url)

    async def labels(self, namespace: str, campaign: str, rule: str, most: int) -> list[KnownLabel]:
        """Give what is known of who was dishonest, the latest first, and what a rule did to them.

        Args:
            namespace: Where.
            campaign: Whose labels.
            rule: By name: of keys, only its own are labelled.
            most: How many are wanted at most.

        Raises:
            NotAnswered: A worker cannot be reached, or refuses.
        """
        told = [await self._labels(namespace, each, campaign, rule, most) for each in self._known(namespace)]
        return together(told, most)

    def _known(self, namespace: str) -> tuple[str, ...]:
        return self._addresses(namespace, self._counts.get(namespace, 1))

    async def _labels(self, namespace: str, address: str, campaign: str, rule: str, most: int) -> list[KnownLabel]:
        found: list[KnownLabel] = []
        before = skip = 0
        while len(found) < most:
            query = urlencode({"campaign": campaign, "rule": rule, "before": before, "skip": skip})
            url = f"{address}{LABELS}?{query}"
            try:
                page = _page(await self._ask(namespace, "GET", url))
            except msgspec.MsgspecError as error:
                raise NotAnswered(f"the fraud worker answered what cannot be read to GET {url}: {error}") from error
            found += page.labels
            before, skip = page.before, page.skip
            if not before or not page.labels:
                break
        return found

    async def _ask(self, namespace: str, method: str, url: str, content: bytes = b"") -> bytes:
        return _accepted(await self._call(namespace, method, url, content, TIMEOUT, "application/json"), method, url)

    async def _call(self, namespace: str, method: str, url: str, content: bytes, seconds: float, kind: str) -> Answer:
        try:
            token = await self._get_token(operator_audience(namespace))
            headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
            return await fetch(self._client, method, url, headers=headers, content=content, seconds=seconds)
        except (ApiError, LoginError, NotAnsweredError) as error:
            raise NotAnswered(f"the fraud worker could not be asked, {method} {url}: {error}") from error


class _Refusal(msgspec.Struct):
    message: str


_refusal = msgspec.json.Decoder(_Refusal).decode
_facts = msgspec.json.Decoder(ModelFacts).decode
_page = msgspec.json.Decoder(LabelPage).decode


def _accepted(answer: Answer, method: str, url: str) -> bytes:
    if answer.status != 200:
        raise NotAnswered(f"the fraud worker answered {answer.status} to {method} {url}: {answer.excerpt(200)}")
    return answer.body
