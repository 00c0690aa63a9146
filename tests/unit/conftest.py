"""How property tests run: no deadlines, as machines differ, and the seed of a failure is printed."""

import os

from hypothesis import settings

settings.register_profile("flywheel", deadline=None, print_blob=True)
settings.load_profile("flywheel")

# Tests that run side by side are given the size of a terminal that is not there; programs would fit their output to it.
for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)
