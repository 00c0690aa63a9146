"""What was last seen of every campaign and its children, never older than what was seen before."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping

from flywheel.kube.resources import Resource
from flywheel.plan import LiveObject, Manifest, ObjectKey

Owner = tuple[str, str]
"""Namespace and name of a campaign."""

MOST_TOMBSTONES = 20_000
_NONE: Mapping[ObjectKey, LiveObject] = {}


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
        """Give every campaign by name, those included that are known only by the children they left."""
        return set(self._campaigns) | set(self._children)

    def children(self, namespace: str, name: str) -> dict[ObjectKey, LiveObject]:
        """Give what carries the campaign's label, as last seen."""
        return dict(self._children.get((namespace, name), _NONE))

    def campaign_count(self) -> int:
        """Count all campaigns."""
        return len(self._campaigns)

    def stalled_count(self) -> int:
        """Count the campaigns that a person has to look at."""
        return sum(1 for campaign in self._campaigns.values() if _is_stalled(campaign))

    def child_count(self) -> int:
        """Count all children."""
        return len(self._owner_of)

    def put_campaign(self, manifest: Manifest) -> None:
        """Remember a campaign unless something newer is known."""
        metadata = manifest["metadata"]
        owner = (metadata.get("namespace", ""), metadata["name"])
        held = self._campaigns.get(owner)
        if metadata["uid"] in self._gone or (held is not None and not _is_newer(metadata, held["metadata"])):
            return
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            # The answer to taking off the last finalizer: the object is gone with it.
            self.remove_campaign(*owner, metadata["uid"])
            return
        self._campaigns[owner] = trim_campaign(manifest)
        self._tell(owner)

    def remove_campaign(self, namespace: str, name: str, uid: str) -> None:
        """Forget a campaign that is gone, if it is the one with `uid`."""
        self._bury(uid)
        held = self._campaigns.get((namespace, name))
        if held is not None and held["metadata"]["uid"] == uid:
            del self._campaigns[namespace, name]
            self._tell((namespace, name))

    def put(self, live: LiveObject) -> None:
        """Remember a child unless something newer is known."""
        if live.uid in self._gone:
            return
        old_owner = self._owner_of.get(live.key)
        if old_owner is not None:
            held = self._children[old_owner][live.key]
            if live.resource_version <= held.resource_version:
                return
        owner = (live.key.namespace, live.campaign)
        if old_owner is not None and old_owner != owner:
            # Its label was changed by hand: the one that has lost it must hear of it too.
            self._forget(live.key)
            self._tell(old_owner)
        if not live.campaign:
            return
        self._children.setdefault(owner, {})[live.key] = live
        self._owner_of[live.key] = owner
        self._tell(owner)

    def remove(self, key: ObjectKey, uid: str) -> None:
        """Forget a child that is gone, if it is the one with `uid`."""
        self._bury(uid)
        owner = self._owner_of.get(key)
        if owner is not None and self._children[owner][key].uid == uid:
            self._forget(key)
            self._tell(owner)

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


def _is_newer(new: Mapping[str, str], held: Mapping[str, str]) -> bool:
    # Versions grow over all objects of a cluster, so that a successor of the same name is newer too.
    return int(new["resourceVersion"]) > int(held["resourceVersion"])


def trim_campaign(manifest: Manifest) -> Manifest:
    """Copy a campaign without what no decision needs. The parts that are kept are shared, not copied."""
    metadata = {name: value for name, value in manifest["metadata"].items() if name != "managedFields"}
    return {**manifest, "metadata": metadata}


def _is_stalled(campaign: Manifest) -> bool:
    conditions = (campaign.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Stalled" and each.get("status") == "True" for each in conditions)
