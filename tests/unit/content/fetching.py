"""What the tests of fetching have in common."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flywheel.release.content.fetch import Order, fetch
from flywheel.release.content.source import ContentProblem

PAGE = "<h1>618</h1>\n" * 500


def files(into: Path) -> dict[str, bytes]:
    """What was published, without the packed copies."""
    site = into / "site"
    found = {str(path.relative_to(site)): path.read_bytes() for path in site.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if not name.endswith(".gz")}


def refusal(order: Order, into: Path, commit: str, **changes: Any) -> ContentProblem:
    with pytest.raises(ContentProblem) as caught:
        fetch(replace(order, commit=commit, **changes), into)
    assert not list(into.iterdir()), "nothing is published, and nothing is left behind"
    return caught.value
