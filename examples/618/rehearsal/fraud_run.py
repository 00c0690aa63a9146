"""The rules of `fraudrules.yaml` before the hunters of `hunters.yaml`: in Shadow, tried on the past, then enforced."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import yaml
from tests.lab.cluster.client import Cluster, CommandFailedError

from flywheel.simulation.read import read_behaviour
from rehearsal.books import FLYWHEEL
from rehearsal.crowd import crowd, read_report
from rehearsal.fraud import (
    FraudSeen,
    Manifest,
    RuleView,
    enforced,
    kinds_told,
    rule_view,
    stopped_in_all,
    stopped_so_far,
)
from rehearsal.fraud_trial import TrialView, have_hit, trials_told
from rehearsal.observer import Observer
from rehearsal.screen import Screen

EXAMPLE = Path(__file__).resolve().parents[1]
RULES_FILE, HUNTERS_FILE = EXAMPLE / "fraudrules.yaml", EXAMPLE / "hunters.yaml"
NAME = "hunters"
HUNT_SECONDS = 90
SINGLES_RATE = 0.2
"""Single shoppers a second beside the groups: the crowd is there as well."""
LOADED_SECONDS = 120.0
"""How long the worker may take from the first rule until it judges, on a node that is busy with a sale."""
FOUND_SECONDS = 60.0
TRIED_SECONDS = 40.0
"""How long the event store may take until it has those whom the worker has found."""
ENFORCED_SECONDS = 30.0
GOING_HOME_SECONDS = 60.0
LOOK_SECONDS = 1.0
LINES = 400
FINDING = ("coupon-burst", "device-farm")
"""Rules that must have found somebody, and would have found somebody in the past, before they are enforced."""


class FraudRun:
    """Applies the rules, sends hunters and crowds, and tells what became of both."""

    def __init__(self, cluster: Cluster, namespace: str, url: str, screen: Screen) -> None:
        """Take where the campaign is, and the address of its edge within the cluster."""
        self._cluster, self._namespace, self._url, self._screen = cluster, namespace, url, screen
        self.written: list[Manifest] = [each for each in yaml.safe_load_all(RULES_FILE.read_text("utf-8")) if each]
        self._text = HUNTERS_FILE.read_text("utf-8")
        self.seed = read_behaviour(self._text).seed

    async def prepare(self) -> None:
        """Apply the rules as they are written: those that stop anybody are in Shadow.

        Raises:
            CommandFailedError: they were refused.
        """
        await self._apply(self.written)
        names = ", ".join(each["metadata"]["name"] for each in self.written)
        self._say(f"kubectl apply -f fraudrules.yaml: {names}; nobody is stopped yet")

    async def perform(self, observer: Observer, seen: FraudSeen) -> None:
        """Let hunters and crowds come, try the rules on them, enforce them half way, and write down what was seen."""
        try:
            await self._until(observer, _all_loaded, LOADED_SECONDS, "rules on fraud that are judged by")
            await self._send()
            seen.shadow = await self._until(observer, _have_found, FOUND_SECONDS, "hunters that were found in Shadow")
            for view in seen.shadow:
                self._say(str(view))
            seen.tried = await self._try()
            await self._enforce(observer, seen)
            await self._look_back(observer, seen)
        except (TimeoutError, httpx.HTTPError, CommandFailedError, KeyError, ValueError) as problem:
            seen.amiss.append(f"{type(problem).__name__}: {problem}")
            self._say(str(problem))

    async def _send(self) -> None:
        image = self._cluster.images["operator"]
        job = crowd(self._namespace, image, self._text, self._url, SINGLES_RATE, HUNT_SECONDS, NAME)
        await asyncio.to_thread(self._cluster.kubectl, "apply", "-n", self._namespace, "-f", "-", input=json.dumps(job))
        self._say(
            f"flywheel simulate hunters.yaml, from a Job, seed {self.seed}: a school, an office, a phone network, a"
            " family, a library; a hundred accounts, a device all night, claims in haste, a botnet, a patient one"
        )

    async def _try(self) -> tuple[TrialView, ...]:
        """Try the rules on what the event store has of this sale: whom they would have hit."""
        asked = [FLYWHEEL, "fraud", "backtest", str(RULES_FILE), "-n", self._namespace, "--since", "1h", "-o", "json"]
        deadline = time.monotonic() + TRIED_SECONDS
        # Events are at the worker at once, and in the store some seconds later.
        while not have_hit(
            tried := trials_told(await asyncio.to_thread(self._cluster.run, asked), self.written), FINDING
        ):
            if time.monotonic() > deadline:
                stand = "; ".join(map(str, tried))
                raise TimeoutError(f"not seen within {TRIED_SECONDS:g} s: hunters in the past; {stand}")
            await asyncio.sleep(LOOK_SECONDS)
        self._say(
            "flywheel fraud backtest fraudrules.yaml --since 1h: whom the rules would have hit in this sale so far"
        )
        for view in tried:
            self._screen.say(f"          {view}")
        return tried

    async def _enforce(self, observer: Observer, seen: FraudSeen) -> None:
        began = time.monotonic()
        await self._apply(enforced(self.written))
        await self._until(observer, _all_enforced, ENFORCED_SECONDS, "rules on fraud that are enforced")
        took = time.monotonic() - began
        seen.before = stopped_so_far(await observer.said_by(NAME, lines=LINES))
        self._say(f"kubectl apply: mode: Enforce, judged by {took:.1f} s later, and no window has begun anew")

    async def _look_back(self, observer: Observer, seen: FraudSeen) -> None:
        deadline = time.monotonic() + HUNT_SECONDS + GOING_HOME_SECONDS
        while (report := read_report(await observer.said_by(NAME, lines=LINES))) is None:
            if time.monotonic() > deadline:
                raise TimeoutError("not seen: a report of hunters and crowds")
            await asyncio.sleep(LOOK_SECONDS)
        seen.enforced = tuple(await self._rules(observer))
        seen.visits = report["visits"]["started"]
        seen.after, seen.groups = stopped_in_all(report).since(seen.before), report["fates"]["groups"]
        self._say(f"since then {seen.after}")
        for line in kinds_told(seen.groups):
            self._screen.say(f"          {line}")

    async def _apply(self, rules: Sequence[Manifest]) -> None:
        made = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(rules)})
        await asyncio.to_thread(self._cluster.kubectl, "apply", "-n", self._namespace, "-f", "-", input=made)

    async def _rules(self, observer: Observer) -> list[RuleView]:
        found = await observer.get(f"/apis/flywheel.dev/v1alpha1/namespaces/{self._namespace}/fraudrules")
        return [rule_view(each) for each in (found or {}).get("items", [])]

    async def _until(
        self, observer: Observer, so: Callable[[Sequence[RuleView]], bool], seconds: float, what: str
    ) -> tuple[RuleView, ...]:
        deadline = time.monotonic() + seconds
        while not so(views := await self._rules(observer)):
            if time.monotonic() > deadline:
                stand = "; ".join(f"{each}, {each.message or 'and says no more'}" for each in views)
                raise TimeoutError(f"not seen within {seconds:g} s: {what}; {stand or 'there are no rules'}")
            await asyncio.sleep(LOOK_SECONDS)
        return tuple(views)

    def _say(self, line: str) -> None:
        self._screen.say(self._screen.ink.bold(f"fraud     {line}"))


def _all_loaded(views: Sequence[RuleView]) -> bool:
    return bool(views) and all(each.is_loaded for each in views)


def _have_found(views: Sequence[RuleView]) -> bool:
    found = {each.name for each in views if each.would}
    return found.issuperset(FINDING)


def _all_enforced(views: Sequence[RuleView]) -> bool:
    return _all_loaded(views) and all(each.mode == "Enforce" for each in views)
