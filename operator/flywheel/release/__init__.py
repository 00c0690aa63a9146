"""Releases: two slots of a service, gates before and after the switch, the way back; content from Git."""
