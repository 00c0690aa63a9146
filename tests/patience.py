"""How long tests wait for what must happen. Nobody waits that long, unless it does not happen."""

PATIENCE = 120.0
"""Seconds. Machines that run tests are now and then busy with something else for half a minute."""
