"""The names and labels by which the children of a Campaign are known."""

from flywheel.plan import CAMPAIGN_LABEL, MANAGED_BY_LABEL, SERVICE_LABEL


def child_name(campaign: str, service: str) -> str:
    """Name the children of one service."""
    return f"{campaign}-{service}"


def labels(campaign: str, service: str) -> dict[str, str]:
    """Return the labels that every child of `service` carries; those of the Campaign itself never leak into them."""
    return {
        "app.kubernetes.io/name": service,
        "app.kubernetes.io/instance": campaign,
        "app.kubernetes.io/component": "service",
        MANAGED_BY_LABEL: "flywheel",
        CAMPAIGN_LABEL: campaign,
        SERVICE_LABEL: service,
    }


def selector(campaign: str, service: str) -> dict[str, str]:
    """Return the labels that select the pods of `service`: few, as a Deployment's selector can never change."""
    return {CAMPAIGN_LABEL: campaign, SERVICE_LABEL: service}
