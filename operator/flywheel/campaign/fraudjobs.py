"""Carries what rules need in Flink to the API server, and asks that whether it knows of Flink at all."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from flywheel.api.fraudrule import FraudRule
from flywheel.campaign.fraudflink import API_GROUP, API_VERSION, KIND, Beyond, Job
from flywheel.fraud import naming
from flywheel.fraud.outgrown import Outgrown
from flywheel.kube.applier import Applier, SharedClaim
from flywheel.kube.errors import ApiError
from flywheel.plan import LiveObject, ObjectKey

PATH = "spec.engine"


class Discovery(Protocol):
    """Knows which kinds the cluster has."""

    async def is_served(self, group: str, version: str, kind: str) -> bool:
        """Tell whether the cluster knows a kind. Raises ApiError."""


class Children(Protocol):
    """Knows what was last seen of the objects of a namespace's rules."""

    def fraud_children(self, namespace: str) -> dict[ObjectKey, LiveObject]:
        """Return them."""


async def beyond_of(gateway: Discovery, outgrown: Outgrown, rules: Iterable[FraudRule]) -> Beyond:
    """Find out whether rules can be judged by Flink; the cluster is asked where one shall be.

    Raises ApiError where trying again soon can help.
    """
    wanted = any(rule.spec.engine == "Flink" for rule in rules) and not outgrown.missing()
    return Beyond(outgrown, is_served=wanted and await gateway.is_served(API_GROUP, API_VERSION, KIND))


async def apply_jobs(
    applier: Applier, world: Children, namespace: str, jobs: Sequence[Job]
) -> Mapping[str, Sequence[str]]:
    """Bring what rules need in Flink to the API server, each owned by its rule.

    Args:
        applier: Writes.
        world: What there is.
        namespace: Where.
        jobs: What is needed.

    Returns:
        By rule, why something was not taken. A cluster without the right or the kind takes nothing from other rules.
    """
    refused: dict[str, list[str]] = {}
    live = world.fraud_children(namespace) if jobs else {}
    for job in jobs:
        claim = SharedClaim(naming.COMPONENT, (job.owner,))
        for manifest in job.apply:
            try:
                outcome = await applier.apply(manifest, live.get(ObjectKey.of(manifest)), claim, PATH)
            except ApiError as error:
                refused.setdefault(job.rule, []).append(f"{ObjectKey.of(manifest)}: {error}")
                break
            if outcome.problem:
                refused.setdefault(job.rule, []).append(str(outcome.problem))
                break
    return refused
