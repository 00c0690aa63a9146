"""What the release commands ask of the API server, and how its refusals read to people."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import click

from flywheel.commands.release_seen import Place, Refusal
from flywheel.kube.errors import ApiError, LoginError
from flywheel.kube.gateway import Gateway
from flywheel.plan import GROUP, Manifest, ObjectKey

CALL_TIMEOUT = 10.0
CONNECTIONS = 4
WRITE_ATTEMPTS = 10
"""The status moves while a release is at work, and each move of it makes a write conflict."""
LONGEST_PAUSE = 1.0
RESOURCES = {"Campaign": f"campaigns.{GROUP}", "ABTest": f"abtests.{GROUP}", "ConfigMap": "configmaps"}
RIGHTS = {
    "Campaign": "the chart's role that ends in -view lets people read Campaigns, the one in -edit command releases",
    "ABTest": "the chart's role that ends in -view lets people read ABTests, the one in -edit command them",
    "ConfigMap": "Kubernetes' role `view` has it",
}


class Unanswered(click.ClickException):
    """The API server does not answer at present."""


class Forbidden(click.ClickException):
    """A right is missing."""


class Reach:
    """One Campaign and its ConfigMaps at the API server."""

    def __init__(self, gateway: Gateway, place: Place) -> None:
        self.place = place
        self._gateway = gateway
        self._random = random.Random()  # noqa: S311 - spreads retries, protects nothing

    async def campaign(self) -> Manifest:
        """Read the Campaign.

        Raises:
            click.ClickException: It is not there, may not be read, or the server does not answer.
        """
        place = self.place
        found = await self._get(ObjectKey(GROUP, "Campaign", place.namespace, place.campaign))
        if found is None:
            raise click.ClickException(
                f"There is no Campaign {place.campaign} in the namespace {place.namespace}. "
                "Name another namespace with -n, or look for it: kubectl get campaigns -A"
            )
        return found

    async def config_map(self, name: str) -> Manifest | None:
        """Read a ConfigMap; None if it is not there. Errors as of `campaign`."""
        return await self._get(ObjectKey("", "ConfigMap", self.place.namespace, name))

    async def annotate(self, annotation: str, write: Callable[[Manifest], str | None]) -> Manifest:
        """Write an annotation of the Campaign, such that nothing that others write meanwhile is lost.

        Args:
            annotation: Its name.
            write: Makes its text from the Campaign; None leaves it. Called again when somebody else was faster.

        Returns:
            The Campaign as it is then.

        Raises:
            click.ClickException: As of `campaign`.
        """
        place = self.place
        for attempt in range(WRITE_ATTEMPTS):
            manifest = await self.campaign()
            if manifest["metadata"].get("deletionTimestamp"):
                raise click.ClickException(f"The Campaign {place.campaign} is being deleted.")
            text = write(manifest)
            if text is None:
                return manifest
            version = manifest["metadata"]["resourceVersion"]
            patch = {"metadata": {"resourceVersion": version, "annotations": {annotation: text}}}
            try:
                return await self._gateway.merge_patch(
                    ObjectKey(GROUP, "Campaign", place.namespace, place.campaign), patch
                )
            except ApiError as error:
                if not error.is_conflict:
                    raise refused(error, "patch", "Campaign", place.namespace) from error
            longest = min(LONGEST_PAUSE, 0.02 * 2.0**attempt)
            await asyncio.sleep(self._random.uniform(longest / 2, longest))
        raise Unanswered(f"The Campaign {place.campaign} is changed all the time; nothing is written. Try again.")

    async def _get(self, key: ObjectKey) -> Manifest | None:
        try:
            return await self._gateway.get(key)
        except ApiError as error:
            raise refused(error, "get", key.kind, self.place.namespace) from error


@asynccontextmanager
async def logged_in() -> AsyncIterator[Gateway]:
    """Log in as kubectl does, for as long as the context lasts.

    Raises:
        click.ClickException: There are no credentials; or what is asked for makes no sense now.
    """
    try:
        gateway = await Gateway.connect(connections=CONNECTIONS, call_timeout=CALL_TIMEOUT)
    except LoginError as error:
        raise click.ClickException(str(error)) from error
    try:
        yield gateway
    except Refusal as refusal:
        raise click.ClickException(str(refusal)) from refusal
    finally:
        await gateway.close()


@asynccontextmanager
async def reach(place: Place) -> AsyncIterator[Reach]:
    """Reach a Campaign; errors as of `logged_in`."""
    async with logged_in() as gateway:
        yield Reach(gateway, place)


def refused(error: ApiError, verb: str, kind: str, namespace: str) -> click.ClickException:
    """Say to a person why a call failed, and what to do."""
    if error.status == 401:
        return Forbidden(f"The API server does not accept your credentials: {error}. Log in anew, or mend KUBECONFIG.")
    if error.status == 403:
        return Forbidden(
            f"You lack the right `{verb}` on {RESOURCES[kind]} in the namespace {namespace}: {RIGHTS[kind]}. "
            f"The API server says: {error}"
        )
    if error.is_retryable:
        return Unanswered(f"{error} Is KUBECONFIG the right one?" if error.status == 0 else str(error))
    return click.ClickException(f"The API server refuses to {verb} {RESOURCES[kind]}: {error}")
