"""Resources as read, so that what has not changed is not read again: a status changes all the time, a spec seldom."""

from collections import OrderedDict
from typing import Any, TypeVar

from flywheel.api.abtest import ABTest
from flywheel.api.campaign import Campaign
from flywheel.api.fraudrule import FraudRule
from flywheel.api.load import load_abtest, load_campaign, load_fraudrule
from flywheel.api.metadata import Metadata

MOST = 4096
"""Objects that are remembered; of more, those go that were asked for least lately."""
Resource = TypeVar("Resource", ABTest, Campaign, FraudRule)


class Loaded:
    """The ABTests, Campaigns and FraudRules that were read last."""

    def __init__(self) -> None:
        self._read: OrderedDict[tuple[str, str, int], ABTest | Campaign | FraudRule] = OrderedDict()

    def abtest(self, manifest: dict[str, Any]) -> ABTest:
        """Read an ABTest, with its metadata and its status as they are now.

        Raises:
            InvalidResource: As `load_abtest` does.
        """
        found = self._get("ABTest", manifest)
        if not isinstance(found, ABTest):
            found = self._keep("ABTest", manifest, load_abtest(manifest))
        return found.model_copy(update=_as_they_are_now(manifest))

    def fraudrule(self, manifest: dict[str, Any]) -> FraudRule:
        """Read a FraudRule, with its metadata and its status as they are now.

        Raises:
            InvalidResource: As `load_fraudrule` does.
        """
        found = self._get("FraudRule", manifest)
        if not isinstance(found, FraudRule):
            found = self._keep("FraudRule", manifest, load_fraudrule(manifest))
        return found.model_copy(update=_as_they_are_now(manifest))

    def campaign(self, manifest: dict[str, Any]) -> Campaign:
        """Read a Campaign.

        Raises:
            InvalidResource: As `load_campaign` does.
        """
        found = self._get("Campaign", manifest)
        return found if isinstance(found, Campaign) else self._keep("Campaign", manifest, load_campaign(manifest))

    def _get(self, kind: str, manifest: dict[str, Any]) -> object:
        key = _key(kind, manifest)
        if key in self._read:
            self._read.move_to_end(key)
        return self._read.get(key)

    def _keep(self, kind: str, manifest: dict[str, Any], read: Resource) -> Resource:
        self._read[_key(kind, manifest)] = read
        while len(self._read) > MOST:
            self._read.popitem(last=False)
        return read


def _as_they_are_now(manifest: dict[str, Any]) -> dict[str, Any]:
    metadata = Metadata.model_validate(manifest["metadata"], by_alias=True, by_name=False)
    return {"metadata": metadata, "status": manifest.get("status") or {}}


def _key(kind: str, manifest: dict[str, Any]) -> tuple[str, str, int]:
    # The API server counts the generation up with each change of the spec.
    metadata = manifest["metadata"]
    return kind, str(metadata.get("uid", "")), int(metadata.get("generation") or 0)
