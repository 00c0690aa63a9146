"""Reading and writing one Lease, each write on condition that nobody was faster."""

from dataclasses import dataclass, replace
from datetime import datetime

from flywheel.kube.gateway import Gateway, micro_time
from flywheel.kube.resources import LEASE
from flywheel.plan import Manifest, ObjectKey

ADDRESS_ANNOTATION = "flywheel.dev/address"


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a Lease says. `version` is the resource version: it changes with each write of anybody."""

    holder: str
    duration: int
    """Seconds after the last renewal for which the holder may act."""
    acquired: str
    renewed: str
    transitions: int
    version: str = ""
    address: str = ""
    """Where the holder's pod is reached; empty where it did not say."""


class LeaseFile:
    """One Lease object."""

    def __init__(self, gateway: Gateway, namespace: str, name: str, *, address: str = "", timeout: float = 3.0) -> None:
        """Open it.

        Args:
            gateway: To the API server.
            namespace: Where it is.
            name: Its name.
            address: Where this process is reached, for those who only read the Lease.
            timeout: Seconds for a write.
        """
        self._gateway = gateway
        self._address = address
        self._key = ObjectKey(LEASE.group, LEASE.kind, namespace, name)
        self._timeout = timeout

    def __str__(self) -> str:
        return str(self._key)

    async def read(self) -> LeaseRecord | None:
        """Read it; None if there is none."""
        manifest = await self._gateway.get(self._key)
        return _record(manifest) if manifest is not None else None

    async def take(self, holder: str, duration: int, previous: LeaseRecord | None, now: datetime) -> LeaseRecord:
        """Write `holder` as the new holder, or renew, if the Lease is still as it was in `previous`.

        Raises:
            ApiError: A conflict if somebody was faster, or any other failure.
        """
        moment = micro_time(now)
        renewal = previous is not None and previous.holder == holder
        record = LeaseRecord(
            holder=holder,
            duration=duration,
            acquired=previous.acquired if previous is not None and renewal else moment,
            renewed=moment,
            transitions=previous.transitions + (0 if renewal else 1) if previous is not None else 0,
            version=previous.version if previous is not None else "",
            address=self._address,
        )
        return await self._write(record)

    async def release(self, record: LeaseRecord, now: datetime) -> None:
        """Give it up, so that another takes it at once."""
        await self._write(replace(record, holder="", duration=1, renewed=micro_time(now), address=""))

    async def _write(self, record: LeaseRecord) -> LeaseRecord:
        manifest: Manifest = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {
                "name": self._key.name,
                "namespace": self._key.namespace,
                "annotations": {ADDRESS_ANNOTATION: record.address} if record.address else {},
            },
            "spec": {
                "holderIdentity": record.holder,
                "leaseDurationSeconds": record.duration,
                "acquireTime": record.acquired,
                "renewTime": record.renewed,
                "leaseTransitions": record.transitions,
            },
        }
        if not record.version:
            return _record(await self._gateway.create(manifest))
        manifest["metadata"]["resourceVersion"] = record.version
        return _record(await self._gateway.replace(manifest, timeout=self._timeout))


def _record(manifest: Manifest) -> LeaseRecord:
    spec = manifest.get("spec") or {}
    return LeaseRecord(
        holder=spec.get("holderIdentity") or "",
        duration=int(spec.get("leaseDurationSeconds") or 1),
        acquired=spec.get("acquireTime") or spec.get("renewTime") or "",
        renewed=spec.get("renewTime") or "",
        transitions=int(spec.get("leaseTransitions") or 0),
        version=manifest["metadata"]["resourceVersion"],
        address=(manifest["metadata"].get("annotations") or {}).get(ADDRESS_ANNOTATION, ""),
    )
