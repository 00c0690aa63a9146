"""What labels say of a rule that was tried on the past: on its status, so that it holds until the next trial. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flywheel.campaign.fraudtrial import RECORD
from flywheel.fraud.backtest_asking import Answer
from flywheel.fraud.proof import Evidence, total
from flywheel.plan import Manifest, as_json

KNOWN = "known"
"""What of the record of trials this is."""


def evidence_of(answers: Sequence[Answer]) -> Evidence | None:
    """Add up what labels say in several Campaigns; None where there were none to look at."""
    known = [each.evidence for each in answers if each.evidence is not None]
    return total(known) if known else None


def noted(record: Mapping[str, Any], evidence: Evidence | None) -> Manifest:
    """Put what labels say beside what else is recorded of a trial."""
    if evidence is None or not evidence.precision.labels:
        return dict(record)
    # Precision is all that is asked of the past.
    told = as_json(Evidence(found=evidence.found, alone=evidence.alone, precision=evidence.precision))
    return {**record, RECORD: {**record[RECORD], KNOWN: told}}


def noted_before(record: Mapping[str, Any], held: Mapping[str, Any]) -> Manifest:
    """Keep what labels said at the trial before, of the same generation, while the store does not answer."""
    before = (held.get("record") or {}).get(RECORD)
    if not isinstance(before, Mapping) or before.get("generation") != record[RECORD]["generation"]:
        return dict(record)
    return {**record, RECORD: {**record[RECORD], **{name: before[name] for name in (KNOWN,) if name in before}}}


def known_of_the_past(record: Mapping[str, Any], generation: int) -> Evidence | None:
    """Read what labels said of a generation of a rule when it was tried on the past; None where they said nothing.

    Args:
        record: What the operator goes on from.
        generation: Of the rule as it is now.
    """
    tried = record.get(RECORD)
    if not isinstance(tried, Mapping) or tried.get("generation") != generation:
        return None
    try:
        known = msgspec.convert(tried.get(KNOWN), Evidence)
    except msgspec.ValidationError:
        return None
    return known if known.precision.makes_sense else None
