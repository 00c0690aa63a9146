"""What a benchmark says: one figure a row, with its target and what it is compared with."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Literal

__all__ = ["Row", "median", "percentile", "table", "write"]


@dataclass(frozen=True)
class Row:
    """One measured figure."""

    name: str
    value: float
    unit: str
    target: float | None = None
    better: Literal["lower", "higher"] = "lower"
    baseline: float | None = None
    """The peer, or the bare part, measured in the same run."""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.value <= self.target if self.better == "lower" else self.value >= self.target


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value below which `share` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(rows: Iterable[Row]) -> str:
    """Write rows for people."""
    lines = []
    for row in rows:
        against = f"target {row.target:g}" if row.target is not None else ""
        verdict = {True: "met", False: "MISSED", None: ""}[row.met]
        beside = f"baseline {row.baseline:.4g}" if row.baseline is not None else ""
        lines.append(f"{row.name:<70} {row.value:>10.4g} {row.unit:<14} {against:<14} {verdict:<7} {beside}".rstrip())
    return "\n".join(lines)


def write(rows: Iterable[Row], path: Path) -> None:
    """Write rows for programs: a list of objects, without a baseline where there is none."""
    kept = [
        {name: value for name, value in asdict(row).items() if name != "baseline" or value is not None} for row in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", "utf-8")
