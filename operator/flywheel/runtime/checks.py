"""Is the operator in place, and may it go? Asked by the chart's hooks, and by people."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import httpx

from flywheel.kube.errors import ApiError, LoginError
from flywheel.kube.gateway import Gateway
from flywheel.kube.resources import CAMPAIGN
from flywheel.plan import FINALIZER, Manifest

NAMED = 20
"""How many Campaigns a message names."""


async def uninstall_obstacle(namespaces: Sequence[str | None]) -> str | None:
    """Tell what would be locked in if the operator went now; None if nothing would.

    A Campaign with our finalizer can be deleted only while an operator is there to tear it down.
    """
    try:
        gateway = await Gateway.connect(connections=2)
    except LoginError as error:
        return str(error)
    try:
        held = [name for namespace in namespaces async for name in _held(gateway, namespace)]
    except ApiError as error:
        return None if error.is_not_found else f"The Campaigns could not be listed: {error}"
    finally:
        await gateway.close()
    if not held:
        return None
    named = "\n".join(f"  kubectl delete campaign -n {namespace} {name}" for namespace, name in held[:NAMED])
    more = f"\n  ... and {len(held) - NAMED} more" if len(held) > NAMED else ""
    return (
        "Campaigns still need the operator: without it they cannot be deleted. Delete them first:\n"
        f"{named}{more}\n"
        "A refused helm uninstall is taken back with helm rollback, or repeated once they are gone.\n"
        "Or leave them behind on purpose: helm uninstall --no-hooks, and take the finalizer "
        f"{FINALIZER} off each of them."
    )


async def _held(gateway: Gateway, namespace: str | None) -> AsyncIterator[tuple[str, str]]:
    async for page in gateway.list_all(CAMPAIGN, namespace, metadata_only=True):
        for item in page.get("items") or ():
            metadata = item["metadata"]
            if FINALIZER in (metadata.get("finalizers") or ()):
                yield metadata["namespace"], metadata["name"]


async def install_obstacle(namespace: str, ready_url: str, timeout: float) -> str | None:  # noqa: ASYNC109
    """Tell why Campaigns would not work; None if they would.

    Args:
        namespace: Where Campaigns are tried, without being stored.
        ready_url: The readiness probe of the operator.
        timeout: Seconds within which the operator must be ready.
    """
    complaint = await _unready(ready_url, timeout)
    if complaint:
        return complaint
    try:
        gateway = await Gateway.connect(connections=2)
    except LoginError as error:
        return str(error)
    try:
        return await _admission_obstacle(gateway, namespace)
    finally:
        await gateway.close()


async def _unready(url: str, timeout: float) -> str | None:  # noqa: ASYNC109
    complaint = "no answer"
    try:
        async with asyncio.timeout(timeout), httpx.AsyncClient(timeout=5, trust_env=False) as client:
            while True:
                try:
                    answer = await client.get(url)
                    if answer.status_code == httpx.codes.OK:
                        return None
                    complaint = f"{answer.status_code}: {answer.text.strip()[:500]}"
                except httpx.HTTPError as error:
                    complaint = f"{type(error).__name__}: {error}"
                await asyncio.sleep(1)
    except TimeoutError:
        return f"The operator is not ready at {url} after {timeout:.0f} s ({complaint}): look at its log."


async def _admission_obstacle(gateway: Gateway, namespace: str) -> str | None:
    try:
        await gateway.create(_campaign(namespace, [{"name": "web", "image": "example/web:1"}]), dry_run=True)
    except ApiError as error:
        return f"The API server refuses a Campaign in the namespace {namespace}: {error}"
    try:
        await gateway.create(_campaign(namespace, []), dry_run=True)
    except ApiError as error:
        return None if error.is_invalid else f"The API server could not judge a Campaign: {error}"
    return "The API server accepts a Campaign without services: its definition is not the operator's; upgrade the CRDs."


def _campaign(namespace: str, services: list[Manifest]) -> Manifest:
    metadata = {"name": "flywheel-check", "namespace": namespace}
    return {
        "apiVersion": CAMPAIGN.api_version,
        "kind": CAMPAIGN.kind,
        "metadata": metadata,
        "spec": {"services": services},
    }
