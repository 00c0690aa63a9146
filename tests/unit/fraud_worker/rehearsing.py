"""Those whom a behaviour sends, before the real engine and an edge that does what it decides. No network, no clock."""

import heapq
import itertools
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from flywheel.api.fraudrule import FraudRule
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.compiling import ruled_of
from flywheel.fraud.embedded import make_engine
from flywheel.fraud.policy import Rules, write_rules
from flywheel.fraud.records import Events
from flywheel.fraud.records import Rules as RulesRecord
from flywheel.fraud.rulings import Shard
from flywheel.fraud.scopes import holds
from flywheel.fraud.words import Event, Value
from flywheel.simulation.behaviour import Behaviour
from flywheel.simulation.fates import Fate, Fates, answered
from flywheel.simulation.plan import Pace, Shopper, shoppers
from flywheel.simulation.walk import Asked, walk

BEGAN = 1_795_453_200_000
CAMPAIGN = "spring"


@dataclass(slots=True)
class Going:
    """A visit under way."""

    shopper: Shopper
    way: Generator[Asked, bool]
    visitor: str
    fate: Fate = field(default_factory=Fate)


class Rehearsal:
    """One run of a behaviour against rules."""

    def __init__(self, behaviour: Behaviour, rules: Iterable[FraudRule]) -> None:
        self.fates = Fates()
        self._behaviour = behaviour
        self._book = Casebook(make_engine, Shard(secret=b"s"))
        ruled = tuple(ruled_of(each, datetime.fromtimestamp(BEGAN / 1000, UTC)) for each in rules)
        document = {CAMPAIGN: msgspec.Raw(write_rules(Rules(rules=ruled)))}
        self._tell(RulesRecord(msgspec.json.encode(document)))
        self._numbers = itertools.count(1)

    def run(self, seconds: float) -> None:
        """Let everybody come who comes within so long, and finish."""
        turns: list[tuple[float, int, Going, Asked]] = []
        come = itertools.takewhile(
            lambda each: each.at < seconds, shoppers(self._behaviour, Pace(self._behaviour.rate))
        )
        for number, shopper in enumerate(come):
            jar = shopper.member.jar if shopper.member else ""
            going = Going(shopper, walk(self._behaviour, shopper), f"v-{jar or shopper.name}")
            heapq.heappush(turns, (shopper.at, number, going, next(going.way)))
        while turns:
            _, number, going, asked = heapq.heappop(turns)
            served = self._ask(going, asked)
            following = self._goes_on(going, served)
            if following is None:
                self.fates.end(going.shopper.member, going.visitor, going.fate)
            else:
                heapq.heappush(turns, (following.at, number, going, following))

    def hits(self, rule: str) -> int:
        """Verdicts of a rule."""
        return next(each.hits for each in self._book.desk(CAMPAIGN).engine.figures() if each.rule == rule)

    def _goes_on(self, going: Going, served: bool) -> Asked | None:
        try:
            return going.way.send(served)
        except StopIteration:
            return None

    def _ask(self, going: Going, asked: Asked) -> bool:
        """Ask the edge for a page; tell whether it came, after the events that follow have been judged."""
        now = BEGAN + round(asked.at * 1000)
        path = asked.step.path.replace("{entry}", going.shopper.entry)
        status = self._status(going, path, now)
        going.fate.note(answered(self._behaviour.stops, status, ""))
        if status != 200:
            return False
        events = tuple(self._event(going, track.event, now) for track in asked.step.track)
        if events:
            self._tell(Events(CAMPAIGN, "edge", next(self._numbers), events))
        return True

    def _status(self, going: Going, path: str, now: int) -> int:
        blocks = self._book.desk(CAMPAIGN).blocks
        subjects = (("address", going.shopper.address), ("visitor", going.visitor))
        for each in (each for subject in subjects for each in blocks.at(*subject, now)):
            if each.action == "Block" and each.is_for_the_edge and holds(each, path):
                return each.status
        return 200

    def _event(self, going: Going, name: str, now: int) -> Event:
        member = going.shopper.member
        fields: dict[str, Value] = {"device": member.device} if member else {}
        return Event(
            id=f"m-{next(self._numbers)}",
            name=name,
            time=now,
            arrived=now,
            address=going.shopper.address,
            visitor=going.visitor,
            user=member.user if member else "",
            fields=fields,
        )

    def _tell(self, record: RulesRecord | Events) -> None:
        for _ in self._book.apply(record):
            pass
