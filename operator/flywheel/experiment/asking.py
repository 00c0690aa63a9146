"""What the arms of a test did, asked of the campaign's own event store."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from math import isfinite
from typing import Any

import httpx
import msgspec

from flywheel.events.naming import operator_audience, worker_url
from flywheel.experiment.plan import Questions
from flywheel.insight.arms import Amount, ArmFigures
from flywheel.kube.errors import ApiError, LoginError
from flywheel.release.gate.calls import NotAnsweredError, fetch

TIMEOUT = 40.0
"""Seconds; the store's own limits are narrower, and one reconcile may take a minute."""

GetToken = Callable[[str], Awaitable[str]]
"""Gives a token for an audience; raises ApiError or LoginError where there is none."""


class NotAsked(Exception):  # noqa: N818 - no mistake of ours
    """The figures could not be had. The text is for people."""


class _Answers(msgspec.Struct):
    arms: dict[str, ArmFigures]


class ArmsStore:
    """The stores of all namespaces."""

    def __init__(
        self, client: httpx.AsyncClient, get_token: GetToken, address: Callable[[str], str] = worker_url
    ) -> None:
        self._client = client
        self._get_token = get_token
        self._address = address

    async def ask(
        self,
        namespace: str,
        campaign: str,
        test: str,
        since: datetime,
        until: datetime,
        within: int,
        questions: Questions,
    ) -> dict[str, ArmFigures]:
        """Ask for the sums of every arm.

        Args:
            namespace: Of test and campaign.
            campaign: Its name.
            test: Its name.
            since: First exposures count from here.
            until: Nothing later counts.
            within: Milliseconds after an exposure in which events count.
            questions: What is summed up.

        Raises:
            NotAsked: The store cannot be reached, refuses, or answers what cannot be read.
        """
        address = self._address(namespace)
        body = {
            "campaign": campaign,
            "test": test,
            "since": _milliseconds(since),
            "until": max(_milliseconds(until), _milliseconds(since) + 1),
            "within": within,
            "outcomes": [
                {"amount": _asked(each.amount), "history": each.history}
                | ({"over": _asked(each.over)} if each.over else {})
                for each in questions.outcomes
            ],
            "requests": questions.requests,
        }
        try:
            token = await self._get_token(operator_audience(namespace))
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            url, content = f"{address}/v1/arms", msgspec.json.encode(body)
            answer = await fetch(self._client, "POST", url, headers=headers, content=content, seconds=TIMEOUT)
        except (ApiError, LoginError, NotAnsweredError) as error:
            raise NotAsked(f"the event store at {address} could not be asked: {error}") from error
        if answer.status != 200:
            raise NotAsked(f"the event store at {address} answered {answer.status}: {answer.excerpt(200)}")
        try:
            return msgspec.json.decode(answer.body, type=_Answers, strict=False).arms
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise NotAsked(
                f"the event store at {address} answered what cannot be read: is its image of an older version?"
            ) from None


def _asked(amount: Amount) -> dict[str, Any]:
    asked: dict[str, Any] = {"event": amount.event, "of": amount.of, "name": amount.name}
    return asked | ({"cap": amount.cap} if isfinite(amount.cap) else {})


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
