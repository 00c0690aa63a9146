"""How property tests run: the same examples each time, and without a look at the clock, as machines differ.

So a run says something of the change that it is for. `--hypothesis-profile=explore` looks for new examples.
"""

import gc
import os

from hypothesis import HealthCheck, settings

_machines_differ = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", _machines_differ, derandomize=False)
settings.register_profile("flywheel", _machines_differ, derandomize=True, database=None)
settings.load_profile("flywheel")

# Tests that run side by side are given the size of a terminal that is not there; programs would fit their output to it.
for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)


def pytest_collection_finish() -> None:
    """Spare the garbage collector all that collecting has made, at each of its rounds."""
    gc.freeze()
