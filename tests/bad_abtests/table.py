"""The table of bad ABTests as data: what is wrong, who refuses it, and what must be said."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bad_campaigns.table import changed, read_yaml

HERE = Path(__file__).parent
BASES = ("base", "small")
"""ABTests without fault, the files from which the bad ones are made."""


@dataclass(frozen=True)
class BadTest:
    """One fault, beside the Campaign and the other tests that make it one."""

    name: str
    manifest: dict[str, Any]
    refused: str
    path: str
    admission: tuple[str, ...]
    load: tuple[str, ...]
    campaign: dict[str, Any] | None
    others: tuple[dict[str, Any], ...]


def good_abtest(base: str = "base") -> dict[str, Any]:
    """A fresh copy of an ABTest without fault."""
    manifest: dict[str, Any] = read_yaml((HERE / f"{base}.yaml").read_text("utf-8"))
    return manifest


def its_campaign() -> dict[str, Any]:
    """A fresh copy of the Campaign that the ABTests name."""
    manifest: dict[str, Any] = read_yaml((HERE / "campaign.yaml").read_text("utf-8"))
    return manifest


def whole_status() -> dict[str, Any]:
    """A fresh copy of a status with every field."""
    status: dict[str, Any] = read_yaml((HERE / "status.yaml").read_text("utf-8"))
    return status


def bad_abtests() -> list[BadTest]:
    """The rows of the table."""
    return [_entry(row) for row in read_yaml((HERE / "table.yaml").read_text("utf-8"))]


def _entry(row: dict[str, Any]) -> BadTest:
    says = tuple(row.get("says", ()))
    campaign = row.get("campaign", {})
    return BadTest(
        name=row["name"],
        manifest=changed(good_abtest(row.get("base", "base")), row),
        refused=row["refused"],
        path=row["path"],
        admission=says + tuple(row.get("admission", ())),
        load=says + tuple(row.get("load", ())),
        campaign=None if campaign is None else changed(its_campaign(), campaign),
        others=tuple(changed(good_abtest(other.get("base", "base")), other) for other in row.get("others", ())),
    )
