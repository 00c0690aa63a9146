"""What stands in a worker's journal and in its snapshots. Pure."""

import msgspec

from flywheel.fraud.batch import FORMAT, Batch
from flywheel.fraud.blocks import Decision
from flywheel.fraud.erasing import Erasure, ErasuresState
from flywheel.fraud.labels import Label
from flywheel.fraud.listed import PackedList
from flywheel.fraud.pardons import Pardon
from flywheel.fraud.policy import ListOf
from flywheel.fraud.verdicts import Kept
from flywheel.fraud.words import Event, Verdict


class Events(msgspec.Struct, frozen=True, tag="batch", array_like=True):
    """A batch of one sidecar."""

    campaign: str
    sender: str
    """The process that sent it: pod, and a word of its own for each start."""
    number: int
    """Of the batch, one higher for each batch of a sender: a batch that comes twice is known by it."""
    batch: Batch
    lost: int = 0
    """Events before these that the sidecar had no room for."""
    workers: int = 1
    """To how many workers these and all later events of the sender go."""


class Rules(msgspec.Struct, frozen=True, tag="rules", array_like=True):
    """From here on other rules hold."""

    text: bytes


class Removal(msgspec.Struct, frozen=True, tag="removal", array_like=True):
    """Somebody has ended a decision before its time."""

    campaign: str
    decision: str


class Model(msgspec.Struct, frozen=True, tag="model", array_like=True):
    """From here on a model may be asked; its file lies on the volume."""

    digest: str


class Labelled(msgspec.Struct, frozen=True, tag="labelled", array_like=True):
    """Somebody has said who was dishonest, and who was not."""

    campaign: str
    labels: tuple[Label, ...]


class Pardoned(msgspec.Struct, frozen=True, tag="pardoned", array_like=True):
    """Somebody is left alone for a while."""

    campaign: str
    pardon: Pardon
    at: int
    """When that was said, in milliseconds since 1970."""


class Lists(msgspec.Struct, frozen=True, tag="lists", array_like=True):
    """From here on lists have other entries. Those that are not wanted any more are forgotten."""

    wanted: tuple[ListOf, ...]
    """All that rules name. Of those that are not put, what was put last goes on."""
    put: tuple[PackedList, ...] = ()


class Erased(msgspec.Struct, frozen=True, tag="erased", array_like=True):
    """Somebody is to be found nowhere any more."""

    campaign: str
    erasure: Erasure


class ErasureStep(msgspec.Struct, frozen=True, tag="erasureStep", array_like=True):
    """An erasure has come so far that its names are needed no more."""

    campaign: str
    receipt: str
    gone: bool = False
    """Nothing on the volume names them any more."""


class Heard(msgspec.Struct, frozen=True, array_like=True):
    """A verdict of another engine, and the event that it is about."""

    verdict: Verdict
    event: Event
    lane: int
    place: int


class Elsewhere(msgspec.Struct, frozen=True, tag="elsewhere", array_like=True):
    """Verdicts that another engine has written to a topic."""

    campaign: str
    topic: str
    positions: dict[int, int]
    """By partition of the topic: where to go on reading."""
    heard: tuple[Heard, ...] = ()


class Past(msgspec.Struct, frozen=True, tag="past", array_like=True):
    """What the event store knows of the time before a rule: new windows of it are filled with that."""

    campaign: str
    rule: str
    version: str
    """Digest of what the rule judges by."""
    start: int
    """From when these are all that can matter to the rule, in milliseconds since 1970."""
    until: int
    """Up to when, included."""
    batches: tuple[Batch, ...] = ()
    """In the order in which they arrived."""


Record = Events | Rules | Removal | Labelled | Pardoned | Lists | Model | Erased | ErasureStep | Elsewhere | Past


class Sender(msgspec.Struct, array_like=True):
    """What is known of a sidecar's process."""

    number: int
    """Of its last batch."""
    at: int
    """When that came, by the time of its events, in milliseconds."""
    workers: int = 1
    """To how many workers its events go, from that batch on."""


class CampaignState(msgspec.Struct, array_like=True):
    """One campaign in a snapshot."""

    engine: bytes
    version: int
    decisions: tuple[Decision, ...]
    events: int
    verdicts: int
    digest: bytes
    labels: tuple[Label, ...] = ()
    pardons: tuple[Pardon, ...] = ()
    lost: int = 0
    erasures: ErasuresState = ErasuresState()


class Snapshot(msgspec.Struct, array_like=True):
    """All that a worker knows at one position of its journal."""

    position: int
    rules: bytes
    senders: dict[str, Sender]
    campaigns: dict[str, CampaignState]
    unfiled: tuple[Kept, ...] = ()
    """Verdicts that the archive did not have yet."""
    lists: tuple[PackedList, ...] = ()
    models: tuple[str, ...] = ()
    """Digests of those that may be asked, the one that was handed over last at the end."""
    shard: int = 0
    of: int = 1
    """Of how many shards this is one; 0 where it has no keys yet. Older versions knew one alone."""
    topics: dict[str, dict[int, int]] = {}
    """By topic of verdicts and its partition: where to go on reading."""


encode = msgspec.msgpack.Encoder().encode
_record = msgspec.msgpack.Decoder(Record)
_snapshot = msgspec.msgpack.Decoder(Snapshot)


def read_record(data: bytes) -> Record:
    """Read a record.

    Raises:
        ValueError: It is none, or of another version.
    """
    try:
        record: Record = _record.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(f"a record of the journal is none of this version: {error}") from error
    batches = (record.batch,) if isinstance(record, Events) else record.batches if isinstance(record, Past) else ()
    if other := {each.format for each in batches} - {FORMAT}:
        raise ValueError(f"a record of the journal has events in the format {min(other)}; known is {FORMAT}")
    return record


def read_snapshot(data: bytes) -> Snapshot:
    """Read a snapshot.

    Raises:
        msgspec.DecodeError: It is none.
    """
    return _snapshot.decode(data)
