"""Releases: how one stands, read from a Campaign's status, and what must have been seen of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Gate:
    """How far a gate is: its verdict is Pending, Running, Passed, Failed or Inconclusive."""

    name: str
    verdict: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """The release of one service, as the status tells of it."""

    service: str
    phase: str = ""
    message: str = ""
    active: str = ""
    """The revision that has the traffic."""
    slot: str = ""
    preview: str = ""
    """The revision on its way; empty where there is none."""
    number: int = 0
    """Counts the attempts."""
    gates: tuple[Gate, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it is at rest and all gates that it had have passed."""
        return self.phase == "Stable" and bool(self.gates) and all(each.verdict == "Passed" for each in self.gates)

    @property
    def stopper(self) -> Gate:
        """The gate that stopped it."""
        return next((each for each in self.gates if each.verdict == "Failed"), Gate("(none)", ""))


def releases(status: Mapping[str, Any]) -> dict[str, Release]:
    """Read the releases off a Campaign's status, by service."""
    found = {}
    for each in status.get("releases") or ():
        active, preview = each.get("active") or {}, each.get("preview") or {}
        found[each["service"]] = Release(
            service=each["service"],
            phase=each.get("phase", "Stable"),
            message=each.get("message", ""),
            active=active.get("revision", ""),
            slot=active.get("slot", ""),
            preview=preview.get("revision", ""),
            number=each.get("number", 0),
            gates=tuple(
                Gate(gate["name"], gate.get("verdict", "Pending"), gate.get("message", ""))
                for gate in each.get("gates") or ()
            ),
        )
    return found


@dataclass
class Told:
    """What the demo saw of one release: a line for its end, and what was not as claimed."""

    title: str
    line: str = ""
    asked: int = 0
    failed: list[str] = field(default_factory=list)
    """Requests while it was at work that were not answered well."""
    amiss: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """Say what is missing; empty when all was seen."""
        found = [f"{self.title}: {each}" for each in self.amiss]
        if not self.line and not found:
            found.append(f"{self.title}: it did not come to its end while the campaign was live")
        if self.line and not self.asked:
            found.append(f"{self.title}: nobody asked for anything meanwhile")
        if self.failed:
            found.append(
                f"{self.title}: {len(self.failed)} of {self.asked} requests meanwhile failed;"
                f" the first: {self.failed[0]}"
            )
        return found

    def __str__(self) -> str:
        return f"{self.line or self.title}; {len(self.failed)} of {self.asked:,} requests meanwhile failed"


def three() -> dict[str, Told]:
    """Name the releases that the demo shows: what it does not show it has not seen."""
    titles = {"fix": "the coupon's fix", "bad": "the coupon's bad release", "page": "the page's push"}
    return {name: Told(title) for name, title in titles.items()}
