"""What stands in a worker's journal and in its snapshots. Pure."""

import msgspec

from flywheel.fraud.blocks import Decision
from flywheel.fraud.words import Event


class Events(msgspec.Struct, frozen=True, tag="events", array_like=True):
    """A batch of one sidecar."""

    campaign: str
    sender: str
    """The process that sent it: pod, and a word of its own for each start."""
    number: int
    """Of the batch, one higher for each batch of a sender: a batch that comes twice is known by it."""
    events: tuple[Event, ...]


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


Record = Events | Rules | Removal | Model


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
    models: tuple[str, ...] = ()
    """Digests of those that may be asked, the one that was handed over last at the end."""


encode = msgspec.msgpack.Encoder().encode
_record = msgspec.msgpack.Decoder(Record)
_snapshot = msgspec.msgpack.Decoder(Snapshot)


def read_record(data: bytes) -> Record:
    """Read a record.

    Raises:
        msgspec.DecodeError: It is none.
    """
    return _record.decode(data)  # type: ignore[no-any-return]


def read_snapshot(data: bytes) -> Snapshot:
    """Read a snapshot.

    Raises:
        msgspec.DecodeError: It is none.
    """
    return _snapshot.decode(data)
