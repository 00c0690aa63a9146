"""Which files of a commit are published, and what is refused: decided before any of them is written."""

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass

from dulwich.errors import ObjectFormatException
from dulwich.objects import parse_tree

from flywheel.release.content.pack import StoredObject
from flywheel.release.content.source import ContentProblem

MOST_LINKS = 8
"""Symbolic links on the way to one file."""
MOST_DEPTH = 32
LONGEST_PATH = 1024
LONGEST_NAME = 255
MOST_BARE_DIRECTORIES = 10_000
"""Directories that may be walked beside one for each file: a tree can hold itself many times over, and no file."""
TREE_BYTES = 12 << 20
"""Of all directories together; they are kept in memory."""
LARGEST_COMMIT = 1 << 20
LONGEST_TARGET = 1024
_COMMIT = re.compile(b"tree ([0-9a-f]{40})\n")
_LFS = b"version https://git-lfs.github.com/spec/"
_LARGEST_LFS_POINTER = 1024
_GITLINK = 0o160000
_WELL_KNOWN = ".well-known"

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishLimits:
    """How much is published at most."""

    files: int
    size: int
    """Bytes of all files together."""


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file, and the object that it is made of."""

    path: str
    """Below the root, with '/' between names."""
    name: bytes
    """Of the object: a hash of what the file holds."""
    stored: StoredObject


@dataclass(frozen=True, slots=True)
class _Entry:
    mode: int
    name: bytes


class Snapshot:
    """One commit's files, as they would be published."""

    def __init__(self, objects: Mapping[bytes, StoredObject], commit: str, path: str, limits: PublishLimits) -> None:
        """Find the directory that is published.

        Args:
            objects: All objects that there are.
            commit: The commit, 40 hexadecimal digits.
            path: The directory, such as /dist.
            limits: How much is published at most.

        Raises:
            ContentProblem: There is no such commit or directory.
        """
        self._objects = objects
        self._limits = limits
        self._shown = path.strip("/")
        self._lists: dict[bytes, dict[str, _Entry]] = {}
        self._tree_bytes = TREE_BYTES
        self._walks = limits.files + MOST_BARE_DIRECTORIES
        self._files: dict[str, PublishedFile] = {}
        self._size = 0
        root = self._root_tree(commit)
        for part in filter(None, self._shown.split("/")):
            entry = self._listed(root).get(part)
            if entry is None or not stat.S_ISDIR(entry.mode):
                raise ContentProblem("PathNotFound", f"The commit has no directory /{self._shown}: correct path")
            root = entry.name
        self._root = root

    def files(self) -> list[PublishedFile]:
        """List the files.

        Raises:
            ContentProblem: Something in it is never published, or there is too much.
        """
        self._walk(self._root, (), (), 0)
        if not self._files:
            raise ContentProblem("PathNotFound", f"/{self._shown} holds no file that is published: correct path")
        return list(self._files.values())

    def _root_tree(self, commit: str) -> bytes:
        stored = self._objects.get(bytes.fromhex(commit))
        if stored is None or stored.kind != b"commit":
            raise ContentProblem("CommitNotFound", f"The server does not have the commit {commit}")
        tree = _COMMIT.match(_read(stored, LARGEST_COMMIT))
        if tree is None:
            raise ContentProblem("BadAnswer", f"The commit {commit} is damaged")
        return bytes.fromhex(tree[1].decode("ascii"))

    def _listed(self, tree: bytes) -> dict[str, _Entry]:
        if tree not in self._lists:
            self._lists[tree] = self._list(tree)
        return self._lists[tree]

    def _list(self, tree: bytes) -> dict[str, _Entry]:
        stored = self._object(tree, b"tree")
        self._tree_bytes -= stored.size
        if self._tree_bytes < 0:
            raise ContentProblem("TooLarge", "The commit has too many names in its directories: narrow path")
        entries: dict[str, _Entry] = {}
        try:
            for raw, mode, name in parse_tree(_read(stored, TREE_BYTES), 20):
                text = _checked_name(raw)
                if text in entries:
                    raise _forbidden(f"a directory has {text} twice")
                entries[text] = _Entry(mode, bytes.fromhex(name.decode("ascii")))
        except (ObjectFormatException, ValueError) as error:
            raise ContentProblem("BadAnswer", f"A directory of the commit is damaged: {tree.hex()}") from error
        return entries

    def _object(self, name: bytes, kind: bytes) -> StoredObject:
        stored = self._objects.get(name)
        if stored is None or stored.kind != kind:
            raise ContentProblem("BadAnswer", f"The server left out a {kind.decode()} of the commit: {name.hex()}")
        return stored

    def _walk(self, tree: bytes, at: Parts, shown: Parts, links: int) -> None:
        """Take what is in a directory.

        Args:
            tree: The directory.
            at: Where it is: links in it lead on from there.
            shown: Where it appears: elsewhere, when a link led there.
            links: How many links led there.
        """
        if len(shown) > MOST_DEPTH:
            raise _forbidden(f"{_join(shown[:3])}/... is deeper than {MOST_DEPTH} directories")
        self._walks -= 1
        if self._walks < 0:
            raise _forbidden("it has too many directories for its files")
        for name, entry in self._listed(tree).items():
            if _is_hidden(name):
                continue
            where = (*shown, name)
            if stat.S_ISLNK(entry.mode):
                place, followed, used = self._follow(at, where, entry, links)
                self._take(followed, place, where, used)
            else:
                self._take(entry, (*at, name), where, links)

    def _take(self, entry: _Entry, at: Parts, shown: Parts, links: int) -> None:
        if stat.S_ISDIR(entry.mode):
            self._walk(entry.name, at, shown, links)
        elif stat.S_ISREG(entry.mode):
            self._add(shown, entry.name)
        elif entry.mode == _GITLINK:
            raise _forbidden(f"{_join(shown)} is a submodule, which is not fetched: commit the files themselves")
        else:
            raise _forbidden(f"{_join(shown)} is neither file nor directory")

    def _add(self, shown: Parts, name: bytes) -> None:
        stored, path = self._object(name, b"blob"), _join(shown)
        if len(path) > LONGEST_PATH:
            raise _forbidden(f"the path of {path[:80]}... is longer than {LONGEST_PATH}")
        self._size += stored.size
        if len(self._files) >= self._limits.files:
            raise ContentProblem(
                "TooLarge", f"There are more than {self._limits.files} files: raise limits.maxFiles, or narrow path"
            )
        if self._size > self._limits.size:
            raise ContentProblem(
                "TooLarge",
                f"The files have more than {self._limits.size >> 20} MiB together (seen at {path}): raise "
                "limits.maxSize, or narrow path",
            )
        if _is_lfs_pointer(stored):
            raise _forbidden(
                f"{path} is only a pointer of Git LFS, which is not fetched: commit the file itself, or serve it from "
                "somewhere else"
            )
        self._files[path] = PublishedFile(path, name, stored)

    def _follow(self, at: Parts, shown: Parts, link: _Entry, links: int) -> tuple[Parts, _Entry, int]:
        """Follow a link that is in the directory `at`: return where it ends, what is there, and the links so far."""
        shown_link = _join(shown)
        place, used = list(at), links
        waiting = self._steps(shown_link, link)
        entry = _Entry(stat.S_IFDIR, self._root)
        used += 1
        while waiting:
            step = waiting.pop(0)
            if step == "..":
                if not place:
                    raise _forbidden(f"the link {shown_link} leads out of what is published")
                place.pop()
                entry = self._directory(place)
                continue
            found = self._listed(self._directory(place).name).get(step)
            if found is None or _is_hidden(step):
                raise _forbidden(f"the link {shown_link} leads to what is not published: {step}")
            if stat.S_ISLNK(found.mode):
                used += 1
                if used > MOST_LINKS:
                    raise _forbidden(f"the link {shown_link} leads over more than {MOST_LINKS} links")
                waiting = self._steps(shown_link, found) + waiting
                continue
            if waiting and not stat.S_ISDIR(found.mode):
                raise _forbidden(f"the link {shown_link} leads through a file: {step}")
            place.append(step)
            entry = found
        if used > MOST_LINKS:
            raise _forbidden(f"the link {shown_link} leads over more than {MOST_LINKS} links")
        return tuple(place), entry, used

    def _steps(self, shown: str, link: _Entry) -> list[str]:
        target = _read(self._object(link.name, b"blob"), LONGEST_TARGET)
        if target.startswith(b"/"):
            raise _forbidden(f"the link {shown} is absolute: it leads out of what is published")
        return [
            step if step == ".." else _checked_name(step.encode("utf-8", "surrogateescape"))
            for step in target.decode("utf-8", "surrogateescape").split("/")
            if step not in ("", ".")
        ]

    def _directory(self, place: list[str]) -> _Entry:
        entry = _Entry(stat.S_IFDIR, self._root)
        for part in place:
            entry = self._listed(entry.name)[part]
        return entry


def _checked_name(raw: bytes) -> str:
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _forbidden(f"a name is no text (UTF-8): {raw[:80]!r}") from error
    if not name or "/" in name or name in (".", "..") or name.lower() == ".git" or len(raw) > LONGEST_NAME:
        raise _forbidden(f"a file must not have the name {name[:80]!r}")
    if any(ord(each) < 32 or ord(each) == 127 for each in name):
        raise _forbidden(f"a name holds a control character: {name[:80]!r}")
    return name


def _is_hidden(name: str) -> bool:
    return name.startswith(".") and name != _WELL_KNOWN


def _is_lfs_pointer(stored: StoredObject) -> bool:
    return stored.size <= _LARGEST_LFS_POINTER and _read(stored, _LARGEST_LFS_POINTER).startswith(_LFS)


def _read(stored: StoredObject, most: int) -> bytes:
    if stored.size > most:
        raise ContentProblem("BadAnswer", f"A {stored.kind.decode()} of the commit is larger than {most} bytes")
    return stored.path.read_bytes()


def _join(parts: Parts) -> str:
    return "/".join(parts)


def _forbidden(what: str) -> ContentProblem:
    return ContentProblem("Forbidden", f"The commit cannot be published: {what}")
