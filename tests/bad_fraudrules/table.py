"""The table of bad FraudRules as data: what is wrong, who refuses it, and what must be said."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bad_campaigns.table import changed, read_yaml

HERE = Path(__file__).parent
BASES = ("base", "small", "model")
"""FraudRules without fault, the files from which the bad ones are made."""


@dataclass(frozen=True)
class BadRule:
    """One fault, beside the Campaign that makes it one."""

    name: str
    manifest: dict[str, Any]
    refused: str
    path: str
    admission: tuple[str, ...]
    load: tuple[str, ...]
    campaign: dict[str, Any] | None


def good_fraudrule(base: str = "base") -> dict[str, Any]:
    """A fresh copy of a FraudRule without fault."""
    manifest: dict[str, Any] = read_yaml((HERE / f"{base}.yaml").read_text("utf-8"))
    return manifest


def its_campaign() -> dict[str, Any]:
    """A fresh copy of the Campaign that the FraudRules are about."""
    manifest: dict[str, Any] = read_yaml((HERE / "campaign.yaml").read_text("utf-8"))
    return manifest


def whole_status() -> dict[str, Any]:
    """A fresh copy of a status with every field."""
    status: dict[str, Any] = read_yaml((HERE / "status.yaml").read_text("utf-8"))
    return status


def bad_fraudrules() -> list[BadRule]:
    """The rows of the table."""
    return [_entry(row) for row in read_yaml((HERE / "table.yaml").read_text("utf-8"))]


def _entry(row: dict[str, Any]) -> BadRule:
    says = tuple(row.get("says", ()))
    campaign = row.get("campaign", {})
    return BadRule(
        name=row["name"],
        manifest=changed(good_fraudrule(row.get("base", "base")), row),
        refused=row["refused"],
        path=row["path"],
        admission=says + tuple(row.get("admission", ())),
        load=says + tuple(row.get("load", ())),
        campaign=None if campaign is None else changed(its_campaign(), campaign),
    )
