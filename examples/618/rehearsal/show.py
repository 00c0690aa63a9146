"""Three releases while the crowd shops: a fix that passes its gates, a mistake that does not, a push to the page."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import httpx
from tests.lab.cluster.client import Cluster, CommandFailedError

from rehearsal.landing import NOW, SOON, Landing
from rehearsal.observer import Observer
from rehearsal.regular import Regular
from rehearsal.releases import Release, Told, releases
from rehearsal.screen import Screen
from rehearsal.versions import (
    CODE,
    COUPON,
    PAGE,
    TOO_MUCH,
    Manifest,
    Version,
    branch_of,
    version_of,
    with_branch,
    with_version,
)

STEP_SECONDS = 90.0
"""How long a release may take until it has arrived, or is stopped."""
LOOK_SECONDS = 0.15
SHORT = 7


class Show:
    """Releases services of the campaign that `written` asks for, as `kubectl apply` and `git push` do."""

    def __init__(self, cluster: Cluster, namespace: str, written: Manifest, landing: Landing, screen: Screen) -> None:
        self._cluster, self._namespace, self._written = cluster, namespace, written
        self._landing, self._screen = landing, screen
        self.path = f"/apis/flywheel.dev/v1alpha1/namespaces/{namespace}/campaigns/{written['metadata']['name']}"

    async def perform(
        self, observer: Observer, regular: Regular, told: Mapping[str, Told], names: Sequence[str]
    ) -> None:
        """Show those of the three that are named, one after the other, and write down what was seen."""
        self._observer, self._regular = observer, regular
        await self._until(lambda: _now(bool(regular.version and regular.commit)), "an answer of coupon and page")
        shown = {"fix": self._fix, "bad": self._bad, "page": self._push}
        for name in names:
            regular.note_for(told[name])
            try:
                await shown[name](told[name])
            except (TimeoutError, httpx.HTTPError, CommandFailedError, OSError, ValueError) as problem:
                told[name].amiss.append(f"{type(problem).__name__}: {problem}")
                self._say(f"{told[name].title}: {problem}")
            finally:
                regular.note_no_more(told[name])

    async def _fix(self, told: Told) -> None:
        fixed, off = version_of(self._written), await self._regular.claim()
        self._say(f"code {CODE} takes ¥{off / 100:g} off, ¥30 were promised: {COUPON} {self._regular.version} is wrong")
        took = await self._apply_until_seen(fixed)
        release = await self._arrived(COUPON)
        off = await self._regular.claim()
        if off != 3000:
            told.amiss.append(f"code {CODE} takes ¥{off / 100:g} off after the fix")
        told.line = f"{COUPON} {fixed.name} live {took:.1f} s after its apply; gates {_names(release)} passed"
        self._say(f"{told.line}; code {CODE} takes ¥{off / 100:g} off")

    async def _bad(self, told: Told) -> None:
        good = version_of(self._written)
        before = (await self._releases())[COUPON]
        self._say(f"kubectl apply: {COUPON} {TOO_MUCH.name}, in which {CODE} takes ¥300 off by mistake")
        await self._apply(TOO_MUCH)
        stopped = await self._reaches(
            COUPON, lambda now: now.number > before.number and now.phase == "Failed", "Failed"
        )
        off = await self._regular.claim()
        if self._regular.versions != {good.name} or stopped.active != before.active:
            told.amiss.append(f"customers met {', '.join(sorted(self._regular.versions))} meanwhile")
        if off != 3000:
            told.amiss.append(f"code {CODE} takes ¥{off / 100:g} off after the bad release was stopped")
        gate = stopped.stopper
        told.line = f"{COUPON} {TOO_MUCH.name} stopped by gate {gate.name}: {gate.message}; {good.name} serves on"
        self._say(told.line)
        await self._apply(good)
        await self._reaches(COUPON, lambda now: now.phase == "Stable", "at rest again")

    async def adopt(self, branch: str) -> None:
        """Write into the campaign what an A/B test has found better: the page of another branch.

        Raises:
            TimeoutError: the Campaign goes on to say that it does not run what its spec says.
        """
        self._written = with_branch(self._written, branch)
        before = (await self._releases())[PAGE]
        await self._apply(version_of(self._written))
        await self._until(self._runs_its_spec, "a Campaign that runs what its spec says")
        again = (await self._releases())[PAGE].number - before.number
        self._say(f"kubectl apply: {PAGE} from branch {branch}, as it is already: {again} releases follow from it")

    async def _runs_its_spec(self) -> bool:
        seen = await self._observer.get(self.path) or {}
        status, generation = seen.get("status") or {}, seen.get("metadata", {}).get("generation")
        return "winners" not in status and status.get("observedGeneration") == generation

    async def _push(self, told: Told) -> None:
        branch = branch_of(self._written)
        old, new = self._regular.commit, self._landing.change(branch, SOON, NOW, "The sale is open")
        self._say(f"git push: {PAGE} {old[:SHORT]} -> {new[:SHORT]} on branch {branch}, the sale is open")
        await asyncio.to_thread(self._landing.push)
        pushed = time.monotonic()
        await self._until(
            lambda: _now(self._regular.commit == new and NOW in self._regular.page),
            f"page {new[:SHORT]} for customers",
        )
        took = time.monotonic() - pushed
        release = await self._arrived(PAGE)
        told.line = (
            f"{PAGE} {old[:SHORT]} -> {new[:SHORT]} ({NOW}) live {took:.1f} s after git push;"
            f" browser gates {_names(release)} passed"
        )
        self._say(told.line)

    async def _apply_until_seen(self, version: Version) -> float:
        self._say(f"kubectl apply: {COUPON} {version.name}")
        began = time.monotonic()
        await self._apply(version)
        await self._until(lambda: _now(self._regular.version == version.name), f"{COUPON} {version.name} for customers")
        return time.monotonic() - began

    async def _apply(self, version: Version) -> None:
        made = json.dumps(with_version(self._written, version))
        await asyncio.to_thread(self._cluster.kubectl, "apply", "-n", self._namespace, "-f", "-", input=made)

    async def _arrived(self, service: str) -> Release:
        return await self._reaches(service, lambda now: now.passed, "Stable, all gates passed")

    async def _reaches(self, service: str, so: Callable[[Release], bool], what: str) -> Release:
        last = Release(service)

        async def look() -> bool:
            nonlocal last
            last = (await self._releases()).get(service, last)
            return so(last)

        try:
            await self._until(look, what)
        except TimeoutError as error:
            raise TimeoutError(f"{service} is {last.phase}, {last.message or 'and says no more'}; {error}") from error
        return last

    async def _releases(self) -> dict[str, Release]:
        return releases(((await self._observer.get(self.path)) or {}).get("status") or {})

    async def _until(self, look: Callable[[], Awaitable[bool]], what: str) -> None:
        deadline = time.monotonic() + STEP_SECONDS
        while not await look():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not seen within {STEP_SECONDS:g} s: {what}")
            await asyncio.sleep(LOOK_SECONDS)

    def _say(self, line: str) -> None:
        self._screen.say(self._screen.ink.bold(f"release   {line}"))


async def _now(answer: bool) -> bool:
    return answer


def _names(release: Release) -> str:
    return ", ".join(each.name for each in release.gates)
