"""What the commands about tests ask of the API server."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import click

from flywheel.commands.abtest_seen import Place, SeenTest, read_seen
from flywheel.commands.release_access import (
    LONGEST_PAUSE,
    WRITE_ATTEMPTS,
    Unanswered,
    logged_in,
    refused,
)
from flywheel.kube.errors import ApiError
from flywheel.kube.gateway import Gateway
from flywheel.kube.resources import ABTEST
from flywheel.plan import GROUP, Manifest, ObjectKey

__all__ = ["Reach", "Unanswered", "reach"]

FIELD_MANAGER = "flywheel-command"
"""What a person says with a command is not the operator's: it never writes a spec."""


class Reach:
    """The tests of one namespace, and what belongs to them."""

    def __init__(self, gateway: Gateway, place: Place) -> None:
        self.place = place
        self._gateway = gateway
        self._random = random.Random()  # noqa: S311 - spreads retries, protects nothing

    async def test(self) -> Manifest:
        """Read the ABTest.

        Raises:
            click.ClickException: It is not there, may not be read, or the server does not answer.
        """
        place = self.place
        found = await self._get(self._key)
        if found is None:
            raise click.ClickException(
                f"There is no ABTest {place.test} in the namespace {place.namespace}. Name another namespace with -n, "
                "or look for it: kubectl get abtests -A"
            )
        return found

    async def seen(self) -> SeenTest:
        """Read the ABTest as commands do. Errors as of `test`."""
        return read_seen(await self.test(), self.place)

    async def tests(self, *, everywhere: bool = False) -> list[SeenTest]:
        """Read all ABTests of the namespace, or of the cluster. Errors as of `test`."""
        namespace = None if everywhere else self.place.namespace
        found = []
        try:
            async for page in self._gateway.list_all(ABTEST, namespace):
                for each in page.get("items") or ():
                    metadata = each["metadata"]
                    place = Place(metadata["name"], metadata["namespace"], self.place.program)
                    found.append(read_seen(each, place))
        except ApiError as error:
            raise refused(error, "list", "ABTest", namespace or "(all)") from error
        return found

    async def campaign(self, name: str) -> Manifest | None:
        """Read a Campaign; None if it is not there. Errors as of `test`."""
        return await self._get(ObjectKey(GROUP, "Campaign", self.place.namespace, name))

    async def config_map(self, name: str) -> Manifest | None:
        """Read a ConfigMap; None if it is not there. Errors as of `test`."""
        return await self._get(ObjectKey("", "ConfigMap", self.place.namespace, name))

    async def change(self, write: Callable[[SeenTest], Manifest | None]) -> SeenTest:
        """Patch the ABTest, such that what was decided from is what is changed.

        Args:
            write: Makes the patch from the test; None leaves it. Called again when somebody else was faster.

        Returns:
            The test as it is then.

        Raises:
            click.ClickException: As of `test`.
        """
        for attempt in range(WRITE_ATTEMPTS):
            manifest = await self.test()
            seen = read_seen(manifest, self.place)
            if seen.deleted:
                raise click.ClickException(f"The ABTest {self.place.test} is being deleted.")
            patch = write(seen)
            if patch is None:
                return seen
            version = {"resourceVersion": manifest["metadata"]["resourceVersion"]}
            body = {**patch, "metadata": {**patch.get("metadata", {}), **version}}
            try:
                made = await self._gateway.merge_patch(self._key, body, field_manager=FIELD_MANAGER)
                return read_seen(made, self.place)
            except ApiError as error:
                if not error.is_conflict:
                    raise refused(error, "patch", "ABTest", self.place.namespace) from error
            longest = min(LONGEST_PAUSE, 0.02 * 2.0**attempt)
            await asyncio.sleep(self._random.uniform(longest / 2, longest))
        raise Unanswered(f"The ABTest {self.place.test} is changed all the time; nothing is written. Try again.")

    @property
    def _key(self) -> ObjectKey:
        return ObjectKey(GROUP, "ABTest", self.place.namespace, self.place.test)

    async def _get(self, key: ObjectKey) -> Manifest | None:
        try:
            return await self._gateway.get(key)
        except ApiError as error:
            raise refused(error, "get", key.kind, self.place.namespace) from error


@asynccontextmanager
async def reach(place: Place) -> AsyncIterator[Reach]:
    """Reach the tests of a namespace; errors as of `logged_in`."""
    async with logged_in() as gateway:
        yield Reach(gateway, place)
