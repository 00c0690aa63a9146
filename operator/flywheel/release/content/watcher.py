"""Follow the refs that Campaigns name: what each of them means now, and a word when that changes."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flywheel.release.content.resolve import Resolved, Resolver, is_commit
from flywheel.release.content.schedule import next_poll, soonest
from flywheel.release.content.source import (
    ANONYMOUS,
    ContentProblem,
    Credentials,
    GitSource,
    Reason,
    read_credentials,
)

log = logging.getLogger(__name__)

MOST_SOURCES = 1000
FORGET_AFTER = 1800.0
"""Seconds after which a source that nobody asked about is followed no longer: several times what a resync takes."""
_LONGEST_SLEEP = 30.0
_DEFAULT_PORTS = {"http": 80, "https": 443}

ReadSecret = Callable[[str, str], Awaitable[Mapping[str, bytes] | None]]
"""Reads the data of a Secret by namespace and name; None where there is none."""
OnChange = Callable[[str, str], None]
"""Told namespace and Campaign when what it asked about is another."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What is known of a source."""

    resolved: Resolved | None
    """The last answer, which stays while there is no newer one."""
    reason: Reason | None = None
    """Why the last question had no answer."""
    message: str = ""
    failures: int = 0
    """How many questions in a row had no answer."""

    @property
    def is_failing(self) -> bool:
        """Whether the last question had no answer."""
        return self.reason is not None


@dataclass(slots=True)
class _Followed:
    source: GitSource
    interval: float
    due: float
    asked_about: float
    resolution: Resolution | None = None
    started: float | None = None
    polling: bool = False
    campaigns: dict[str, float] = field(default_factory=dict)
    """Who asks about it, and when they last did."""


class ContentWatcher:
    """Asks Git servers for the commits of all sources that somebody is interested in."""

    def __init__(
        self,
        read_secret: ReadSecret,
        resolver: Resolver | None = None,
        *,
        most_sources: int = MOST_SOURCES,
        forget_after: float = FORGET_AFTER,
        clock: Callable[[], float] = time.monotonic,
        dice: random.Random | None = None,
    ) -> None:
        """Make a watcher; it does nothing until it runs.

        Args:
            read_secret: Reads the data of a Secret; what it returns is not kept.
            resolver: What asks.
            most_sources: How many are followed.
            forget_after: Seconds after which a source that nobody asks about is forgotten.
            clock: Seconds that never go back.
            dice: What spreads the questions.
        """
        self._read_secret = read_secret
        self._resolver = resolver or Resolver()
        self._most = most_sources
        self._forget_after = forget_after
        self._clock = clock
        self._dice = dice or random.Random()  # noqa: S311 - spreads load, keeps nothing secret
        self._followed: dict[GitSource, _Followed] = {}
        self._listeners: list[OnChange] = []
        self._wake = asyncio.Event()
        self._polls: set[asyncio.Task[None]] = set()

    def on_change(self, listener: OnChange) -> None:
        """Tell `listener` when what a Campaign asked about is another. It must not block."""
        self._listeners.append(listener)

    def current(self, source: GitSource, campaign: str, interval: float) -> Resolution | None:
        """Return what is known of a source now, and follow it from now on; None while nothing is known yet.

        Args:
            source: What to follow. A whole commit is known at once.
            campaign: Who asks, in the namespace of the source: it is told of changes.
            interval: Seconds between two questions.
        """
        if is_commit(source.ref):
            return Resolution(Resolved(source.ref, source.ref))
        now = self._clock()
        followed = self._followed.get(source)
        if followed is None:
            if len(self._followed) >= self._most:
                return Resolution(
                    None, "Internal", f"The operator follows {self._most} repositories already: remove campaigns", 1
                )
            followed = self._followed[source] = _Followed(source, interval, now, now)
            self._wake.set()
        if interval < followed.interval:
            followed.due = min(followed.due, now + interval)
            self._wake.set()
        followed.interval, followed.asked_about = interval, now
        followed.campaigns[campaign] = now
        return followed.resolution

    def refresh(self, url: str) -> int:
        """Ask at once for all sources of a repository; return how many there are."""
        key, now = repository_key(url), self._clock()
        found = [each for each in self._followed.values() if repository_key(each.source.url) == key]
        for followed in found:
            followed.due = soonest(now, followed.started)
        if found:
            self._wake.set()
        return len(found)

    @property
    def followed(self) -> int:
        """How many sources are followed."""
        return len(self._followed)

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            while True:
                self._wake.clear()
                now = self._clock()
                self._forget(now)
                for followed in self._followed.values():
                    if followed.due <= now and not followed.polling:
                        self._start(followed, now)
                await self._sleep(now)
        finally:
            for poll in self._polls:
                poll.cancel()
            await asyncio.gather(*self._polls, return_exceptions=True)

    async def _sleep(self, now: float) -> None:
        waits = (each.due - now for each in self._followed.values() if not each.polling)
        try:
            async with asyncio.timeout(max(0.0, min(waits, default=_LONGEST_SLEEP))):
                await self._wake.wait()
        except TimeoutError:
            return

    def _forget(self, now: float) -> None:
        for source, followed in list(self._followed.items()):
            followed.campaigns = {
                name: asked for name, asked in followed.campaigns.items() if now - asked <= self._forget_after
            }
            if not followed.campaigns and not followed.polling:
                del self._followed[source]

    def _start(self, followed: _Followed, now: float) -> None:
        followed.polling, followed.started = True, now
        # A refresh in the meantime brings the due time forward again, and is not lost.
        followed.due = now + _LONGEST_SLEEP + followed.interval
        task = asyncio.create_task(self._poll(followed, followed.due))
        self._polls.add(task)
        task.add_done_callback(self._polls.discard)

    async def _poll(self, followed: _Followed, due: float) -> None:
        before = followed.resolution
        try:
            followed.resolution = Resolution(await self._ask(followed.source))
        except ContentProblem as problem:
            followed.resolution = _failed(before, problem)
        except Exception:
            log.exception("A ref cannot be followed", extra={"namespace": followed.source.namespace})
            followed.resolution = _failed(
                before, ContentProblem("Internal", "The operator failed to ask; its log says why")
            )
        finally:
            followed.polling = False
            if followed.due == due:
                failures = followed.resolution.failures if followed.resolution else 0
                followed.due = next_poll(self._clock(), followed.interval, failures, self._dice.random())
            self._wake.set()
        if _told(before) != _told(followed.resolution):
            self._tell(followed)

    async def _ask(self, source: GitSource) -> Resolved:
        return await self._resolver.resolve(source, await self._credentials(source))

    async def _credentials(self, source: GitSource) -> Credentials:
        if source.secret_name is None:
            return ANONYMOUS
        data = await self._read_secret(source.namespace, source.secret_name)
        if data is None:
            raise ContentProblem("BadCredentials", f"There is no Secret {source.secret_name}: create it")
        return read_credentials(data, source.secret_name)

    def _tell(self, followed: _Followed) -> None:
        for campaign in list(followed.campaigns):
            for listener in self._listeners:
                listener(followed.source.namespace, campaign)


def _failed(before: Resolution | None, problem: ContentProblem) -> Resolution:
    kept = before.resolved if before else None
    return Resolution(kept, problem.reason, problem.message, (before.failures if before else 0) + 1)


def _told(resolution: Resolution | None) -> tuple[object, ...]:
    """What is news when it changes: not how often something failed."""
    return (resolution.resolved, resolution.reason, resolution.message) if resolution else ()


def repository_key(url: str) -> str:
    """Return what all spellings of a repository's address have in common: not the scheme, not .git at the end."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    shown = "" if port in (None, _DEFAULT_PORTS.get(parts.scheme.lower())) else f":{port}"
    return f"{(parts.hostname or '').lower()}{shown}{parts.path.rstrip('/').removesuffix('.git')}"
