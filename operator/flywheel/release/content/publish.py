"""Write the files of a commit so that a web server can serve them, the same way in every pod."""

import gzip
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from flywheel.release.content.pack import CHUNK, StoredObject
from flywheel.release.content.tree import PublishedFile

LEAST_TO_PACK = 1024
"""Bytes below which packing saves nothing."""
_TEXT = {
    *["atom", "css", "csv", "eot", "geojson", "gltf", "htm", "html", "ico", "ics", "js", "json", "map", "md", "mjs"],
    *["otf", "rss", "svg", "ttf", "txt", "vtt", "wasm", "webmanifest", "xhtml", "xml", "yaml", "yml"],
}
_WORTH_IT = 0.95
_LONGEST_NAME = 255
_READABLE = 0o444
_31_BITS = 0x7FFF_FFFF


def moment_of(name: bytes) -> int:
    """Return the time of modification that a file gets: 31 bits of the hash of what it holds.

    A web server makes a file's ETag of its time and size. So the ETag is a function of the content alone: it is the
    same in every pod and for every commit that did not change the file, and caches stay warm over a release.

    Args:
        name: Name of the Git object, which is a hash of the content.
    """
    return int.from_bytes(name[:4], "big") & _31_BITS


def publish(files: Sequence[PublishedFile], root: Path) -> None:
    """Write all files below `root`, and packed copies beside those that are text.

    Objects are linked and not copied: the same content has the same time everywhere. The objects' directory must be on
    the same file system.

    Args:
        files: What is published.
        root: A directory that does not exist yet.
    """
    root.mkdir(parents=True)
    paths = {file.path for file in files}
    packed: dict[bytes, Path | None] = {}
    for file in files:
        target = root / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        moment = moment_of(file.name)
        source = file.stored.path
        source.chmod(_READABLE)
        os.utime(source, (moment, moment))
        _link(source, target)
        sibling = f"{file.path}.gz"
        if _is_text(file) and sibling not in paths and len(os.fsencode(target.name)) + 3 <= _LONGEST_NAME:
            if file.name not in packed:
                packed[file.name] = _pack(file.stored, moment)
            small = packed[file.name]
            if small is not None:
                _link(small, root / sibling)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # no links here, or too many to one file
        shutil.copy2(source, target)


def _is_text(file: PublishedFile) -> bool:
    return file.stored.size >= LEAST_TO_PACK and file.path.rpartition(".")[2].lower() in _TEXT


def _pack(stored: StoredObject, moment: int) -> Path | None:
    """Pack an object; None where that saves too little."""
    packed = stored.path.with_suffix(".gz")
    with (
        stored.path.open("rb") as source,
        packed.open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, mtime=0) as target,
    ):
        shutil.copyfileobj(source, target, CHUNK)
    if packed.stat().st_size > stored.size * _WORTH_IT:
        packed.unlink()
        return None
    packed.chmod(_READABLE)
    os.utime(packed, (moment, moment))
    return packed
