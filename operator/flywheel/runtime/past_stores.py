"""Carries questions about fraud rules' past to the event stores of the campaigns' namespaces."""

from collections.abc import Awaitable, Callable

import httpx
import msgspec

from flywheel.events.naming import operator_audience, worker_url
from flywheel.fraud.backtest_asking import PATH, Answer, Asked, NotAsked, NotUnderstood, body_of, read_answer
from flywheel.fraud.past_asking import PATH as PAST
from flywheel.fraud.past_asking import PastAsked, PastNotUnderstood, PastPage, read_page
from flywheel.kube.errors import ApiError, LoginError
from flywheel.release.gate.calls import NotAnsweredError, fetch

TIMEOUT = 90.0
"""Seconds: a question waits up to 20 for its turn, and the engine works on its two parts for 30 each at most."""

GetToken = Callable[[str], Awaitable[str]]
"""Gives a token for an audience; raises ApiError or LoginError where there is none."""


class PastStores:
    """The stores of all namespaces."""

    def __init__(
        self, client: httpx.AsyncClient, get_token: GetToken, address: Callable[[str], str] = worker_url
    ) -> None:
        self._client, self._get_token, self._address = client, get_token, address

    async def ask(self, namespace: str, asked: Asked) -> Answer:
        """Ask what a rule would have found.

        Raises:
            NotAsked: The store cannot be reached, refuses, or answers what cannot be read.
        """
        address, body = self._address(namespace), await self._answer(namespace, PATH, body_of(asked), "try rules")
        try:
            return read_answer(body)
        except NotUnderstood as error:
            raise NotAsked(f"the event store at {address} answered what cannot be read: {error}") from None

    async def past(self, namespace: str, asked: PastAsked) -> PastPage:
        """Ask for events of the time before a rule.

        Raises:
            NotAsked: The store cannot be reached, refuses, or answers what cannot be read.
        """
        body = await self._answer(namespace, PAST, msgspec.json.encode(asked), "give the past of rules")
        try:
            page = read_page(body)
            page.events()
        except PastNotUnderstood as error:
            address = self._address(namespace)
            raise NotAsked(f"the event store at {address} answered what cannot be read: {error}") from None
        return page

    async def _answer(self, namespace: str, path: str, content: bytes, what: str) -> bytes:
        address = self._address(namespace)
        try:
            token = await self._get_token(operator_audience(namespace))
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            url = f"{address}{path}"
            answer = await fetch(self._client, "POST", url, headers=headers, content=content, seconds=TIMEOUT)
        except (ApiError, LoginError, NotAnsweredError) as error:
            raise NotAsked(f"the event store at {address} could not be asked: {error}") from error
        if answer.status == 404:
            raise NotAsked(f"the event store at {address} is of an older version, which cannot {what}")
        if answer.status != 200:
            raise NotAsked(f"the event store at {address} answered {answer.status}: {answer.excerpt(200)}")
        return answer.body
