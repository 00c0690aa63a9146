"""The pages of the documentation, and what is found in them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bad_campaigns.table import read_yaml

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def name_of(page: Path) -> str:
    """Name a page for people."""
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """Return the text of a page without its blocks of code."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Return where the links of a page lead."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """Return the names under which the headings of a page can be linked to, as GitHub makes them."""
    return {_slug(heading) for heading in _HEADING.findall(prose(page))}


def _slug(heading: str) -> str:
    plain = re.sub(r"[`*]", "", heading.strip()).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def yaml_blocks(page: Path) -> Iterator[Any]:
    """Read every document of every YAML block of a page."""
    for language, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if language in {"yaml", "yml"}:
            for document in re.split(r"^---$", text, flags=re.MULTILINE):
                yield read_yaml(document)


def campaigns(page: Path) -> list[dict[str, Any]]:
    """Return every Campaign that a page shows whole."""
    return shown(page, "Campaign")


def shown(page: Path, kind: str) -> list[dict[str, Any]]:
    """Return every resource of a kind that a page shows whole."""
    return [each for each in yaml_blocks(page) if isinstance(each, dict) and each.get("kind") == kind]
