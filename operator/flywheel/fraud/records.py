"""What stands in a worker's journal and in its snapshots. Pure."""

import msgspec

from flywheel.fraud.batch import FORMAT, Batch
from flywheel.fraud.blocks import Decision
from flywheel.fraud.labels import Label
from flywheel.fraud.listed import PackedList
from flywheel.fraud.pardons import Pardon
from flywheel.fraud.policy import ListOf
from flywheel.fraud.verdicts import Kept


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


Record = Events | Rules | Removal | Labelled | Pardoned | Lists | Model | Past


class Sender(msgspec.Struct, array_like=True):
    """What is known of a sidecar's process."""

    number: int
    """Of its last batch."""
    at: int
    """When that came, by the time of its events, in milliseconds."""


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
