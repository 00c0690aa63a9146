"""In which order files of tests are begun."""

import pytest


def longest_first(items: list[pytest.Item], files: tuple[str, ...]) -> None:
    """Begin with the files that take longest: of two processes, one would have to wait for them at the end."""
    items.sort(key=lambda item: files.index(item.path.name) if item.path.name in files else len(files))
