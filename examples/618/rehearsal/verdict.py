"""What the rehearsal must have seen for itself before it says that everything went well."""

from dataclasses import dataclass, field
from typing import Any

from rehearsal.snapshot import STAGES, Snapshot


@dataclass
class Seen:
    """Facts, gathered as they happen. `service` is the one that is to be warmed and to grow beyond its `warm` size."""

    service: str
    warm: int
    stages: list[str] = field(default_factory=list)
    warm_before_start: bool = False
    most_ready: int = 0
    """The most replicas that were ready at once while the campaign was Live."""
    answers: int = 0
    """Pages of the shop that came while the campaign was Live."""
    unanswered: list[str] = field(default_factory=list)
    crowd: dict[str, Any] | None = None
    report: dict[str, Any] | None = None
    leftovers: list[str] | None = None
    """What carries the campaign's label after its end; None until somebody looked."""

    def note(self, shown: Snapshot) -> None:
        """Take one snapshot into account."""
        if shown.stage and shown.stage not in self.stages:
            self.stages.append(shown.stage)
        ready = shown.service(self.service).ready
        if shown.stage == "Warm" and ready >= self.warm:
            self.warm_before_start = True
        if shown.stage == "Live":
            self.most_ready = max(self.most_ready, ready)

    def problems(self) -> list[str]:
        """Say what is missing; empty when all was seen."""
        found = []
        if self.stages != list(STAGES):
            found.append(f"the stages seen were {', '.join(self.stages) or 'none'}; expected {', '.join(STAGES)}")
        if not self.warm_before_start:
            found.append(f"{self.service} was not at its warm size of {self.warm} before the start")
        if self.most_ready <= self.warm:
            found.append(f"the autoscaler never brought {self.service} above {self.warm}; most ready {self.most_ready}")
        if not self.answers:
            found.append("the shop answered no request while the campaign was live")
        if self.unanswered:
            found.append(f"{len(self.unanswered)} requests to the shop failed; the first: {self.unanswered[0]}")
        return found + self._problems_of_the_crowd() + self._problems_of_the_end()

    def _problems_of_the_crowd(self) -> list[str]:
        if self.crowd is None:
            return ["the crowd left no report"]
        said = self.crowd
        if said["failed"]:
            return [f"{said['failed']} of the crowd's {said['requests']} requests failed: {said['answers']}"]
        return []

    def _problems_of_the_end(self) -> list[str]:
        found = []
        if self.report is None or self.report.get("teardown", {}).get("remaining") != 0:
            found.append("the campaign left no report that says that nothing remains")
        if self.leftovers is None:
            found.append("nobody looked whether something is left")
        elif self.leftovers:
            found.append(f"left behind: {', '.join(self.leftovers[:10])}")
        return found
