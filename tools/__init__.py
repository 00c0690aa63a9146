"""Programs that prepare a machine for work on this repository."""
