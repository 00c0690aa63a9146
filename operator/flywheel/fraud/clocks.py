"""What becomes of edges whose clocks are ahead. Pure. Needs the extra `fraud`.

Windows go on by the newest arrival, so one machine that is an hour ahead would make the events of all others late, and
nobody would judge them. No event arrives later than now: what says so is taken to have arrived now, before it is
written into the journal, so that a replay finds the same.
"""

import msgspec
import numpy as np

from flywheel.fraud.batch import Batch

DIFFER = 2_000
"""Milliseconds by which clocks may be ahead: those that are kept by NTP differ by far less."""


def believed(batch: Batch, now: int) -> tuple[Batch, int]:
    """Give a batch with arrivals that can be, and how many were ahead.

    Args:
        batch: As a sidecar has sent it, and checked.
        now: The time, in milliseconds since 1970.
    """
    arrived = np.frombuffer(batch.arrived, "<i8")
    ahead = int(np.count_nonzero(arrived > now + DIFFER))
    if not ahead:
        return batch, 0
    return msgspec.structs.replace(batch, arrived=np.minimum(arrived, now + DIFFER).astype("<i8").tobytes()), ahead
