"""Options of the tests of the chart."""

import os

import pytest


@pytest.fixture
def update_golden() -> bool:
    """Whether golden files are written instead of compared: UPDATE_GOLDEN=1."""
    return os.environ.get("UPDATE_GOLDEN") == "1"
