"""Following refs: real servers, and a clock that the test moves."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.git_server import GitServer
from tests.patience import PATIENCE
from tests.unit.content.repositories import Repository

from flywheel.release.content.resolve import Resolver
from flywheel.release.content.schedule import JITTER, LEAST_DISTANCE, LONGEST_BACKOFF, next_poll, soonest
from flywheel.release.content.source import GitSource
from flywheel.release.content.watcher import ContentWatcher, repository_key

HOUR = 3600.0


async def no_secret(_: str, __: str) -> Mapping[str, bytes] | None:
    return None


@contextlib.asynccontextmanager
async def running(watcher: ContentWatcher) -> AsyncIterator[ContentWatcher]:
    task = asyncio.create_task(watcher.run())
    try:
        yield watcher
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE:g} s"
        await asyncio.sleep(0.01)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watcher(clock: Clock) -> ContentWatcher:
    return ContentWatcher(
        no_secret, Resolver(seconds=PATIENCE, allow_loopback=True), clock=clock, dice=random.Random(1)
    )


def commit_of(watcher: ContentWatcher, source: GitSource, interval: float = HOUR) -> str | None:
    found = watcher.current(source, "618", interval)
    return found.resolved.commit if found and found.resolved else None


@pytest.fixture
def source(server: GitServer, repository: Repository) -> GitSource:
    return GitSource("spring", server.url(repository.name), "main")


async def test_nothing_is_known_at_first_and_the_commit_soon(
    watcher: ContentWatcher, source: GitSource, repository: Repository
) -> None:
    commit = repository.commit({"index.html": "one"})
    told: list[tuple[str, str]] = []
    watcher.on_change(lambda *who: told.append(who))
    async with running(watcher):
        assert watcher.current(source, "618", HOUR) is None
        watcher.current(source, "summer", HOUR)
        await until(lambda: commit_of(watcher, source) == commit, "the commit")
        await until(lambda: sorted(told) == [("spring", "618"), ("spring", "summer")], "both campaigns are told")


async def test_a_whole_commit_is_known_at_once_and_never_asked_for(watcher: ContentWatcher, server: GitServer) -> None:
    async with running(watcher):
        assert commit_of(watcher, GitSource("spring", server.url("x.git"), "a" * 40)) == "a" * 40
        assert watcher.followed == 0
    assert server.requests == []


async def test_a_refresh_finds_a_new_commit_long_before_the_interval_is_over(
    watcher: ContentWatcher, source: GitSource, repository: Repository, clock: Clock
) -> None:
    first = repository.commit({"index.html": "one"})
    async with running(watcher):
        watcher.current(source, "618", HOUR)
        await until(lambda: commit_of(watcher, source) == first, "the first commit")
        second = repository.commit({"index.html": "two"})
        clock.now += LEAST_DISTANCE
        assert watcher.refresh(source.url.removesuffix(".git").replace("http:", "HTTP:") + "/") == 1
        await until(lambda: commit_of(watcher, source) == second, "the second commit")
        assert watcher.refresh("https://git.example/other.git") == 0


async def test_it_is_asked_again_at_its_interval_and_not_before(
    watcher: ContentWatcher, source: GitSource, repository: Repository, clock: Clock, server: GitServer
) -> None:
    first = repository.commit({"index.html": "one"})
    async with running(watcher):
        watcher.current(source, "618", 60)
        await until(lambda: commit_of(watcher, source, 60) == first, "the first commit")
        asked = len(server.requests)
        second = repository.commit({"index.html": "two"})
        clock.now += 60 * (1 - JITTER) - 1
        watcher.refresh("http://wakes.example/nobody")
        watcher.current(GitSource("spring", "http://127.0.0.1:1/x.git", "main"), "wakes", 60)
        await until(lambda: watcher.current(_nowhere(), "wakes", 60) is not None, "the loop went round")
        assert len(server.requests) == asked
        clock.now += 60 * 2 * JITTER + 1
        watcher.current(GitSource("spring", "http://127.0.0.1:1/y.git", "main"), "wakes", 60)
        await until(lambda: commit_of(watcher, source, 60) == second, "the second commit")


def _nowhere() -> GitSource:
    return GitSource("spring", "http://127.0.0.1:1/x.git", "main")


async def test_the_last_commit_stays_while_the_server_is_away(
    watcher: ContentWatcher, source: GitSource, repository: Repository, clock: Clock, server: GitServer
) -> None:
    commit = repository.commit({"index.html": "one"})
    told: list[tuple[str, str]] = []
    async with running(watcher):
        watcher.current(source, "618", HOUR)
        await until(lambda: commit_of(watcher, source) == commit, "the commit")
        watcher.on_change(lambda *who: told.append(who))
        repository.bare.rename(repository.bare.with_suffix(".away"))
        for failures in (1, 2):
            clock.now += LEAST_DISTANCE
            watcher.refresh(source.url)
            await until(lambda many=failures: _failures(watcher, source) == many, "a failure")
        found = watcher.current(source, "618", HOUR)
        assert found is not None
        assert found.resolved is not None
        assert (found.resolved.commit, found.reason) == (commit, "RepositoryNotFound")
        assert told == [("spring", "618")], "the same problem again is no news"
        repository.bare.with_suffix(".away").rename(repository.bare)
        clock.now += LEAST_DISTANCE
        watcher.refresh(source.url)
        await until(lambda: _failures(watcher, source) == 0, "it is back")
        assert len(told) == 2


def _failures(watcher: ContentWatcher, source: GitSource) -> int:
    found = watcher.current(source, "618", HOUR)
    return found.failures if found else -1


async def test_credentials_are_read_for_each_question_and_kept_nowhere(
    root: object, repository: Repository, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    commit = repository.commit({"index.html": "one"})
    asked: list[tuple[str, str]] = []
    secret: dict[str, bytes] | None = None

    async def read(namespace: str, name: str) -> Mapping[str, bytes] | None:
        asked.append((namespace, name))
        return secret

    watcher = ContentWatcher(read, Resolver(allow_loopback=True), clock=clock)
    with GitServer(repository.bare.parent, credentials=("shop", "s3cret")) as server, caplog.at_level(0):
        private = GitSource("spring", server.url(repository.name), "main", "git-login")
        async with running(watcher):
            watcher.current(private, "618", HOUR)
            await until(lambda: _reason(watcher, private) == "BadCredentials", "the Secret is missing")
            secret = {"username": b"shop", "password": b"s3cret\n"}
            clock.now += LEAST_DISTANCE
            watcher.refresh(private.url)
            await until(lambda: commit_of(watcher, private) == commit, "the commit")
    assert asked == [("spring", "git-login")] * 2
    assert "s3cret" not in caplog.text
    assert "s3cret" not in repr(vars(watcher))


def _reason(watcher: ContentWatcher, source: GitSource) -> str | None:
    found = watcher.current(source, "618", HOUR)
    return found.reason if found else None


async def test_a_secret_that_cannot_be_read_ends_nothing(clock: Clock, server: GitServer) -> None:
    async def fail(_: str, __: str) -> Mapping[str, bytes] | None:
        raise RuntimeError("the API server is away")

    watcher = ContentWatcher(fail, Resolver(allow_loopback=True), clock=clock)
    private = GitSource("spring", server.url("landing.git"), "main", "git-login")
    async with running(watcher):
        watcher.current(private, "618", HOUR)
        await until(lambda: _reason(watcher, private) == "Internal", "a problem")
        watcher.current(_nowhere(), "618", HOUR)
        await until(lambda: _reason(watcher, _nowhere()) == "Refused" or _failures(watcher, _nowhere()) > 0, "goes on")


async def test_what_nobody_asks_about_is_forgotten(
    watcher: ContentWatcher, source: GitSource, repository: Repository, clock: Clock
) -> None:
    repository.commit({"index.html": "one"})
    async with running(watcher):
        watcher.current(source, "618", HOUR)
        await until(lambda: _failures(watcher, source) == 0, "the commit")
        clock.now += 1801
        watcher.current(_nowhere(), "other", HOUR)
        await until(lambda: watcher.followed == 1, "it is forgotten")


async def test_there_are_not_more_sources_than_allowed(clock: Clock) -> None:
    watcher = ContentWatcher(no_secret, Resolver(allow_loopback=True), clock=clock, most_sources=2)
    for number in range(2):
        assert watcher.current(GitSource("spring", f"http://127.0.0.1:1/{number}", "main"), "618", HOUR) is None
    found = watcher.current(GitSource("spring", "http://127.0.0.1:1/more", "main"), "618", HOUR)
    assert found is not None
    assert found.is_failing
    assert watcher.followed == 2


@given(
    interval=st.floats(10, 86_400),
    failures=st.integers(0, 10_000),
    chance=st.floats(0, 1),
    now=st.floats(0, 1e9),
)
def test_the_next_question_is_neither_at_once_nor_never(
    interval: float, failures: int, chance: float, now: float
) -> None:
    wait = next_poll(now, interval, failures, chance) - now
    most = max(interval, LONGEST_BACKOFF) if failures else interval
    assert interval * (1 - JITTER) - 1e-3 <= wait <= most * (1 + JITTER) + 1e-3


def test_one_push_that_comes_as_many_calls_is_one_question() -> None:
    assert soonest(100, None) == 100
    assert soonest(100, 99.5) == 99.5 + LEAST_DISTANCE
    assert soonest(100, 50) == 100


@pytest.mark.parametrize(
    "url",
    [
        "https://Git.Example/shop/landing",
        "https://git.example/shop/landing.git/",
        "https://git.example:443/shop/landing.git",
        "http://git.example/shop/landing.git",
        "https://user:pw@git.example/shop/landing.git",
    ],
)
def test_spellings_of_one_repository(url: str) -> None:
    assert repository_key(url) == repository_key("https://git.example/shop/landing.git")


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example/shop/Landing.git",
        "https://git.example:8443/shop/landing.git",
        "https://other.example/shop/landing.git",
        "https://git.example:x/shop",
    ],
)
def test_another_repository(url: str) -> None:
    assert repository_key(url) != repository_key("https://git.example/shop/landing.git")
