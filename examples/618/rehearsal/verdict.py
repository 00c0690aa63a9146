"""What the rehearsal must have seen for itself before it says that everything went well."""

from dataclasses import dataclass, field
from typing import Any

from rehearsal.abtest import ABTestSeen
from rehearsal.accounts import Accounts
from rehearsal.fraud import FraudSeen
from rehearsal.releases import Told, three
from rehearsal.snapshot import STAGES, Load, Snapshot

MOST_CUT_OFF = 0.02
"""Share of visits that may last longer than the simulator waits: somebody always looks around for minutes."""


@dataclass
class Seen:
    """Facts, gathered as they happen. `service` is the one that is to be warmed and to grow beyond its `warm` size."""

    service: str
    warm: int
    stages: list[str] = field(default_factory=list)
    warm_before_start: bool = False
    most_ready: int = 0
    """The most replicas that were ready at once while the campaign was Live."""
    most_wanted: int = 0
    fewest_after: int = 0
    """The fewest that the autoscaler wanted in Live after it had wanted the most."""
    busiest: dict[str, Load] = field(default_factory=dict)
    """By name of the metric: the most that a replica had to bear while the campaign was Live."""
    answers: int = 0
    """Pages of the shop that came while the campaign was Live."""
    unanswered: list[str] = field(default_factory=list)
    seed: int = 0
    """The seed that the crowd was to have."""
    crowd: dict[str, Any] | None = None
    channels: dict[str, int] = field(default_factory=dict)
    """Visitors of each channel, as the event store's worker tells Prometheus."""
    releases: dict[str, Told] = field(default_factory=three)
    abtest: ABTestSeen = field(default_factory=ABTestSeen)
    fraud: FraudSeen = field(default_factory=FraudSeen)
    accounts: Accounts = field(default_factory=Accounts)
    report: dict[str, Any] | None = None
    leftovers: list[str] | None = None
    """What carries the campaign's label after its end; None until somebody looked."""

    def note(self, shown: Snapshot) -> None:
        """Take one snapshot into account."""
        if shown.stage and shown.stage not in self.stages:
            self.stages.append(shown.stage)
        self.abtest.note(shown.abtest)
        now = shown.service(self.service)
        if shown.stage == "Warm" and now.ready >= self.warm:
            self.warm_before_start = True
        if shown.stage != "Live":
            return
        self.most_ready = max(self.most_ready, now.ready)
        if now.wanted > self.most_wanted:
            self.most_wanted = self.fewest_after = now.wanted
        self.fewest_after = min(self.fewest_after, now.wanted)
        for load in now.autoscaler.loads if now.autoscaler else ():
            most = self.busiest.get(load.name)
            if load.current is not None and (most is None or load.current > (most.current or 0)):
                self.busiest[load.name] = load

    def problems(self) -> list[str]:
        """Say what is missing; empty when all was seen."""
        found = []
        if self.stages != list(STAGES):
            found.append(f"the stages seen were {', '.join(self.stages) or 'none'}; expected {', '.join(STAGES)}")
        if not self.warm_before_start:
            found.append(f"{self.service} was not at its warm size of {self.warm} before the start")
        found += self._problems_of_scaling()
        if not self.answers:
            found.append("the shop answered no request while the campaign was live")
        if self.unanswered:
            found.append(f"{len(self.unanswered)} requests to the shop failed; the first: {self.unanswered[0]}")
        found += [each for told in self.releases.values() for each in told.problems()]
        found += self.abtest.problems()
        found += self.fraud.problems()
        return found + self._problems_of_the_crowd() + self._problems_of_the_end()

    def _problems_of_scaling(self) -> list[str]:
        if self.most_ready <= self.warm:
            return [f"the autoscaler never brought {self.service} above {self.warm}; most ready {self.most_ready}"]
        found = []
        if not any(load.is_high for load in self.busiest.values()):
            told = ", ".join(f"{each.current:g} {each.name} of {each.target:g}" for each in self.busiest.values())
            found.append(f"neither orders nor requests asked for more of {self.service}: {told or 'they were unknown'}")
        if self.fewest_after >= self.most_wanted:
            found.append(f"the autoscaler never took replicas from {self.service} again after the flood")
        return found

    def _problems_of_the_crowd(self) -> list[str]:
        if self.crowd is None:
            return ["the crowd left no report"]
        said, visits, found = self.crowd, self.crowd["visits"], []
        if said["failed"]:
            found.append(f"{said['failed']} of the crowd's {said['requests']} requests failed: {said['failures']}")
        if visits["turned_away"]:
            found.append(f"{visits['turned_away']} visits of the crowd were turned away for lack of places")
        if visits["cut_off"] > MOST_CUT_OFF * visits["started"]:
            found.append(f"{visits['cut_off']} of {visits['started']} visits of the crowd were cut off at its end")
        if said["event_failures"]:
            found.append(f"events of the crowd were refused: {said['event_failures']}")
        if said["seed"] != self.seed:
            found.append(f"the crowd had seed {said['seed']}, not {self.seed}")
        return found

    def _problems_of_the_end(self) -> list[str]:
        found = self.accounts.problems()
        if self.report is None or self.report.get("teardown", {}).get("remaining") != 0:
            found.append("the campaign left no report that says that nothing remains")
        if self.leftovers is None:
            found.append("nobody looked whether something is left")
        elif self.leftovers:
            found.append(f"left behind: {', '.join(self.leftovers[:10])}")
        return found
