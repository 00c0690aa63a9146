"""What was last seen of campaigns, their children and what they share, never older than what was seen before."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping

from flywheel.events.sharing import has_edge
from flywheel.fraud.naming import COMPONENT as FRAUD_COMPONENT
from flywheel.kube.resources import Resource
from flywheel.plan import LiveObject, Manifest, ObjectKey
from flywheel.runtime import concerns

Owner = tuple[str, str]
"""Namespace and name of a campaign; with the name SHARED, all that the campaigns of the namespace share; with the name
of `test_key`, an A/B test."""

SHARED = "*"
"""No object can have this name."""
FRAUD = "*fraud"
"""The rules on fraud of a namespace, and their worker."""

MOST_TOMBSTONES = 20_000
_TEST = "abtest:"
_NONE: Mapping[ObjectKey, LiveObject] = {}


def test_key(name: str) -> str:
    """Give the second half of an A/B test's key. No object can have this name."""
    return f"{_TEST}{name}"


def test_of(key: str) -> str | None:
    """Give the name of the A/B test that a key is of; None for any other key."""
    return key.removeprefix(_TEST) if key.startswith(_TEST) else None


class Store:
    """Everything observed. `on_change` is told the campaign that a change concerns.

    The watches and the answers to our own writes both fill it, in any order: what is older than what is held is
    ignored, and so is whatever is said late of an object that is known to be gone.
    """

    def __init__(self, on_change: Callable[[Owner], None] | None = None) -> None:
        self.on_change = on_change
        self._campaigns: dict[Owner, Manifest] = {}
        self._children: dict[Owner, dict[ObjectKey, LiveObject]] = {}
        self._owner_of: dict[ObjectKey, Owner] = {}
        self._tests: dict[Owner, Manifest] = {}
        self._tests_by_campaign: dict[Owner, set[str]] = {}
        self._troubles: dict[str, str] = {}
        self._rules: dict[Owner, Manifest] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._unsynced: set[object] = set()
        self._synced = asyncio.Event()

    @property
    def synced(self) -> bool:
        """All first lists are complete. Before that, what is missing here may still exist."""
        return not self._unsynced

    def expect(self, source: object) -> None:
        """Say that a source will list its objects, so that `synced` waits for it."""
        self._unsynced.add(source)

    def complete(self, source: object) -> None:
        """Say that the first list of a source is complete, or that there is nothing to list."""
        self._unsynced.discard(source)
        if not self._unsynced:
            self._synced.set()

    async def wait_synced(self) -> None:
        """Wait until all first lists are complete."""
        while self._unsynced:
            self._synced.clear()
            await self._synced.wait()

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """The sources whose first list is not complete."""
        return tuple(sorted(str(source) for source in self._unsynced))

    def campaign(self, namespace: str, name: str) -> Manifest | None:
        """Give the campaign as last seen, without its managed fields."""
        return self._campaigns.get((namespace, name))

    def campaigns(self) -> Iterator[Manifest]:
        """Give every campaign."""
        yield from self._campaigns.values()

    def owners(self) -> set[Owner]:
        """Give every key there is work for, campaigns included that are known only by the children they left."""
        sharing = {(namespace, SHARED) for (namespace, _), held in self._campaigns.items() if has_edge(held)}
        tests = {(namespace, test_key(name)) for namespace, name in self._tests}
        judging = {(namespace, FRAUD) for namespace, _ in self._rules}
        return set(self._campaigns) | set(self._children) | sharing | tests | judging

    def test(self, namespace: str, name: str) -> Manifest | None:
        """Give the A/B test as last seen, without its managed fields."""
        return self._tests.get((namespace, name))

    def tests(self) -> tuple[Manifest, ...]:
        """Give every A/B test, as last seen."""
        return tuple(self._tests.values())

    def tests_of(self, namespace: str, campaign: str) -> tuple[Manifest, ...]:
        """Give the A/B tests of a campaign, as last seen."""
        names = self._tests_by_campaign.get((namespace, campaign), ())
        return tuple(self._tests[namespace, name] for name in sorted(names))

    def knows(self, owner: Owner) -> bool:
        """Tell whether anything is there of what a key stands for."""
        test = test_of(owner[1])
        if test is not None:
            return (owner[0], test) in self._tests
        judging = owner[1] == FRAUD and bool(self.fraud_rules(owner[0]))
        return judging or owner in self._campaigns or owner in self._children

    def all_fraud_rules(self) -> tuple[Manifest, ...]:
        """Return the FraudRules of all namespaces as last seen."""
        return tuple(self._rules.values())

    def fraud_rules(self, namespace: str) -> tuple[Manifest, ...]:
        """Give the FraudRules of a namespace, as last seen, by name."""
        return tuple(self._rules[key] for key in sorted(self._rules) if key[0] == namespace)

    def fraud_children(self, namespace: str) -> dict[ObjectKey, LiveObject]:
        """Give the objects of a namespace's fraud worker, as last seen."""
        return self.children(namespace, FRAUD)

    def children(self, namespace: str, name: str) -> dict[ObjectKey, LiveObject]:
        """Give what carries the campaign's label, as last seen."""
        return dict(self._children.get((namespace, name), _NONE))

    def campaigns_in(self, namespace: str) -> tuple[Manifest, ...]:
        """Give every campaign of a namespace."""
        return tuple(held for (where, _), held in self._campaigns.items() if where == namespace)

    def shared(self, namespace: str) -> dict[ObjectKey, LiveObject]:
        """Give what the campaigns of a namespace share, as last seen."""
        return self.children(namespace, SHARED)

    def shared_trouble(self, namespace: str) -> str:
        """Tell why that is not as it should be, where a look at the objects does not tell; empty for no trouble."""
        return self._troubles.get(namespace, "")

    def put_shared_trouble(self, namespace: str, trouble: str) -> None:
        """Remember why what is shared is not as it should be; the campaigns that share it hear of a change."""
        if trouble == self.shared_trouble(namespace):
            return
        self._troubles[namespace] = trouble
        if not trouble:
            del self._troubles[namespace]
        self._tell_sharing(namespace)

    def touch(self, namespace: str, name: str) -> None:
        """Say that something outside the cluster's objects has changed for what a key stands for."""
        if self.knows((namespace, name)):
            self._tell((namespace, name))

    def campaign_count(self) -> int:
        """Count all campaigns."""
        return len(self._campaigns)

    def stalled_count(self) -> int:
        """Count the campaigns that a person has to look at."""
        return sum(1 for campaign in self._campaigns.values() if concerns.is_stalled(campaign))

    def child_count(self) -> int:
        """Count all children."""
        return len(self._owner_of)

    def put_campaign(self, manifest: Manifest) -> None:
        """Remember a campaign unless something newer is known."""
        metadata = manifest["metadata"]
        owner = (metadata.get("namespace", ""), metadata["name"])
        held = self._campaigns.get(owner)
        if not self._is_news(metadata, held):
            return
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            # The answer to taking off the last finalizer: the object is gone with it.
            self.remove_campaign(*owner, metadata["uid"])
            return
        self._campaigns[owner] = concerns.trimmed(manifest)
        self._tell(owner)
        if held is None or concerns.orders(manifest) != concerns.orders(held):
            self._tell_shared(manifest, held)
        if held is None or concerns.for_fraud_rules(manifest) != concerns.for_fraud_rules(held):
            self._tell_judging(owner[0])
        if held is None or concerns.for_tests(manifest) != concerns.for_tests(held):
            for test in self.tests_of(*owner):
                self._tell((owner[0], test_key(test["metadata"]["name"])))

    def remove_campaign(self, namespace: str, name: str, uid: str) -> None:
        """Forget a campaign that is gone, if it is the one with `uid`."""
        self._bury(uid)
        held = self._campaigns.get((namespace, name))
        if held is not None and held["metadata"]["uid"] == uid:
            del self._campaigns[namespace, name]
            self._tell((namespace, name))
            self._tell_shared(held)
            self._tell_judging(namespace)
            for test in self.tests_of(namespace, name):
                self._tell((namespace, test_key(test["metadata"]["name"])))

    def put_test(self, manifest: Manifest) -> None:
        """Remember an A/B test unless something newer is known; its campaign hears of what concerns it."""
        metadata = manifest["metadata"]
        owner = (metadata["namespace"], metadata["name"])
        held = self._tests.get(owner)
        if not self._is_news(metadata, held):
            return
        if held is not None:
            self._unlist(held)
        self._tests[owner] = concerns.trimmed(manifest)
        self._tests_by_campaign.setdefault((owner[0], concerns.campaign_of(manifest)), set()).add(owner[1])
        self._tell((owner[0], test_key(owner[1])))
        if held is None or concerns.for_campaign(manifest) != concerns.for_campaign(held):
            self._tell_tested(manifest, held)

    def remove_test(self, namespace: str, name: str, uid: str) -> None:
        """Forget an A/B test that is gone, if it is the one with `uid`."""
        self._bury(uid)
        held = self._tests.get((namespace, name))
        if held is not None and held["metadata"]["uid"] == uid:
            del self._tests[namespace, name]
            self._unlist(held)
            self._tell((namespace, test_key(name)))
            self._tell_tested(held)

    def put_rule(self, manifest: Manifest) -> None:
        """Remember a FraudRule unless something newer is known; the worker and campaigns hear of what concerns them."""
        metadata = manifest["metadata"]
        owner = (metadata["namespace"], metadata["name"])
        held = self._rules.get(owner)
        if not self._is_news(metadata, held):
            return
        self._rules[owner] = concerns.trimmed(manifest)
        if held is None or concerns.orders(manifest) != concerns.orders(held):
            self._tell_judged(owner[0])

    def remove_rule(self, namespace: str, name: str, uid: str) -> None:
        """Forget a FraudRule that is gone, if it is the one with `uid`."""
        self._bury(uid)
        held = self._rules.get((namespace, name))
        if held is not None and held["metadata"]["uid"] == uid:
            del self._rules[namespace, name]
            self._tell_judged(namespace)

    def retain_rules(self, namespace: str | None, uids: frozenset[str], resource_version: int) -> None:
        """Forget the FraudRules that a complete list does not show, but for those newer than the list."""
        for metadata in concerns.vanished(self._rules.values(), namespace, uids, resource_version):
            self.remove_rule(metadata["namespace"], metadata["name"], metadata["uid"])

    def _tell_judging(self, namespace: str) -> None:
        """Tell of a campaign that came, changed or went, if that can matter to the fraud worker."""
        if (namespace, FRAUD) in self._children or self.fraud_rules(namespace):
            self._tell((namespace, FRAUD))

    def _tell_judged(self, namespace: str) -> None:
        self._tell((namespace, FRAUD))
        self._tell_sharing(namespace)

    def _is_news(self, metadata: Mapping[str, str], held: Manifest | None) -> bool:
        newer = held is None or concerns.is_newer(metadata, held["metadata"])
        return newer and metadata["uid"] not in self._gone

    def _unlist(self, test: Manifest) -> None:
        campaign = (test["metadata"]["namespace"], concerns.campaign_of(test))
        names = self._tests_by_campaign[campaign]
        names.discard(test["metadata"]["name"])
        if not names:
            del self._tests_by_campaign[campaign]

    def retain_tests(self, namespace: str | None, uids: frozenset[str], resource_version: int) -> None:
        """Forget the A/B tests that a complete list does not show, but for those newer than the list."""
        for metadata in concerns.vanished(self._tests.values(), namespace, uids, resource_version):
            self.remove_test(metadata["namespace"], metadata["name"], metadata["uid"])

    def put(self, live: LiveObject) -> None:
        """Remember a child unless something newer is known."""
        if live.uid in self._gone:
            return
        old_owner = self._owner_of.get(live.key)
        held = self._children[old_owner][live.key] if old_owner is not None else None
        if held is not None and live.resource_version <= held.resource_version:
            return
        owner = (live.key.namespace, live.campaign or _shared_by(live.shared))
        if old_owner is not None and old_owner != owner:
            # Its label was changed by hand: the one that has lost it must hear of it too.
            self._forget(live.key)
            self._tell(old_owner)
        if not owner[1]:
            return
        self._children.setdefault(owner, {})[live.key] = live
        self._owner_of[live.key] = owner
        self._tell(owner)
        if owner[1] == SHARED and (held is None or concerns.for_sharing(held) != concerns.for_sharing(live)):
            self._tell_sharing(live.key.namespace)
        if owner[1] == FRAUD and held is not None and held.replicas != live.replicas:
            # Edges send to each worker that there is.
            self._tell_sharing(live.key.namespace)

    def remove(self, key: ObjectKey, uid: str) -> None:
        """Forget a child that is gone, if it is the one with `uid`."""
        self._bury(uid)
        owner = self._owner_of.get(key)
        if owner is not None and self._children[owner][key].uid == uid:
            self._forget(key)
            self._tell(owner)
            if owner[1] == SHARED:
                self._tell_sharing(key.namespace)

    def retain(self, resource: Resource, namespace: str | None, uids: frozenset[str], resource_version: int) -> None:
        """Forget the children of one kind that a complete list does not show, but for those newer than the list."""
        for key, owner in list(self._owner_of.items()):
            if (key.group, key.kind) != (resource.group, resource.kind) or namespace not in (None, key.namespace):
                continue
            live = self._children[owner][key]
            if live.uid not in uids and live.resource_version <= resource_version:
                self.remove(key, live.uid)

    def _forget(self, key: ObjectKey) -> None:
        owner = self._owner_of.pop(key)
        children = self._children[owner]
        del children[key]
        if not children:
            del self._children[owner]

    def _bury(self, uid: str) -> None:
        self._gone[uid] = None
        self._gone.move_to_end(uid)
        while len(self._gone) > MOST_TOMBSTONES:
            self._gone.popitem(last=False)

    def _tell(self, owner: Owner) -> None:
        if self.on_change is not None:
            self.on_change(owner)

    def _tell_tested(self, *states: Manifest | None) -> None:
        """Tell the campaigns that an A/B test names, or named."""
        for namespace, name in {(each["metadata"]["namespace"], concerns.campaign_of(each)) for each in states if each}:
            self.touch(namespace, name)

    def _tell_shared(self, *states: Manifest | None) -> None:
        """Tell of a campaign that came, changed or went, if that can matter to what campaigns share."""
        namespace = next(each["metadata"].get("namespace", "") for each in states if each)
        if any(each and has_edge(each) for each in states) or (namespace, SHARED) in self._children:
            self._tell((namespace, SHARED))

    def _tell_sharing(self, namespace: str) -> None:
        for held in self.campaigns_in(namespace):
            if has_edge(held):
                self._tell((namespace, held["metadata"]["name"]))


def _shared_by(label: str) -> str:
    if not label:
        return ""
    return FRAUD if label == FRAUD_COMPONENT else SHARED
