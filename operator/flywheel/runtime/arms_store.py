"""Carries questions about A/B tests to the event stores of the campaigns' namespaces."""

from collections.abc import Awaitable, Callable

import httpx

from flywheel.events.naming import operator_audience, worker_url
from flywheel.experiment.asking import PATH, Answers, NotAsked, NotUnderstood, Question, body_of, read_answers
from flywheel.kube.errors import ApiError, LoginError
from flywheel.release.gate.calls import NotAnsweredError, fetch

TIMEOUT = 40.0
"""Seconds; the store's own limits are narrower, and one reconcile may take a minute."""

GetToken = Callable[[str], Awaitable[str]]
"""Gives a token for an audience; raises ApiError or LoginError where there is none."""


class EventStores:
    """The stores of all namespaces."""

    def __init__(
        self, client: httpx.AsyncClient, get_token: GetToken, address: Callable[[str], str] = worker_url
    ) -> None:
        self._client = client
        self._get_token = get_token
        self._address = address

    async def ask(self, question: Question) -> Answers:
        """Ask for the sums of every arm.

        Raises:
            NotAsked: The store cannot be reached, refuses, or answers what cannot be read.
        """
        address = self._address(question.namespace)
        try:
            token = await self._get_token(operator_audience(question.namespace))
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            url, content = f"{address}{PATH}", body_of(question)
            answer = await fetch(self._client, "POST", url, headers=headers, content=content, seconds=TIMEOUT)
        except (ApiError, LoginError, NotAnsweredError) as error:
            raise NotAsked(f"the event store at {address} could not be asked: {error}") from error
        if answer.status != 200:
            raise NotAsked(f"the event store at {address} answered {answer.status}: {answer.excerpt(200)}")
        try:
            return read_answers(answer.body)
        except NotUnderstood:
            raise NotAsked(
                f"the event store at {address} answered what cannot be read: is its image of an older version?"
            ) from None
