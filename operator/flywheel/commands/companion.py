"""What reckons key figures beside the store: made here, as the store does not know of it."""

from flywheel.events.worker import Companion, Surroundings


def companion(surroundings: Surroundings) -> Companion:
    """Make the service of key figures for a worker."""
    from flywheel.insight.service import KpiService

    return KpiService(
        surroundings.store, surroundings.campaigns, namespace=surroundings.namespace, registry=surroundings.registry
    )
