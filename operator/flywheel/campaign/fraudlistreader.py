"""Reads the lists that rules on fraud name from ConfigMaps and Secrets, and hands them to the workers.

The operator reads them, as it may read ConfigMaps, and Secrets by name, anyway: no worker that takes in what anybody
sends needs a right, or a way, to the API server. What is read is not kept here but for its digest; the worker keeps it,
and goes on with it when it starts anew, or when the list is gone or wrong. They are looked at with each reconcile, not
watched: to watch a Secret is to list Secrets.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

import msgspec

from flywheel.campaign.fraudasking import NotAnswered
from flywheel.campaign.fraudlists import MOST_TOGETHER, ListState, ListStates, Wanted, kept_lists
from flywheel.fraud.listed import PackedList
from flywheel.fraud.listing import Reading, read_list
from flywheel.fraud.policy import ListOf
from flywheel.fraud.records import Lists
from flywheel.kube.errors import ApiError
from flywheel.plan import Manifest, ObjectKey

KINDS = {"configmap": "ConfigMap", "secret": "Secret"}
Aside = Callable[[Callable[[], Reading]], Awaitable[Reading]]
_encode = msgspec.msgpack.Encoder().encode


class Get(Protocol):
    """Reads objects."""

    async def get(self, key: ObjectKey) -> Manifest | None:
        """Read one object; None if it is not there. Raises ApiError."""


class Hand(Protocol):
    """Reaches workers."""

    async def hand_lists(self, namespace: str, address: str, lists: bytes) -> bytes:
        """Have a worker take lists; give what it says of itself then. Raises NotAnswered."""


class _Missing(Exception):  # noqa: N818 - a state of the world
    """There is no such list, or it must not be read. The text says why."""


class _Read(NamedTuple):
    """What was found in one version of a list."""

    version: tuple[str, str]
    reading: Reading
    """Without the entries: they are read once more should a worker have lost them."""
    entries: int
    digest: str


@dataclass(slots=True)
class _Around:
    """One look at the lists of a namespace."""

    namespace: str
    wanted: Wanted
    bodies: dict[str, bytes]
    """What each worker says of itself now, by its address."""
    known: Mapping[tuple[ListOf, bool], _Read]
    """What was found last time."""
    read: dict[tuple[ListOf, bool], _Read] = field(default_factory=dict)
    objects: dict[tuple[str, str], Manifest | str] = field(default_factory=dict)
    """By kind and name; or why one could not be read."""
    entries: int = 0
    """Of all lists so far."""


class ListReader:
    """Brings the lists of namespaces to their workers."""

    def __init__(self, gateway: Get, workers: Hand, aside: Aside | None = None) -> None:
        """Make it.

        Args:
            gateway: Reads ConfigMaps and Secrets.
            workers: Where lists go.
            aside: Does work beside what goes on, as 100,000 lines take most of a second to read; else it is done here.
        """
        self._gateway, self._workers, self._aside = gateway, workers, aside or _here
        self._known: dict[str, dict[tuple[ListOf, bool], _Read]] = {}

    def forget(self, namespace: str) -> None:
        """Forget what was read for a namespace that has no worker."""
        self._known.pop(namespace, None)

    async def bring(self, namespace: str, wanted: Wanted, bodies: dict[str, bytes]) -> ListStates:
        """Have the workers judge by the lists as they are now; say how each of them is doing.

        Args:
            namespace: Where.
            wanted: The lists.
            bodies: What each worker says of itself, by its address; brought up to date here.

        Raises:
            ValueError: A worker says what cannot be read.
        """
        states, around = dict[ListOf, ListState](), _Around(namespace, wanted, bodies, self._known.pop(namespace, {}))
        for of in wanted:
            try:
                reading = await self._bring(of, around)
            except _Missing as error:
                states[of] = ListState(problem=str(error), entries=_entries(of, bodies))
            else:
                states[of] = ListState(reading, entries=_entries(of, bodies))
        if around.read:
            self._known[namespace] = around.read
        await self._take_back(around)
        return states

    async def _bring(self, of: ListOf, around: "_Around") -> Reading:
        """Have the workers judge by one list as it is now; say what was found in it."""
        version, text = await self._text(around, of)
        denies, packed = around.wanted[of], None
        read = around.known.get((of, denies))
        if read is None or read.version != version:
            read, packed = await self._read(of, version, text, denies=denies)
        around.read[of, denies] = read
        if read.reading.problem:
            raise _Missing(read.reading.problem)
        around.entries += read.entries
        if around.entries > MOST_TOGETHER:
            raise _Missing(f"all lists of the namespace together have more than {MOST_TOGETHER} entries: shorten them")
        for address in _lacking(of, read.digest, around.bodies):
            if packed is None:
                _, packed = await self._read(of, version, text, denies=denies)
            await self._hand(around, address, (packed,) if packed else ())
        return read.reading

    async def _read(
        self, of: ListOf, version: tuple[str, str], text: bytes, *, denies: bool
    ) -> tuple[_Read, PackedList | None]:
        reading = await self._aside(partial(read_list, of, text, denies=denies))
        packed = reading.packed
        entries, digest = (packed.entries, packed.digest) if packed else (0, "")
        return _Read(version, reading._replace(packed=None), entries, digest), packed

    async def _take_back(self, around: "_Around") -> None:
        """Have workers forget the lists that no rule names any more."""
        for address, body in list(around.bodies.items()):
            if not kept_lists(body).keys() <= around.wanted.keys():
                # Nobody asks by them: it is tried again next time.
                with suppress(_Missing):
                    await self._hand(around, address, ())

    async def _hand(self, around: "_Around", address: str, put: tuple[PackedList, ...]) -> None:
        lists = _encode(Lists(tuple(around.wanted), put))
        try:
            around.bodies[address] = await self._workers.hand_lists(around.namespace, address, lists)
        except NotAnswered as error:
            raise _Missing(f"it could not be handed over: {error}") from error

    async def _text(self, around: "_Around", of: ListOf) -> tuple[tuple[str, str], bytes]:
        """Give the version of a list, and its text."""
        kind, name, key = of.source.split("/")
        if (kind, name) not in around.objects:
            around.objects[kind, name] = await self._object(ObjectKey("", KINDS[kind], around.namespace, name))
        found = around.objects[kind, name]
        if isinstance(found, str):
            raise _Missing(found)
        version = (str(found["metadata"].get("uid")), str(found["metadata"].get("resourceVersion")))
        plain = (found.get("data") or {}).get(key) if kind == "configmap" else None
        if plain is not None:
            return version, str(plain).encode()
        packed = (found.get("binaryData" if kind == "configmap" else "data") or {}).get(key)
        if packed is None:
            raise _Missing(f"{KINDS[kind]} {name} has no key {key}")
        try:
            return version, base64.b64decode(packed, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise _Missing(f"{KINDS[kind]} {name} has no readable data under {key}") from None

    async def _object(self, key: ObjectKey) -> Manifest | str:
        try:
            found = await self._gateway.get(key)
        except ApiError as error:
            if error.status == 403:
                return f"{key.kind} {key.name} must not be read by the operator: see rbac.secrets of the chart"
            return f"{key.kind} {key.name} could not be read: {error.message}"
        if found is None:
            return f"there is no {key.kind} {key.name}"
        kind = found.get("type") or "Opaque"
        if key.kind == "Secret" and kind != "Opaque" and "kubernetes.io/" in kind:
            # Whoever may write rules must not learn by them what is in credentials.
            return f"Secret {key.name} is of type {kind}, which holds credentials and no list"
        return found


async def _here(work: Callable[[], Reading]) -> Reading:
    return work()


def _lacking(of: ListOf, digest: str, bodies: dict[str, bytes]) -> Iterable[str]:
    """Give the workers that judge by another version of a list, or by none."""
    found = {address: kept_lists(body).get(of) for address, body in bodies.items()}
    return [address for address, each in found.items() if each is None or each.digest != digest]


def _entries(of: ListOf, bodies: dict[str, bytes]) -> int | None:
    """Give how many entries hold at all workers; None where one has none of the list."""
    found = [kept_lists(body).get(of) for body in bodies.values()]
    return min((each.entries for each in found if each), default=None) if all(found) else None
