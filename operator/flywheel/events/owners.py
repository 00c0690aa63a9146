"""What the Campaigns of a namespace share, such as a worker: who owns it, and when it goes. Pure."""

from collections.abc import Collection, Mapping, Sequence

from flywheel.plan import GROUP, Deletion, LiveObject, Manifest, ObjectKey


def owner_reference(name: str, uid: str) -> Manifest:
    """Refer to one of several owners: Kubernetes deletes what they share with the last of them, us or not."""
    return {"apiVersion": f"{GROUP}/v1alpha1", "kind": "Campaign", "name": name, "uid": uid}


def deletions(
    campaigns: Collection[str], live: Mapping[ObjectKey, LiveObject], kinds: Sequence[str]
) -> tuple[Deletion, ...]:
    """Remove what is shared when the Campaigns it was made for are there and do without it; the last made goes first.

    When they are gone, Kubernetes removes it. What has lost all its owners was left behind on purpose, with a Campaign
    deleted with --cascade=orphan: its edge still sends.

    Args:
        campaigns: The uids of those that are there.
        live: What there is of what they share.
        kinds: Its kinds, in the order of creation.
    """
    there = set(campaigns)
    if not any(there & set(shared.sharers) for shared in live.values()):
        return ()
    order = sorted(live, key=lambda key: (kinds.index(key.kind) if key.kind in kinds else -1, key), reverse=True)
    return tuple(Deletion(key, live[key].uid) for key in order if not live[key].deleting)
