"""The table of bad Campaigns as data: what is wrong, who refuses it, and what must be said."""

import copy
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
BASES = ("base", "edge", "release")
"""Campaigns without fault, the files from which the bad ones are made."""
TABLES = ("table", "edge_table", "release_table")


class _Loader(yaml.SafeLoader):
    """Reads moments as text, as the API server's own reader of YAML does."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class BadCampaign:
    """One fault."""

    name: str
    manifest: dict[str, Any]
    refused: str
    path: str
    admission: tuple[str, ...]
    load: tuple[str, ...]

    @property
    def text(self) -> str:
        """The Campaign as YAML."""
        return as_yaml(self.manifest)


def read_yaml(text: str) -> Any:
    """Read YAML as kubectl does."""
    return yaml.load(text, Loader=_Loader)


def as_yaml(manifest: dict[str, Any]) -> str:
    """Write `manifest` as YAML."""
    return yaml.safe_dump(manifest, allow_unicode=True, sort_keys=False)


def good_campaign(base: str = "base") -> dict[str, Any]:
    """A fresh copy of a Campaign without fault."""
    manifest: dict[str, Any] = read_yaml((HERE / f"{base}.yaml").read_text("utf-8"))
    return manifest


def bad_campaigns() -> list[BadCampaign]:
    """The rows of all tables."""
    rows = [(row, table) for table in TABLES for row in read_yaml((HERE / f"{table}.yaml").read_text("utf-8"))]
    return [_entry(row, base=BASES[TABLES.index(table)]) for row, table in rows]


def _entry(row: dict[str, Any], base: str) -> BadCampaign:
    says = tuple(row.get("says", ()))
    return BadCampaign(
        name=row["name"],
        manifest=changed(good_campaign(base), row),
        refused=row["refused"],
        path=row["path"],
        admission=says + tuple(row.get("admission", ())),
        load=says + tuple(row.get("load", ())),
    )


def changed(manifest: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """Carry out what a row says under `set` and `remove`; returns the manifest itself."""
    for path, value in row.get("set", {}).items():
        parent, last = _parent(manifest, path)
        parent[last] = copy.deepcopy(value)
    for path in row.get("remove", []):
        parent, last = _parent(manifest, path)
        del parent[last]
    return manifest


def _parent(manifest: dict[str, Any], path: str) -> tuple[Any, str | int]:
    steps: list[str | int] = [
        int(index) if index else name for name, index in re.findall(r"([A-Za-z_]+)|\[(\d+)\]", path)
    ]
    parent: Any = manifest
    for step in steps[:-1]:
        parent = parent[step]
    return parent, steps[-1]
