"""What may come of asking fraud workers. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit


class NotAnswered(Exception):  # noqa: N818 - a state of the world
    """A worker could not be asked. The text says why."""


@dataclass(slots=True)
class Asked:
    """What came of asking all workers of a namespace."""

    bodies: dict[str, bytes]
    """What each says of itself, by its address."""
    missing: dict[str, str] = field(default_factory=dict)
    """Why others said nothing, by their address."""


def by_pod(missing: Mapping[str, str]) -> dict[str, str]:
    """Give who does not answer by the name of its pod, and why."""
    return {pod_of(address): why for address, why in missing.items()}


def pod_of(address: str) -> str:
    """Give the name of the pod in an address such as http://flywheel-fraud-0.flywheel-fraud.shop.svc:9105."""
    return (urlsplit(address).hostname or address).partition(".")[0]


def number_of(address: str) -> int:
    """Give the number of the worker at an address; 0 where the name of its pod tells none."""
    _, dash, number = pod_of(address).rpartition("-")
    return int(number) if dash and number.isdecimal() else 0
