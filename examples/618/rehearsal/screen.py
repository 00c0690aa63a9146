"""Where the demo speaks: a terminal with a view that renews itself, or a plain log with a line per change."""

import shutil
import sys
import time
from collections.abc import Sequence
from typing import TextIO

from rehearsal.view import Ink


class Screen:
    """Lines of the story scroll; below them stands the view, drawn anew in its place."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out, self._live, self._drawn = out, out.isatty(), 0
        self._started = time.monotonic()
        self.ink = Ink(self._live)

    @property
    def width(self) -> int:
        return min(shutil.get_terminal_size((110, 40)).columns, 120)

    @property
    def height(self) -> int:
        return shutil.get_terminal_size((110, 40)).lines

    def say(self, line: str = "") -> None:
        """Add a line to the story, with the time since the demo began."""
        self._clear()
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        stamp = self.ink.dim(f"{minutes}:{seconds:02d}  ") if line else ""
        self._out.write(f"{stamp}{line}\n")
        self._out.flush()

    def draw(self, lines: Sequence[str]) -> None:
        """Renew the view. Without a terminal nothing is drawn: the story says it all."""
        if not self._live:
            return
        self._clear()
        lines = lines[: self.height - 2]
        self._out.write("".join(f"{line}\n" for line in lines))
        self._drawn = len(lines)
        self._out.flush()

    def end(self) -> None:
        """Leave the last view standing and go on below it."""
        self._drawn = 0

    def _clear(self) -> None:
        if self._drawn:
            self._out.write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0
