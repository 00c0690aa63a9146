"""A service with two slots and pods that start, fail and crash as told: enough to play releases through in no time."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from flywheel.api.release import Release
from flywheel.release.facts import Facts, SlotFacts
from flywheel.release.gate.measurement import Measurement, Outcome
from flywheel.release.groups import advance_all
from flywheel.release.manifests import slot_plans
from flywheel.release.state import SLOTS, ReleaseState, read_releases, write_release
from flywheel.release.step import Step
from flywheel.workload.scaling import Size

NOON = datetime(2027, 6, 16, 12, 0, tzinfo=UTC)
GOOD = Measurement(Outcome.SUCCESS, "as wanted")
BAD = Measurement(Outcome.FAILURE, "answered 500, wanted 200")
BLIND = Measurement(Outcome.ERROR, "no such metric")
EMPTY = Measurement(Outcome.NO_DATA, "nothing to see")


def release(**fields: Any) -> Release:
    return Release.model_validate({"strategy": "BlueGreen", "keepPrevious": "60s", "keepFailed": "60s", **fields})


def http(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "http": {"path": "/check"}, **fields}


@dataclass
class Service:
    """One service: its spec, its pods, and the record of its release."""

    name: str
    spec: Release
    wanted: str | None = "one"
    size: Size = field(default_factory=lambda: Size(replicas=3))
    state: ReleaseState | None = None
    slots: dict[str, SlotFacts] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    """Revisions whose pods never become ready, or have crashed."""
    answers: dict[str, list[Measurement]] = field(default_factory=dict)
    """What the gate of a name finds, one after the other; the last one again and again; nothing said: all is well."""
    asked: list[tuple[str, str, str, int]] = field(default_factory=list)
    """Measurements made: revision, stage, gate, number."""
    annotations: dict[str, str] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    standing_in: SlotFacts | None = None
    results: dict[tuple[str, str, int], Measurement] = field(default_factory=dict)
    scaled: int | None = None
    """What the autoscaler made of it."""
    served: list[str] = field(default_factory=list)
    """Revisions that had the traffic, in their order."""


class World:
    """Some services, reconciled as the operator does it: decide, write down, carry out."""

    def __init__(self, *services: Service) -> None:
        self.services = {each.name: each for each in services}
        self.now = NOON
        self.followed = True
        self.running = True
        self.releasing = True
        self.steps: Mapping[str, Step] = {}
        self.changes: list[str] = []

    @classmethod
    def of(cls, **spec: Any) -> "World":
        """A world with one service that serves its first revision."""
        world = cls(Service("shop", release(**spec)))
        world.settle()
        return world

    @property
    def shop(self) -> Service:
        return self.services["shop"]

    @property
    def state(self) -> ReleaseState:
        state = self.shop.state
        assert state is not None
        return state

    @property
    def phase(self) -> str:
        return self.state.phase

    @property
    def serving(self) -> str:
        assert self.state.active
        return self.state.active.revision

    def command(self, name: str, value: str) -> None:
        self.shop.annotations[f"flywheel.dev/{name}"] = value

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.settle()

    def settle(self, rounds: int = 40) -> None:
        """Reconcile until nothing moves any more at this moment."""
        for _ in range(rounds):
            before = [(each.state, dict(each.slots), dict(each.results)) for each in self.services.values()]
            self.reconcile()
            self.work()
            if before == [(each.state, dict(each.slots), dict(each.results)) for each in self.services.values()]:
                return
        raise AssertionError(f"does not come to rest: {self.state}")

    def reconcile(self) -> None:
        """Decide and write down."""
        states = {name: each.state or ReleaseState(service=name) for name, each in self.services.items()}
        # As a status that went to the API server and came back.
        status = {"releases": [write_release(state) for state in states.values()]}
        states = read_releases(status)
        facts = {name: self.facts(each) for name, each in self.services.items()}
        self.steps = advance_all(states, facts, self.now)
        for name, step in self.steps.items():
            service = self.services[name]
            service.state = step.state
            active = step.state.active
            if active and (not service.served or service.served[-1] != active.revision):
                service.served.append(active.revision)

    def facts(self, service: Service) -> Facts:
        return Facts(
            spec=service.spec,
            wanted=service.wanted,
            slots=service.slots,
            least=service.size.floor,
            running=self.running,
            releasing=self.releasing,
            followed=self.followed,
            lag="" if self.followed else "edge pod edge-1",
            results=service.results,
            annotations=service.annotations,
            known=frozenset(service.known),
            standing_in=service.standing_in,
        )

    def work(self) -> None:
        """Let Deployments and gates do what is wanted of them."""
        for name, service in self.services.items():
            self._pods(service)
            due = self.steps[name].due
            state = service.state
            if due is not None and state is not None:
                current = state.preview or state.active
                assert current is not None
                look = (current.revision, due.stage, due.gate.name, due.number)
                assert look not in service.asked or (due.stage, due.gate.name, due.number) not in service.results
                service.asked.append(look)
                service.results = {(due.stage, due.gate.name, due.number): self._found(service, due.gate.name)}
            else:
                service.results = {}

    @staticmethod
    def _found(service: Service, gate: str) -> Measurement:
        answers = service.answers.get(gate, [])
        return GOOD if not answers else answers.pop(0) if len(answers) > 1 else answers[0]

    def _pods(self, service: Service) -> None:
        assert service.state is not None
        plans = slot_plans(service.state, self.facts(service), service.size)
        for slot in SLOTS:
            plan = plans.get(slot)
            if plan is None:
                service.slots.pop(slot, None)
                continue
            before = service.slots.get(slot, SlotFacts())
            wanted = plan.replicas
            if wanted is None:
                wanted = max(service.scaled or before.desired, service.size.minimum or 0)
            ready = 0 if plan.revision in service.broken else wanted
            service.slots[slot] = SlotFacts(plan.revision, wanted, ready, settled=True)
            service.known.add(plan.revision)

    def scale(self, pods: int) -> None:
        """Let the autoscaler choose another size for the active slot."""
        self.shop.scaled = pods
        active = self.state.active
        assert active
        self.shop.slots[active.slot] = replace(self.shop.slots[active.slot], desired=pods, ready=pods)
