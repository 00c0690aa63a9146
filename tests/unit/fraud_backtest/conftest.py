"""The store of the tests of key figures, and rules as people write them."""

from tests.unit.insight.conftest import Bench, bench

__all__ = ["Bench", "bench"]
