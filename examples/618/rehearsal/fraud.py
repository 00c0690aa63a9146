"""Rules on fraud in the rehearsal: how they stand, whom they stopped, and what must have been seen of it."""

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rehearsal.fraud_trial import TrialView

Manifest = dict[str, Any]
STOPPED = re.compile(r"([0-9,]+) of ([0-9,]+) (dishonest|honest) visits stopped")
LEAST_STOPPED = 0.5
"""Share of the dishonest visits, once the rules are enforced: those who come first are what it costs to know."""
FEWEST_HONEST = 20
"""Honest visits that must have been made meanwhile: where nobody came, nobody was harmed."""


@dataclass(frozen=True, slots=True)
class RuleView:
    """How a rule stands."""

    name: str
    mode: str
    is_loaded: bool = False
    """Whether all workers judge by its latest spec."""
    hits: int = 0
    would: int = 0
    blocked: int = 0
    message: str = ""

    def __str__(self) -> str:
        done = f"{self.would} would have been acted on" if self.mode == "Shadow" else f"{self.blocked} acted on"
        return f"{self.name} in {self.mode}: {self.hits} hits, {done}"


def rule_view(manifest: Mapping[str, Any]) -> RuleView:
    """Read a FraudRule."""
    status = manifest.get("status") or {}
    ready: Mapping[str, Any] = next((each for each in status.get("conditions") or () if each["type"] == "Ready"), {})
    is_new = status.get("loadedGeneration") == manifest["metadata"].get("generation")
    return RuleView(
        name=manifest["metadata"]["name"],
        mode=status.get("mode") or manifest["spec"].get("mode", "Shadow"),
        is_loaded=is_new and ready.get("status") == "True",
        hits=status.get("hits", 0),
        would=status.get("wouldBlock", 0),
        blocked=status.get("blocked", 0),
        message=ready.get("message", ""),
    )


def enforced(rules: Sequence[Manifest]) -> list[Manifest]:
    """Return the rules with those enforced that are in Shadow; all else as it is written."""
    made = copy.deepcopy(list(rules))
    for each in made:
        each["spec"] |= {"mode": "Enforce"} if each["spec"].get("mode") == "Shadow" else {}
    return made


@dataclass(frozen=True, slots=True)
class Stopped:
    """Visits so far, and how many of them the edge stopped."""

    dishonest: int = 0
    of_dishonest: int = 0
    honest: int = 0
    of_honest: int = 0

    def since(self, before: "Stopped") -> "Stopped":
        """Give those who came after another count."""
        return Stopped(
            self.dishonest - before.dishonest,
            self.of_dishonest - before.of_dishonest,
            self.honest - before.honest,
            self.of_honest - before.of_honest,
        )

    def __str__(self) -> str:
        blocked, harmed = _percent(self.dishonest, self.of_dishonest), _percent(self.honest, self.of_honest)
        return (
            f"{self.dishonest} of {self.of_dishonest} dishonest visits blocked ({blocked}),"
            f" {self.honest} of {self.of_honest} honest ones harmed ({harmed})"
        )


def stopped_so_far(log: str) -> Stopped:
    """Find in a simulator's log what it said last of those whom the edge stopped."""
    for line in reversed(log.splitlines()):
        if found := {truth: (_count(part), _count(whole)) for part, whole, truth in STOPPED.findall(line)}:
            return Stopped(*found.get("dishonest", (0, 0)), *found.get("honest", (0, 0)))
    return Stopped()


def stopped_in_all(report: Mapping[str, Any]) -> Stopped:
    """Read a simulator's report."""
    dishonest, honest = (report["fates"][truth] for truth in ("dishonest", "honest"))
    stopped = (each["blocked"] + each["challenged"] for each in (dishonest, honest))
    return Stopped(next(stopped), dishonest["visits"], next(stopped), honest["visits"])


@dataclass
class FraudSeen:
    """Facts, gathered as they happen."""

    shadow: tuple[RuleView, ...] = ()
    """The rules while they only looked, at their end."""
    tried: tuple[TrialView, ...] = ()
    """The rules on what was until then."""
    enforced: tuple[RuleView, ...] = ()
    before: Stopped = Stopped()
    """Those who were stopped until the rules were enforced: nobody."""
    after: Stopped | None = None
    """Those who came since then; None until all have come."""
    groups: Mapping[str, Any] = field(default_factory=dict)
    """Of all: what the simulator reports of each group."""
    visits: int = 0
    amiss: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """Say what is missing; empty when all was seen."""
        found = [f"rules on fraud: {each}" for each in self.amiss]
        if self.after is None:
            return found or ["rules on fraud: they did not come to their end while the campaign was live"]
        if not any(each.hits for each in self.tried):
            found.append("rules on fraud: they were not tried on the past, or would have hit nobody there")
        if self.before.dishonest or self.before.honest:
            found.append(f"rules on fraud: somebody was stopped while they were in Shadow: {self.before}")
        if self.after.dishonest < LEAST_STOPPED * max(1, self.after.of_dishonest):
            found.append(f"rules on fraud: most hunters went free: {self.after}")
        if self.after.honest:
            found.append(f"rules on fraud: the honest were harmed: {self.after}")
        if self.after.of_honest < FEWEST_HONEST:
            found.append(f"rules on fraud: too few honest ones came to say anything: {self.after}")
        return found


def kinds_told(groups: Mapping[str, Any]) -> Iterable[str]:
    """Tell in a line each how the edge met the groups: the dishonest first."""
    for name, told in sorted(groups.items(), key=lambda each: (each[1]["truth"] == "Honest", each[0])):
        share = "–" if told["stopped_share"] is None else f"{told['stopped_share']:.0%}"
        yield f"{name:<17} {told['truth'].lower():<10} {told['visits']:>4} visits, {share} stopped"


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "–"


def _count(text: str) -> int:
    return int(text.replace(",", ""))
