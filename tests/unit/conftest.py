"""How property tests run: no deadlines, as machines differ, and the seed of a failure is printed."""

from hypothesis import settings

settings.register_profile("flywheel", deadline=None, print_blob=True)
settings.load_profile("flywheel")
