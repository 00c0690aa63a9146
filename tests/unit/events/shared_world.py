"""A namespace reduced to what the plan of its analytics worker can see of it."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from flywheel.campaign.stages import beginning_of
from flywheel.events.naming import SETTINGS_KEY
from flywheel.events.sharedplan import SharedPlan, newcomers, plan_worker, settings_key, stateful_set_key
from flywheel.events.sharing import read_sharer
from flywheel.kube.applier import SharedClaim, Standing, standing
from flywheel.kube.drift import is_in_place, stamped
from flywheel.kube.live import live_object
from flywheel.plan import FIELD_MANAGER, LiveObject, Manifest, ObjectKey

NAMESPACE = "shop"
READ = partial(read_sharer, start_of=beginning_of)
IMAGE = "r.example/analytics:1"


def campaign(name: str, *, age: int = 0, measured: bool = True, **spec: Any) -> Manifest:
    """Make a Campaign; of two, the one with the greater `age` came first."""
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"uid-of-{name}",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": f"{2027 - age:04}-01-01T00:00:00Z",
    }
    body: Manifest = {"services": [{"name": "web", "image": "shop/web:1", "port": 8080}], **spec}
    if measured:
        body.setdefault("edge", {})
    return {"apiVersion": "flywheel.dev/v1alpha1", "kind": "Campaign", "metadata": metadata, "spec": body}


def field_set(value: object) -> dict[str, Any]:
    """Write the fields of an applied object as the API server does, lists being leaves."""
    if not isinstance(value, Mapping):
        return {}
    return {f"f:{name}": field_set(each) for name, each in value.items()}


class Namespace:
    """The Campaigns of one namespace and what they share. Counts what was written."""

    def __init__(self, *campaigns: Manifest) -> None:
        self.campaigns = {each["metadata"]["name"]: each for each in campaigns}
        self.objects: dict[ObjectKey, Manifest] = {}
        self.writes = 0
        self._version = 1

    @property
    def live(self) -> dict[ObjectKey, LiveObject]:
        return {key: live_object(manifest) for key, manifest in self.objects.items()}

    @property
    def settings(self) -> dict[str, Any]:
        entries: dict[str, Any] = json.loads(self.objects[settings_key(NAMESPACE)]["data"][SETTINGS_KEY])
        return entries

    @property
    def worker(self) -> Manifest:
        return self.objects[stateful_set_key(NAMESPACE)]

    def plan(self) -> SharedPlan:
        everything = (NAMESPACE, list(self.campaigns.values()), self.live, IMAGE, READ)
        plan = plan_worker(*everything, monitored=True)
        if plan.asks_held:
            held = self.settings if settings_key(NAMESPACE) in self.objects else {}
            plan = plan_worker(*everything, held, monitored=True)
        assert not plan.asks_held
        return plan

    def reconcile(self) -> SharedPlan:
        """Do what the plan says, as the gateway and the API server would; the volume always grows."""
        plan = self.plan()
        for deletion in plan.delete:
            self._remove(deletion.key)
        if plan.replace is not None:
            self._remove(plan.replace.old.key)
        for manifest in plan.apply:
            self._apply(manifest, SharedClaim("analytics", plan.references))
        for key in plan.adopt:
            self._adopt(key, plan)
        assert newcomers(plan, self.live) == ()
        return plan

    def settle(self) -> None:
        """Reconcile until a round writes nothing."""
        for _ in range(5):
            before = self.writes
            self.reconcile()
            if self.writes == before:
                return
        raise AssertionError("does not come to rest")

    def orphan(self, name: str) -> None:
        """Delete a Campaign with --cascade=orphan, as Kubernetes does."""
        self._disown(self.campaigns.pop(name)["metadata"]["uid"])

    def delete(self, name: str) -> None:
        """Delete a Campaign, and let Kubernetes collect what has no owner any more."""
        uid = self.campaigns.pop(name)["metadata"]["uid"]
        self.objects = {key: each for key, each in self.objects.items() if live_object(each).sharers != (uid,)}
        self._disown(uid)

    def _disown(self, uid: str) -> None:
        for manifest in self.objects.values():
            metadata = manifest["metadata"]
            metadata["ownerReferences"] = [each for each in metadata["ownerReferences"] if each["uid"] != uid]

    def _remove(self, key: ObjectKey) -> None:
        self.writes += 1
        del self.objects[key]

    def _adopt(self, key: ObjectKey, plan: SharedPlan) -> None:
        live = self.live.get(key)
        if live is not None and not {each["uid"] for each in plan.references} <= set(live.sharers):
            self.writes += 1
            self.objects[key]["metadata"]["ownerReferences"] = list(plan.references)

    def _apply(self, manifest: Manifest, claim: SharedClaim) -> None:
        metadata = {**manifest["metadata"], "ownerReferences": list(claim.references)}
        wanted = stamped({**manifest, "metadata": metadata})
        key = ObjectKey.of(wanted)
        live = self.live.get(key)
        if live is not None:
            assert standing(live, claim) is Standing.OURS
            if is_in_place(wanted, live):
                return
        self.writes += 1
        self._version += 1
        owned = field_set({name: each for name, each in wanted.items() if name not in ("apiVersion", "kind")})
        stored = json.loads(json.dumps(wanted))
        stored["metadata"] |= {
            "uid": f"{key.kind}-{self._version}",
            "resourceVersion": str(self._version),
            "generation": self._version,
            "managedFields": [{"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": owned}],
        }
        self.objects[key] = stored
