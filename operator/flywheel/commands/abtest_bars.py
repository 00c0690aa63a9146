"""Intervals as bars of text over one axis, with no difference and the planned effect marked. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

ZERO, PLANNED, EMPTY, INSIDE, AT = "│", "┆", "·", "━", "●"
LEFT, RIGHT = "◂", "▸"
MOST = 1.0
"""Beyond a change of 100% the axis ends: the first visitors of a test know nothing."""


@dataclass(frozen=True, slots=True)
class Span:
    """One estimate between its bounds, relative to the control."""

    lower: float
    estimate: float
    upper: float


@dataclass(frozen=True, slots=True)
class Axis:
    """From where to where, in how many columns."""

    low: float
    high: float
    width: int

    def column(self, value: float) -> int:
        """Give the column of a value; the first or the last one for what lies outside."""
        within = max(self.low, min(self.high, value))
        return round((within - self.low) / (self.high - self.low) * (self.width - 1))


def axis_of(spans: Sequence[Span], planned: float | None, width: int) -> Axis:
    """Make the axis that all bars share: it holds zero, the planned effect and all bounds, with some room beside."""
    marks = [0.0, planned or 0.0]
    ends = [*marks, *(end for each in spans for end in (each.lower, each.upper))]
    most = max(MOST, 2 * abs(planned or 0.0))
    low, high = max(-most, min(ends)), min(most, max(ends))
    room = max(0.01, 0.05 * (high - low))
    return Axis(low - room, high + room, max(11, width))


def bar(span: Span | None, axis: Axis, planned: float | None) -> str:
    """Draw an interval; without one, only the axis."""
    cells = [EMPTY] * axis.width
    if span is not None:
        first, last = axis.column(span.lower), axis.column(span.upper)
        cells[first : last + 1] = [INSIDE] * (last - first + 1)
        if span.lower < axis.low:
            cells[0] = LEFT
        if span.upper > axis.high:
            cells[-1] = RIGHT
    if planned is not None:
        cells[axis.column(planned)] = PLANNED
    cells[axis.column(0.0)] = ZERO
    if span is not None:
        cells[axis.column(span.estimate)] = AT
    return "".join(cells)


def scale(axis: Axis, planned: float | None) -> str:
    """Write what stands where, below the bars."""
    cells = [" "] * axis.width
    _put(cells, 0, f"{axis.low:+.0%}", at_start=True)
    _put(cells, axis.width - 1, f"{axis.high:+.0%}", at_end=True)
    _put(cells, axis.column(0.0), "0")
    if planned is not None:
        _put(cells, axis.column(planned), f"{planned * 100:+.3g}%")
    return "".join(cells).rstrip()


def _put(cells: list[str], column: int, text: str, *, at_start: bool = False, at_end: bool = False) -> None:
    """Write a label about a column, where it covers no other one."""
    first = column if at_start else column - len(text) + 1 if at_end else column - len(text) // 2
    first = max(0, min(len(cells) - len(text), first))
    around = cells[max(0, first - 1) : first + len(text) + 1]
    if all(each == " " for each in around):
        cells[first : first + len(text)] = text
