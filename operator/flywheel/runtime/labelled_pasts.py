"""Asks event stores about fraud rules' past, with what the fraud workers know of who was dishonest."""

from typing import Protocol

from msgspec.structs import replace

from flywheel.campaign.fraudasking import NotAnswered
from flywheel.fraud.backtest_asking import Answer, Asked
from flywheel.fraud.backtest_precision import MOST
from flywheel.fraud.known_labels import KnownLabel
from flywheel.runtime.fraud_trials import Past

LONGEST_WHY = 300
"""Characters of why there are no labels."""


class Labels(Protocol):
    """Who knows labels."""

    async def labels(self, namespace: str, campaign: str, rule: str, most: int) -> list[KnownLabel]:
        """Give what is known of who was dishonest, the latest first.

        Raises:
            NotAnswered: There is no answer.
        """


class LabelledPasts:
    """The stores of all namespaces; without labels they say all but how right a rule is."""

    def __init__(self, past: Past, labels: Labels) -> None:
        self._past, self._labels = past, labels

    async def ask(self, namespace: str, asked: Asked) -> Answer:
        """Ask what a rule would have found, and how many of these were dishonest.

        Raises:
            NotAsked: There is no answer.
        """
        rule = str(asked.rule["metadata"]["name"])
        try:
            known = await self._labels.labels(namespace, asked.campaign, rule, MOST)
        except NotAnswered as error:
            return replace(await self._past.ask(namespace, asked), unlabelled=str(error)[:LONGEST_WHY])
        return await self._past.ask(namespace, replace(asked, labels=tuple(known)))
