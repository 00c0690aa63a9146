"""The smallest engine that is exact: counts events of a key in a window, and decides as its rules say."""

import json
from collections.abc import Sequence
from typing import Any

from flywheel.fraud.blocks import Decision
from flywheel.fraud.listed import Lists
from flywheel.fraud.rulings import RuleFigures, RulesProblem, Ruling, Shard
from flywheel.fraud.words import Event, Verdict
from flywheel.plan import content_hash


def rule(name: str = "coupons", **fields: Any) -> dict[str, Any]:
    """More than 20 claims of one address in a minute: half an hour of no coupons."""
    given = {"name": name, "event": "Coupon Claimed", "key": "address", "window": 60_000, "moreThan": 20}
    given |= {"action": "Block", "for": 1_800_000, "scope": ["/coupon"]}
    return given | fields


class SmallEngine:
    at_once = 100

    def __init__(self, _campaign: str, _shard: Shard) -> None:
        self.generation = ""
        self._rules: list[dict[str, Any]] = []
        self._seen: dict[str, dict[str, list[int]]] = {}

    def figures(self) -> Sequence[RuleFigures]:
        return ()

    def load(self, rules: bytes) -> None:
        found = json.loads(rules or b"[]")
        if any("name" not in each for each in found):
            raise RulesProblem("A rule has no name.")
        self._rules, self.generation = found, content_hash(found)

    def use_lists(self, _lists: Lists) -> None:
        """It knows none."""

    def spared(self, _decisions: Sequence[Decision]) -> Sequence[str]:
        return ()

    def judge(self, events: Sequence[Event]) -> Sequence[Ruling]:
        return [ruling for event in events for ruling in self._judge(event)]

    def _judge(self, event: Event) -> Sequence[Ruling]:
        found = []
        for each in self._rules:
            key = getattr(event, each["key"])
            if event.name != each["event"] or not key:
                continue
            seen = self._seen.setdefault(each["name"], {}).setdefault(key, [])
            since = event.time - each["window"]
            seen[:] = [at for at in seen if at > since] + [event.time]
            if len(seen) > each["moreThan"]:
                found.append(_ruling(each, key, event, len(seen), since))
        return found

    def snapshot(self) -> bytes:
        return json.dumps(self._seen).encode()

    def restore(self, state: bytes) -> None:
        self._seen = json.loads(state)


def _ruling(each: dict[str, Any], key: str, event: Event, count: int, since: int) -> Ruling:
    verdict = Verdict(
        rule=each["name"], version="1", event=event.id, at=event.time, key=(key,), observed=count,
        limit=each["moreThan"], since=since,
    )  # fmt: skip
    decision = Decision(
        id=content_hash([each["name"], key]), kind=each["key"], value=key, action=each["action"],
        until=event.arrived + each["for"], scope=tuple(each["scope"]), status=each.get("status", 403),
        body=each.get("body", ""), page=each.get("page", ""), per_second=each.get("perSecond", 0.0),
        pass_for=each.get("passFor", 0),
        rule=each["name"], event=event.id, reason=f"{count} of {each['event']}, more than {each['moreThan']}",
    )  # fmt: skip
    return Ruling(verdict, (decision,))
