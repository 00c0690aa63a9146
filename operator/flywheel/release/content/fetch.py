"""Fetch exactly one commit and publish it: what runs in a pod before its web server."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dulwich.objects import ObjectID
from dulwich.protocol import PEELED_TAG_SUFFIX
from dulwich.refs import Ref

from flywheel.release.content.pack import PackError, PackLimits, PackTooLargeError, StoredObject, Unpacker
from flywheel.release.content.publish import publish
from flywheel.release.content.resolve import candidates
from flywheel.release.content.source import ANONYMOUS, ContentProblem, Credentials
from flywheel.release.content.transport import conversation
from flywheel.release.content.tree import PublishLimits, Snapshot

log = logging.getLogger(__name__)

SITE = "site"
WORK = ".work"
"""Beside the site, so that objects become files by being linked."""
OBJECTS_PER_FILE = 4
"""The repository around what is published may have this many times more objects than files are allowed."""
SIZE_FACTOR = 2
"""The repository at that commit may unpack to this many times more than what may be published."""
SEARCHED_DEPTH = 64
"""Commits of history that are looked through where a server gives only what a ref points to."""
MOST_REFS = 8


@dataclass(frozen=True, slots=True)
class Order:
    """What to fetch, and how much at most."""

    url: str
    commit: str
    ref: str = "HEAD"
    """Where to look for the commit on servers that give no commits by their names."""
    path: str = "/"
    max_bytes: int = 256 << 20
    max_files: int = 20_000
    seconds: float = 300
    """For the download."""
    allow_loopback: bool = False


def fetch(order: Order, into: Path, credentials: Credentials = ANONYMOUS) -> int:
    """Fetch a commit and publish its files below `into`/site; return how many there are.

    A site that is there already, of an earlier try, is replaced. Memory does not grow with the size of the content.

    Raises:
        ContentProblem: It cannot be had, or must not be published; nothing is published then.
    """
    work, site = into / WORK, into / SITE
    for left in (work, site):
        shutil.rmtree(left, ignore_errors=True)
    try:
        work.mkdir(parents=True)
        objects = _objects(order, work, credentials)
        limits = PublishLimits(order.max_files, order.max_bytes)
        files = Snapshot(objects, order.commit, order.path, limits).files()
        publish(files, work / SITE)
        # In one step: there is a whole site or none.
        (work / SITE).rename(site)
    except OSError as error:
        raise ContentProblem("Internal", f"The files cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return len(files)


def tell_problem(problem: ContentProblem, termination_log: Path | None) -> None:
    """Say what is wrong where the operator reads it: in the container's termination message."""
    line = json.dumps({"reason": problem.reason, "message": problem.message}, ensure_ascii=False)
    log.error("%s", problem.message, extra={"reason": problem.reason})
    if termination_log is not None:
        termination_log.write_text(line + "\n", encoding="utf-8")


def _objects(order: Order, work: Path, credentials: Credentials) -> dict[bytes, StoredObject]:
    """Fetch the commit by its name; where a server does not give that, look for it in what its refs point to."""
    try:
        objects = _attempt(order, work / "exact", credentials, by_name=True)
    except ContentProblem as problem:
        if problem.reason != "BadAnswer":
            raise
        log.info("The server does not give the commit by its name; looking for it in its refs: %s", problem.message)
        shutil.rmtree(work / "exact", ignore_errors=True)
        objects = _attempt(order, work / "refs", credentials, by_name=False)
    if bytes.fromhex(order.commit) not in objects:
        raise ContentProblem(
            "CommitNotFound",
            f"The server no longer has the commit {order.commit}, or not among the last {SEARCHED_DEPTH} of its refs; "
            "after a forced push that is to be expected",
        )
    return objects


def _attempt(order: Order, work: Path, credentials: Credentials, *, by_name: bool) -> dict[bytes, StoredObject]:
    unpacked = work / "objects"
    unpacked.mkdir(parents=True)
    pack = work / "pack"
    with pack.open("w+b", buffering=1 << 16) as file:
        _download(order, file, credentials, by_name=by_name)
        file.flush()
        limits = PackLimits(order.max_files * OBJECTS_PER_FILE, order.max_bytes * SIZE_FACTOR)
        try:
            objects = Unpacker(file, unpacked, limits).unpack()
        except PackTooLargeError as error:
            raise ContentProblem(
                "TooLarge", f"{_sentence(error)}: raise limits, or make the repository smaller"
            ) from error
        except PackError as error:
            raise ContentProblem("BadAnswer", f"What the server sent is not usable: {error}") from error
    pack.unlink()
    return objects


def _download(order: Order, into: BinaryIO, credentials: Credentials, *, by_name: bool) -> None:
    with conversation(
        order.url, credentials, seconds=order.seconds, most=order.max_bytes, allow_loopback=order.allow_loopback
    ) as (client, _):
        wanted = _Wanted(order, by_name=by_name)
        client.fetch_pack("", wanted, _NOTHING_HERE, into.write, depth=1 if by_name else SEARCHED_DEPTH)
        if wanted.found_nothing:
            raise ContentProblem("CommitNotFound", f"The repository has no refs, so it has no commit {order.commit}")


class _Wanted:
    """Says what is wanted, when a server has told what it has."""

    def __init__(self, order: Order, *, by_name: bool) -> None:
        self._order = order
        self._by_name = by_name
        self.found_nothing = False

    def __call__(self, refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
        if self._by_name:
            return [ObjectID(self._order.commit.encode())]
        preferred = [Ref(name.encode()) for name in (*candidates(self._order.ref), "HEAD")]
        others = sorted(name for name in refs if name.startswith(b"refs/heads/"))
        names = [name for name in (*preferred, *others) if name in refs and not name.endswith(PEELED_TAG_SUFFIX)]
        wanted = list(dict.fromkeys(refs[name] for name in names))[:MOST_REFS]
        self.found_nothing = not wanted
        return wanted


class _NothingHere:
    """Tells a server that nothing is here already."""

    def __next__(self) -> None:
        return None

    def ack(self, name: bytes) -> None:
        """Take no notice."""

    def nak(self) -> None:
        """Take no notice."""


_NOTHING_HERE = _NothingHere()


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]
