"""The A/B test of the sale: how it stands, read from its status, and what must have been seen of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rehearsal.crowd import Sighting
from rehearsal.releases import Told

SHOWN = {"red": "red", "green-button": "green"}
"""What shoppers see of each variant, by the names that shoppers.yaml has for it."""
WINNER = "green-button"
LAG = timedelta(seconds=15)
"""How long an exposure may take until the event store has it, on a node that is busy with a crowd."""
GUESTS = 5
"""People who were there and are no shoppers of the crowd: the visitor at this machine, and whom the demo invited."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A variant: the figures are texts, as the status has them; empty while there are none."""

    name: str
    visitors: int = 0
    conversions: int | None = None
    value: str = ""
    estimate: str = ""
    low: str = ""
    high: str = ""

    def __str__(self) -> str:
        claimed = "" if self.conversions is None else f", {self.conversions} claimed"
        return f"{self.name} {self.visitors} visitors{claimed}"

    @property
    def compared(self) -> str:
        """How it compares with the control; empty while that cannot be told."""
        return f"{self.estimate} [{self.low} to {self.high}]" if self.estimate else ""


@dataclass(frozen=True, slots=True)
class ABTestView:
    """How the test stands."""

    name: str
    state: str = ""
    message: str = ""
    arms: tuple[Arm, ...] = ()
    """The control first."""
    started_at: datetime | None = None
    counted_at: datetime | None = None
    """Up to when visitors are counted in the figures."""
    verdict: str = ""
    winner: str = ""
    reason: str = ""

    @property
    def visitors(self) -> int:
        """Of all arms."""
        return sum(each.visitors for each in self.arms)


def abtest_view(manifest: Mapping[str, Any]) -> ABTestView:
    """Read an ABTest."""
    status, decision = manifest.get("status") or {}, (manifest.get("status") or {}).get("decision") or {}
    ready: Mapping[str, Any] = next((each for each in status.get("conditions") or () if each["type"] == "Ready"), {})
    controls = [each["name"] for each in manifest["spec"]["variants"] if each.get("control")]
    told = sorted(status.get("variants") or (), key=lambda each: each["name"] not in controls)
    return ABTestView(
        name=manifest["metadata"]["name"],
        state=status.get("state", ""),
        message=ready.get("message", ""),
        arms=tuple(_arm(each) for each in told),
        started_at=_moment(status.get("startedAt")),
        counted_at=_moment(status.get("updatedAt")),
        verdict=decision.get("verdict", ""),
        winner=decision.get("winner", ""),
        reason=decision.get("reason", ""),
    )


def _arm(told: Mapping[str, Any]) -> Arm:
    interval = told.get("interval") or {}
    return Arm(
        told["name"],
        told.get("visitors", 0),
        told.get("conversions"),
        told.get("value", ""),
        told.get("estimate", ""),
        interval.get("low", ""),
        interval.get("high", ""),
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def in_words(view: ABTestView) -> str:
    """Tell the figures in one line."""
    compared = "; ".join(f"{each.name} {each.compared}" for each in view.arms if each.compared)
    return "; ".join(each for each in (*map(str, view.arms), compared) if each)


def abtest_changes(before: ABTestView | None, after: ABTestView | None) -> list[str]:
    """Say in one line each what changed."""
    if after is None:
        return []
    lines = []
    if before is None or before.state != after.state:
        came = before.state if before else ""
        why = f": {after.message}" if after.message and after.state != "Running" and not after.verdict else ""
        lines.append(f"abtest    {after.name}: {came or '(new)'} -> {after.state or '(not looked at yet)'}{why}")
    if after.visitors and (before is None or before.arms != after.arms):
        lines.append(f"abtest    {in_words(after)}")
    if after.reason and (before is None or before.reason != after.reason):
        lines.append(f"abtest    {after.verdict}: {after.reason}")
    return lines


@dataclass
class ABTestSeen:
    """Facts of the test, gathered as they happen."""

    told: Told = field(default_factory=lambda: Told("the A/B test"))
    """Its end in one line, and what became of requests from the opening of the sale until the winner was released."""
    last: ABTestView | None = None
    sightings: Sequence[Sighting] = ()
    """How many shoppers had seen what, as they counted it themselves."""
    fresh: Counter[str] = field(default_factory=Counter)
    """What new visitors saw after the promotion, by the name of the variant; what is none of them by an empty name."""

    def note(self, view: ABTestView | None) -> None:
        """Take one look into account."""
        self.last = view or self.last

    def problems(self) -> list[str]:
        """Say what is missing; empty when all was seen."""
        if self.last is None or not self.last.state:
            return ["nothing was seen of the A/B test"]
        found, last = self.told.problems(), self.last
        if (last.verdict, last.winner) != ("Ship", WINNER):
            verdict = f"{last.verdict} {last.winner}".strip() or "nothing"
            why = f": {last.reason or last.message}" if last.reason or last.message else ""
            found.append(f"{last.name} is {last.state} and has decided {verdict}, not Ship {WINNER}{why}")
        elif last.state != "Promoted":
            found.append(f"{last.name} has found {WINNER} better, but is {last.state}, not Promoted")
        if self.fresh.keys() != {WINNER}:
            saw = ", ".join(f"{count} {name or 'another page'}" for name, count in sorted(self.fresh.items()))
            found.append(f"after the promotion new visitors were to see {WINNER}; they saw {saw or 'nothing'}")
        return found + unexplained(last, self.sightings)


def unexplained(view: ABTestView, sightings: Sequence[Sighting]) -> list[str]:
    """Say where the visitors of the test are fewer or more than the shoppers' own count can explain.

    At least those whom the shoppers counted between the start of the test and its last look. At most everybody whom
    they ever counted until then: whoever saw the page before the start, and came again, is new to the test. Bots are
    left out by both.
    """
    if view.started_at is None or view.counted_at is None or not sightings:
        return [f"the visitors of {view.name} could not be compared with the shoppers' own count"]
    since, until = _at(sightings, view.started_at), _at(sightings, view.counted_at)
    sure = _before(sightings, view.counted_at - LAG)
    found = []
    for arm in view.arms:
        seen = SHOWN.get(arm.name, "")
        least, most = sure.get(seen, 0) - since.get(seen, 0), until.get(seen, 0) + GUESTS
        if not least <= arm.visitors <= most:
            found.append(
                f"{view.name} counted {arm.visitors} visitors of {arm.name}; the shoppers' own count explains {least}"
                f" to {most}"
            )
    return found


def _at(sightings: Sequence[Sighting], moment: datetime) -> Mapping[str, int]:
    """Give the first count that was made at a moment or after it."""
    return next((each.counts for each in sightings if each.at >= moment), sightings[-1].counts)


def _before(sightings: Sequence[Sighting], moment: datetime) -> Mapping[str, int]:
    """Give the last count that was made before a moment."""
    earlier = [each.counts for each in sightings if each.at < moment]
    return earlier[-1] if earlier else {}
