"""One thing that is wrong with a resource, said for the person who wrote it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """What is wrong, where, and what to do about it."""

    path: str
    """Where, as a person would find it in the file: `spec.services[2].autoscaling.max`."""
    message: str
    """What is wrong and the remedy, in one or two sentences without the path."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"
