"""From a branch or tag to the commit that it means now: the revision of content."""

import asyncio
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from dulwich.client import LsRemoteResult
from dulwich.protocol import PEELED_TAG_SUFFIX

from flywheel.release.content.source import ANONYMOUS, ContentProblem, Credentials, GitSource
from flywheel.release.content.transport import conversation

TIMEOUT = 10.0
"""Seconds that the whole question may take."""
LARGEST_ANSWER = 8 << 20
"""Bytes; servers that speak version 2 of the protocol tell only what was asked for, others tell all refs."""
AT_ONCE = 8
"""Questions at once, each of them in a thread."""
_COMMIT = re.compile("[0-9a-f]{40}")
_LOOK_UPS_MAY_TAKE = 5.0


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a ref means now."""

    commit: str
    """40 hexadecimal digits."""
    ref: str
    """The whole name of the ref, such as refs/heads/main; the commit itself where that was asked for."""


def is_commit(ref: str) -> bool:
    """Whether this is a commit and no name."""
    return _COMMIT.fullmatch(ref) is not None


def candidates(ref: str) -> tuple[str, ...]:
    """Return the names that `ref` may stand for, best first: as `git clone --branch`, a branch before a tag.

    `git rev-parse` sees it the other way round; but what is followed here is what people push to. A whole name, such as
    refs/tags/v1, and HEAD stand for themselves.
    """
    if ref == "HEAD" or ref.startswith("refs/"):
        return (ref,)
    return (f"refs/heads/{ref}", f"refs/tags/{ref}")


def choose(refs: Mapping[bytes, bytes | None], ref: str) -> Resolved | None:
    """Choose among what a server advertises. An annotated tag means the commit that it points to.

    Args:
        refs: Advertised names and ids; peeled tags end in `^{}`.
        ref: What is followed.
    """
    for name in candidates(ref):
        key = name.encode()
        found = refs.get(key + PEELED_TAG_SUFFIX) or refs.get(key)
        commit = (found or b"").decode("ascii", "replace")
        if is_commit(commit):
            return Resolved(commit, name)
    return None


class Resolver:
    """Asks Git servers, a few at once."""

    def __init__(
        self,
        *,
        seconds: float = TIMEOUT,
        most: int = LARGEST_ANSWER,
        at_once: int = AT_ONCE,
        allow_loopback: bool = False,
    ) -> None:
        """Make a resolver.

        Args:
            seconds: For one question.
            most: Bytes of one answer.
            at_once: Questions at once.
            allow_loopback: Call this machine itself, too: for tests.
        """
        self._seconds = seconds
        self._most = most
        self._allow_loopback = allow_loopback
        self._slots = asyncio.Semaphore(at_once)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="git")

    async def resolve(self, source: GitSource, credentials: Credentials = ANONYMOUS) -> Resolved:
        """Find the commit that `source` means now. A whole commit needs no question.

        Raises:
            ContentProblem: It cannot be found out: RefNotFound, RepositoryNotFound, Unreachable, Unauthorized, Refused
                or BadAnswer.
        """
        if is_commit(source.ref):
            return Resolved(source.ref, source.ref)
        async with self._slots:
            loop = asyncio.get_running_loop()
            question = loop.run_in_executor(self._threads, self._ask, source, credentials)
            question.add_done_callback(_forget)
            # The thread ends by itself a little earlier, unless it hangs where nothing reaches it: in a look-up.
            done, _ = await asyncio.wait({question}, timeout=self._seconds + _LOOK_UPS_MAY_TAKE)
        if not done:
            raise ContentProblem("Unreachable", "The name of the host cannot be looked up in time")
        refs = question.result()
        found = choose(refs, source.ref)
        if found is None:
            raise ContentProblem("RefNotFound", _not_found(source.ref))
        return found

    def _ask(self, source: GitSource, credentials: Credentials) -> dict[bytes, bytes | None]:
        with conversation(
            source.url, credentials, seconds=self._seconds, most=self._most, allow_loopback=self._allow_loopback
        ) as (client, _):
            prefixes = [name.encode() for name in candidates(source.ref)]
            answer: LsRemoteResult = client.get_refs("", ref_prefix=prefixes)
            return {bytes(name): commit for name, commit in answer.refs.items()}


def _not_found(ref: str) -> str:
    if re.fullmatch("[0-9a-f]{7,39}", ref):
        return f"The repository has no branch or tag {ref}; to name a commit, write all of its 40 digits"
    return f"The repository has no branch or tag {ref}: correct ref, or push it"


def _forget(question: asyncio.Future[Any]) -> None:
    if not question.cancelled():
        question.exception()
