"""Asks the fraud workers of the campaigns' namespaces what they have seen."""

from collections.abc import Awaitable, Callable

import httpx

from flywheel.campaign.fraudasking import NotAnswered
from flywheel.events.naming import operator_audience
from flywheel.fraud.naming import LISTS, RULES, STATE, worker_urls
from flywheel.kube.errors import ApiError, LoginError
from flywheel.release.gate.calls import NotAnsweredError, fetch

TIMEOUT = 5.0
"""Seconds: the worker answers from memory."""

GetToken = Callable[[str], Awaitable[str]]
"""Gives a token for an audience; raises ApiError or LoginError where there is none."""


class FraudWorkers:
    """The workers of all namespaces."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        get_token: GetToken,
        addresses: Callable[[str], tuple[str, ...]] = worker_urls,
    ) -> None:
        self._client, self._get_token, self._addresses = client, get_token, addresses

    async def states(self, namespace: str) -> dict[str, bytes]:
        """Give what each worker says of itself, by its address.

        Raises:
            NotAnswered: One of them cannot be reached, or refuses.
        """
        return {address: await self._ask(namespace, "GET", address + STATE) for address in self._addresses(namespace)}

    async def hand_over(self, namespace: str, address: str, rules: bytes) -> bytes:
        """Have a worker judge by other rules at once; give what it says of itself then.

        Raises:
            NotAnswered: It cannot be reached, or refuses.
        """
        return await self._ask(namespace, "PUT", address + RULES, rules)

    async def hand_lists(self, namespace: str, address: str, lists: bytes) -> bytes:
        """Have a worker take lists; give what it says of itself then.

        Raises:
            NotAnswered: It cannot be reached, or refuses.
        """
        return await self._ask(namespace, "PUT", address + LISTS, lists)

    async def _ask(self, namespace: str, method: str, url: str, content: bytes = b"") -> bytes:
        try:
            token = await self._get_token(operator_audience(namespace))
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            answer = await fetch(self._client, method, url, headers=headers, content=content, seconds=TIMEOUT)
        except (ApiError, LoginError, NotAnsweredError) as error:
            raise NotAnswered(f"the fraud worker could not be asked, {method} {url}: {error}") from error
        if answer.status != 200:
            raise NotAnswered(f"the fraud worker answered {answer.status} to {method} {url}: {answer.excerpt(200)}")
        return answer.body
