"""One campaign at a worker: its engine, its decisions, and a digest of everything that was ever judged. Pure."""

import hashlib
from collections.abc import Callable, Sequence

import msgspec

from flywheel.fraud.blocks import Blocks
from flywheel.fraud.records import CampaignState
from flywheel.fraud.rulings import FraudEngine, Ruling
from flywheel.fraud.words import Event

_encode = msgspec.msgpack.Encoder().encode
OnRuling = Callable[[str, Ruling], None]
"""Told campaign and ruling."""


class Desk:
    """Judges the events of one campaign and keeps what follows from it."""

    def __init__(self, campaign: str, engine: FraudEngine) -> None:
        self.campaign, self.engine = campaign, engine
        self.blocks = Blocks()
        self.events = self.verdicts = 0
        self.problem = ""
        """Why the newest rules do not hold; empty where they do."""
        self.digest = b""
        """Of all rulings in their order: two workers with equal digests have said the same, byte for byte."""

    def judge(self, events: Sequence[Event], on_ruling: OnRuling | None = None) -> bool:
        """Judge events; tell whether other decisions hold than before."""
        self.events += len(events)
        changed = False
        for ruling in self.engine.judge(events):
            self.verdicts += 1
            self.digest = hashlib.blake2b(self.digest + _encode(ruling), digest_size=16).digest()
            for decision in ruling.decisions:
                changed |= self.blocks.put(decision)
            if on_ruling is not None:
                on_ruling(self.campaign, ruling)
        return changed

    def state(self) -> CampaignState:
        """Write down what has to be kept."""
        version, decisions = self.blocks.dump()
        return CampaignState(self.engine.snapshot(), version, decisions, self.events, self.verdicts, self.digest)

    def restore(self, state: CampaignState) -> None:
        """Become what was written down.

        Raises:
            ValueError: The engine cannot read its part.
        """
        self.engine.restore(state.engine)
        self.blocks.load(state.version, state.decisions)
        self.events, self.verdicts, self.digest = state.events, state.verdicts, state.digest
