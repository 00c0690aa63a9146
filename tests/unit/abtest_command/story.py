"""A test of a button over some days, by the operator's own rules: what its status says then, and its report."""

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from flywheel.api.load import load_abtest
from flywheel.experiment.machine import Facts, advance
from flywheel.experiment.plan import design_digest, size_of
from flywheel.experiment.report_model import (
    ArmAt,
    Day,
    LookAt,
    Report,
    ReportDesign,
    VariantAt,
    VariantDesign,
    report_name,
    with_look,
)
from flywheel.experiment.state import ABTestState
from flywheel.experiment.told import Numbers, Pods, status_of
from flywheel.experiment.told_model import ToldChecks, ToldDecision, ToldMetric, ToldVariant
from flywheel.experiment.verdicts import judged
from flywheel.insight.arms import ArmFigures, Sums

BEGAN = datetime(2027, 6, 16, 0, 0, tzinfo=UTC)
HYPOTHESIS = "绿色按钮让更多人领取优惠券 — a green button brings more people to claim the coupon"
UID = "0f3b1c9e-7f55-4b7e-9f0a-2f5f0f3d4f11"


def abtest(name: str = "button", **spec: Any) -> dict[str, Any]:
    """An ABTest as the API server has it, without a status."""
    return {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "ABTest",
        "metadata": {
            "name": name,
            "namespace": "spring",
            "uid": UID,
            "resourceVersion": "7",
            "generation": 1,
            "creationTimestamp": "2027-06-15T12:00:00Z",
            "annotations": {},
        },
        "spec": {
            "campaign": "yougou-618",
            "service": "landing",
            "hypothesis": HYPOTHESIS,
            "variants": [
                {"name": "red", "control": True, "weight": "50%"},
                {"name": "lime", "weight": "50%", "override": {"env": [{"name": "BUTTON", "value": "lime"}]}},
            ],
            "metrics": {
                "primary": {"event": "Coupon Claimed", "minimumEffect": "10%"},
                "secondary": [{"name": "Revenue per visitor", "sum": "Order Completed.revenue"}],
                "guardrails": [{"errors": True, "maxIncrease": "0.5%"}, {"event": "Left", "maxIncrease": "40%"}],
            },
            **spec,
        },
        "status": {},
    }


@dataclass
class Story:
    """One test, and what visitors do by variant: the share of them that claims."""

    manifest: dict[str, Any] = field(default_factory=abtest)
    shares: dict[str, float] = field(default_factory=lambda: {"red": 0.081, "lime": 0.092})
    leaving: dict[str, float] = field(default_factory=dict)
    per_day: int = 6000
    looks_a_day: int = 12
    split: dict[str, float] = field(default_factory=dict)
    state: ABTestState = field(default_factory=ABTestState)
    looks: tuple[LookAt, ...] = ()
    days: dict[str, dict[str, ArmAt]] = field(default_factory=dict)
    numbers: Numbers | None = None
    now: datetime = BEGAN

    def run(self, days: float, *, seed: int = 3) -> "Story":
        """Let visitors come for some days, or until there is a verdict."""
        chance = random.Random(seed)
        test = load_abtest(self.manifest)
        facts = Facts(
            salt=test.salt,
            segments=((0, 10000),),
            design=design_digest(test),
            weights={each.name: each.weight for each in test.spec.variants},
        )
        self.state = advance(self.state, facts, self.now)
        self.state = msgspec.structs.replace(self.state, sizing=size_of(test, self.shares["red"]))
        held = {each.name: [0.0] * 8 for each in test.spec.variants}
        for _ in range(round(days * self.looks_a_day)):
            self.now += timedelta(days=1 / self.looks_a_day)
            for name, sums in held.items():
                share = self.split.get(name, test.spec.control.weight / 10000)
                visitors = self._visitors(chance, share)
                self._count(chance, name, visitors, sums)
            arms = {name: figures(sums) for name, sums in held.items()}
            self.numbers, looked = judged(test, self.state, self.state.sizing, arms, self.now)
            self.looks = with_look(self.looks, look_at(self.now, self.numbers))
            self.state = advance(self.state, replace(facts, looked=looked, asked_at=self.now), self.now)
            if self.state.state != "Running":
                break
        self.write()
        return self

    def _visitors(self, chance: random.Random, share: float) -> int:
        weekend = 1.35 if self.now.weekday() >= 5 else 1.0
        expected = self.per_day / self.looks_a_day * share * weekend
        return max(0, round(chance.gauss(expected, expected**0.5)))

    def _count(self, chance: random.Random, name: str, visitors: int, sums: list[float]) -> None:
        share, leaving = self.shares[name], self.leaving.get(name, 0.1)
        claimed = sum(chance.random() < share for _ in range(visitors))
        left = sum(chance.random() < leaving for _ in range(visitors))
        spent = [chance.lognormvariate(3.4, 0.9) for _ in range(visitors) if chance.random() < share / 2]
        failed = sum(chance.random() < 0.002 for _ in range(visitors))
        added = (visitors, claimed, sum(spent), sum(each * each for each in spent), left, failed, 0, 0)
        for at, each in enumerate(added):
            sums[at] += each
        day = self.days.setdefault(f"{self.now - timedelta(seconds=1):%Y-%m-%d}", {})
        before = day.get(name, ArmAt(visitors=0, total=0.0))
        day[name] = ArmAt(visitors=before.visitors + visitors, total=(before.total or 0.0) + claimed)

    def write(self, **changes: Any) -> None:
        """Write the status."""
        test = load_abtest(self.manifest)
        status = status_of(
            test,
            self.state,
            self.manifest["status"],
            [{"type": "Ready", "status": "True", "reason": self.state.reason, "message": self.state.message}],
            numbers=self.numbers,
            pods={"lime": Pods("yougou-618-landing-lime", 2, 2)},
            ends_at=BEGAN + timedelta(days=14),
            now=self.now,
        )
        self.manifest["status"] = {**status, "report": report_name(test.name), **changes}

    def report(self, **changes: Any) -> Report:
        """The report as the operator keeps it."""
        status, spec = self.manifest["status"], self.manifest["spec"]
        test = load_abtest(self.manifest)
        sizing = self.state.sizing
        made = Report(
            test=test.name,
            namespace=test.namespace,
            campaign=test.spec.campaign,
            service=test.spec.service,
            hypothesis=test.spec.hypothesis or "",
            state=self.state.state,
            started_at=self.state.started_at,
            ended_at=self.state.ended_at,
            updated_at=self.state.looked_at,
            time_zone="Asia/Shanghai",
            design=ReportDesign(
                minimum_effect=test.spec.metrics.primary.minimum_effect,
                primary=test.spec.metrics.primary.label,
                variant_cap=sizing.variant_cap if sizing else None,
                control_cap=sizing.control_cap if sizing else None,
                baseline=sizing.baseline if sizing else None,
                minimum_duration=86400,
                maximum_duration=14 * 86400,
                variants=tuple(
                    VariantDesign(
                        name=each["name"],
                        control=each.get("control", False),
                        weight=float(each["weight"][:-1]) / 100,
                        override=each.get("override", {}),
                    )
                    for each in spec["variants"]
                ),
            ),
            looks=self.looks,
            primary=msgspec.convert(status.get("primary"), ToldMetric | None),
            secondary=msgspec.convert(status.get("secondary", ()), tuple[ToldMetric, ...]),
            checks=msgspec.convert(status.get("checks", {}), ToldChecks),
            variants=msgspec.convert(status["variants"], tuple[ToldVariant, ...]),
            days=tuple(Day(day=name, arms=arms) for name, arms in sorted(self.days.items())),
            decision=msgspec.convert(status.get("decision"), ToldDecision | None),
        )
        return msgspec.structs.replace(made, **changes)


def figures(sums: list[float]) -> ArmFigures:
    """What the store says of an arm."""
    visitors, claimed, spent, squared, left, failed, *_ = sums
    requests = Sums(failed, failed, 3 * visitors, 9 * visitors, 3 * failed)
    return ArmFigures(
        visitors=round(visitors),
        outcomes=(Sums(claimed, claimed), Sums(spent, squared), Sums(left, left)),
        requests=requests,
        requesters=round(visitors),
    )


def look_at(at: datetime, numbers: Numbers) -> LookAt:
    """What a report keeps of a look."""
    analysis = numbers.analysis
    assert analysis is not None
    arms = {
        name: ArmAt(
            visitors=each.visitors,
            total=each.outcomes[0].y,
            value=each.outcomes[0].y / each.visitors if each.visitors else None,
        )
        for name, each in numbers.arms.items()
    }
    variants = {}
    for each in analysis.findings:
        interval, lift = each.look.interval, each.lift
        variants[each.name] = VariantAt(
            difference=each.effect.difference,
            lower=interval.lower,
            upper=interval.upper,
            lift=lift.estimate if lift else None,
            lift_lower=lift.lower if lift else None,
            lift_upper=lift.upper if lift else None,
        )
    return LookAt(at=at, ratio_p=analysis.ratio.p_value, arms=arms, variants=variants)
