"""The rules as a file: a mounted ConfigMap, looked at again and again, as nobody tells when it is another one."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

LOOK = 0.5
"""Seconds between looks."""
LARGEST = 4 << 20


class RulesFile:
    """Tells of other rules."""

    def __init__(
        self,
        path: Path,
        on_rules: Callable[[bytes], Awaitable[None]],
        look: float = LOOK,
        is_overtaken: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make a watch.

        Args:
            path: A JSON object: campaign -> its rules.
            on_rules: Told the text when it is another one than before.
            look: Seconds between looks.
            is_overtaken: Whether somebody has just brought newer rules than the file may have.
        """
        self._is_overtaken = is_overtaken
        self._path, self._on_rules, self._look = path, on_rules, look
        self._seen: tuple[int, int, int] | None = None
        self._complained = ""

    async def run(self, known: bytes) -> None:
        """Watch until cancelled, knowing the rules that hold."""
        while True:
            text = None if self._is_overtaken() else await asyncio.to_thread(self._read)
            if text is not None and text != known:
                try:
                    await self._on_rules(text)
                except OSError as error:
                    # They stand in the journal before they hold. Next time, then.
                    self._seen = None
                    log.warning("The rules cannot be taken now: %s", error)
                else:
                    known = text
            await asyncio.sleep(self._look)

    def _read(self) -> bytes | None:
        """Give the text where the file is another one; None where not, or where it cannot be used."""
        try:
            found = self._path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen == self._seen:
                return None
            text = _read_rules(self._path)
        except FileNotFoundError:
            # No campaign has rules yet.
            self._seen = None
            return None
        except (OSError, ValueError) as error:
            if str(error) != self._complained:
                log.error("%s cannot be used, so the rules stay as they are: %s", self._path, error)  # noqa: TRY400
                self._complained = str(error)
            return None
        self._seen, self._complained = seen, ""
        return text


def _read_rules(path: Path) -> bytes:
    """Read the text of rules.

    Raises:
        OSError: It cannot be read.
        ValueError: It is too long, or no JSON object.
    """
    text = path.read_bytes()
    if len(text) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    return text
