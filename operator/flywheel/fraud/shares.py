"""Parts of the keys, as workers share them. Pure; whose a key is, `sharding` says."""

from typing import NamedTuple

MOST = 64
"""Workers of a namespace."""


class Share(NamedTuple):
    """A part of the keys: those of one shard, and among them those that another one had before."""

    number: int = 0
    of: int = 1
    """How many shards there are. With 0 the part is empty."""
    came_from: tuple[int, int] = (0, 1)
    """The shard that they belonged to before, and of how many."""

    @property
    def is_all(self) -> bool:
        """Whether these are all keys there are."""
        return self.of == 1 and self.came_from[1] == 1
