"""What stands in a worker's journal and in its snapshots. Pure."""

import msgspec

from flywheel.fraud.batch import FORMAT, Batch
from flywheel.fraud.blocks import Decision


class Events(msgspec.Struct, frozen=True, tag="batch", array_like=True):
    """A batch of one sidecar."""

    campaign: str
    sender: str
    """The process that sent it: pod, and a word of its own for each start."""
    number: int
    """Of the batch, one higher for each batch of a sender: a batch that comes twice is known by it."""
    batch: Batch


class Rules(msgspec.Struct, frozen=True, tag="rules", array_like=True):
    """From here on other rules hold."""

    text: bytes


class Removal(msgspec.Struct, frozen=True, tag="removal", array_like=True):
    """Somebody has ended a decision before its time."""

    campaign: str
    decision: str


Record = Events | Rules | Removal


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


class Snapshot(msgspec.Struct, array_like=True):
    """All that a worker knows at one position of its journal."""

    position: int
    rules: bytes
    senders: dict[str, Sender]
    campaigns: dict[str, CampaignState]


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
    if isinstance(record, Events) and record.batch.format != FORMAT:
        raise ValueError(f"a record of the journal has events in the format {record.batch.format}; known is {FORMAT}")
    return record


def read_snapshot(data: bytes) -> Snapshot:
    """Read a snapshot.

    Raises:
        msgspec.DecodeError: It is none.
    """
    return _snapshot.decode(data)
