"""The images of the project in one OCI layout: what images or versions have in common is kept, and imported, once."""

import json
import tarfile
from collections.abc import Collection, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from tests.lab.cluster.base_image import in_storage
from tools.bootstrap.steps import run

REFERENCE = "org.opencontainers.image.ref.name"
NAME_IN_CONTAINERD = "io.containerd.image.name"

Descriptor = dict[str, Any]


class Layout:
    """The directory of blobs and the index of what they make up. Whoever writes holds the lock of the images."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, image: str, name: str) -> None:
        """Copy `image` from the storage of builds; layers that are here already are not read again.

        Raises:
            CannotContinueError: it cannot be copied.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        # Not compressed: that takes longer than copying, changes what a layer is known by, and is undone at the import.
        options = ["--quiet", "--dest-oci-accept-uncompressed-layers"]
        run(["skopeo", "copy", *options, in_storage(image), f"oci:{self._directory}:{name}"])

    def use(self, name: str) -> bool:
        """Return whether the image is here, and remember that it was wanted."""
        found = self._entries().get(name)
        if found is None:
            return False
        self._blob(found["digest"]).touch()
        return True

    def write_archive(self, name: str, reference: str, known: Collection[str], archive: Path) -> None:
        """Write the image to `archive` under `reference`, for a containerd that has the blobs `known` already."""
        manifest = self._entries()[name]
        entry = {**manifest, "annotations": {NAME_IN_CONTAINERD: reference}}
        with tarfile.open(archive, "w") as tar:
            _add(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
            _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
            # The manifest itself is always sent: without it an import sees nothing to do.
            for digest in sorted({manifest["digest"], *(set(self._content(manifest)) - set(known))}):
                tar.add(self._blob(digest), f"blobs/{digest.replace(':', '/')}")

    def keep(self, prefix: str, versions: int) -> list[str]:
        """Forget all but the last used `versions` of the names `<prefix>-...`, and return the forgotten names."""
        entries = self._entries()
        named = [name for name in entries if name.rpartition("-")[0] == prefix]
        named.sort(key=lambda name: self._blob(entries[name]["digest"]).stat().st_mtime)
        forgotten = named[:-versions]
        if forgotten:
            kept = [entry for name, entry in entries.items() if name not in forgotten]
            unfinished = self._directory / "index.json.unfinished"
            unfinished.write_text(json.dumps({"schemaVersion": 2, "manifests": kept}))
            unfinished.rename(self._directory / "index.json")
            self._sweep(kept)
        return forgotten

    def _sweep(self, kept: list[Descriptor]) -> None:
        needed = {digest for manifest in kept for digest in self._content(manifest)}
        for blob in (self._directory / "blobs/sha256").iterdir():
            if f"sha256:{blob.name}" not in needed:
                blob.unlink()

    def _content(self, manifest: Descriptor) -> Iterator[str]:
        yield manifest["digest"]
        parts = json.loads(self._blob(manifest["digest"]).read_text())
        yield parts["config"]["digest"]
        for layer in parts["layers"]:
            yield layer["digest"]

    def _entries(self) -> dict[str, Descriptor]:
        try:
            index = json.loads((self._directory / "index.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            # A copy that was killed may leave half an index; everything can be copied again.
            return {}
        return {
            entry["annotations"][REFERENCE]: entry
            for entry in index["manifests"]
            if REFERENCE in entry.get("annotations", {}) and self._blob(entry["digest"]).exists()
        }

    def _blob(self, digest: str) -> Path:
        return self._directory / "blobs" / digest.replace(":", "/")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, BytesIO(content))
