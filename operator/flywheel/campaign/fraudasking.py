"""What may come of asking a fraud worker. Pure."""


class NotAnswered(Exception):  # noqa: N818 - a state of the world
    """A worker could not be asked. The text says why."""
