"""The models of a worker: on its volume under their digests, and loaded once they are asked. All of it blocks."""

import hashlib
import hmac
import logging
import threading
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flywheel.durable import UNFINISHED, write_durably
from flywheel.fraud.modelfacts import DIGEST, LARGEST, ModelFacts
from flywheel.fraud.modelfile import UnfitModel

if TYPE_CHECKING:
    from flywheel.fraud.model import LoadedModel

log = logging.getLogger(__name__)

SUFFIX = ".skops"
SPARE = 16
"""Files kept beside those that may be asked: a replay of what came before a change needs those before it."""


class Models:
    """Files by digest, and what they hold."""

    def __init__(self, directory: Path) -> None:
        """Find what is there.

        Raises:
            OSError: The directory cannot be used.
        """
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for unfinished in directory.glob(f"*{UNFINISHED}"):
            unfinished.unlink()
        self._loaded: dict[str, LoadedModel] = {}
        self._failed: set[str] = set()
        self._one = threading.Lock()

    def score(self, digest: str, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the scores for rows of a model's features; NaN where the model is not there or cannot tell."""
        model = self._loaded.get(digest) or self._load(digest)
        return np.full(len(rows), np.nan) if model is None else model.score(rows)

    def facts(self, digests: Iterable[str]) -> dict[str, ModelFacts]:
        """Tell what those of some models want that are loaded."""
        return {each: model.facts for each in digests if (model := self._loaded.get(each))}

    def open(self, digests: Iterable[str]) -> None:
        """Load models, so that the first event does not wait for them."""
        for each in digests:
            if each not in self._loaded:
                self._load(each)

    def keep(self, digest: str, data: bytes, wanted: Collection[str]) -> None:
        """Put a file on the volume, whole or not at all, and load it; forget files that nobody wants for long.

        Args:
            digest: Of the file.
            data: The file, which was tried.
            wanted: The models that may be asked.

        Raises:
            OSError: It could not be written.
        """
        write_durably(self._path(digest), data)
        self._failed.discard(digest)
        self._forget({digest, *wanted})
        self.open([digest])

    def _forget(self, wanted: Collection[str]) -> None:
        kept = {self._path(each) for each in wanted}
        others = [each for each in self._directory.glob(f"*{SUFFIX}") if each not in kept]
        for each in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[SPARE:]:
            each.unlink(missing_ok=True)
        self._loaded = {each: model for each, model in self._loaded.items() if each in wanted}

    def _load(self, digest: str) -> "LoadedModel | None":
        with self._one:
            found = self._loaded.get(digest)
            if found is not None or digest in self._failed:
                return found
            try:
                # Only for rules with a score: it takes a second, and a hundred megabytes.
                from flywheel.fraud.model import LoadedModel

                found = self._loaded[digest] = LoadedModel(self._read(digest))
            except (OSError, UnfitModel, ImportError) as error:
                # Asked for again once it is handed over anew.
                self._failed.add(digest)
                log.error("The model %s gives no scores: %s", digest, error)  # noqa: TRY400
            return found

    def _read(self, digest: str) -> bytes:
        """Read a file.

        Raises:
            OSError: It cannot be read.
            UnfitModel: It is another one than was put there.
        """
        with self._path(digest).open("rb") as file:
            data = file.read(LARGEST + 1)
        if not hmac.compare_digest(digest_of(data), digest):
            raise UnfitModel("its file is damaged")
        return data

    def _path(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise UnfitModel("its digest is none")
        return self._directory / (digest.removeprefix("sha256:") + SUFFIX)


def digest_of(data: bytes) -> str:
    """Give the digest of a file, as rules name it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
