"""What is known of a Campaign by name: its events and where its edge leads; and what a slip of the pen meant. Pure."""

import difflib

from flywheel.api.analytics import Analytics
from flywheel.api.campaign import Campaign


def declared_events(campaign: Campaign) -> dict[str, dict[str, str]]:
    """Events that are known by name, each with the types of the properties that are checked."""
    order = (campaign.spec.analytics or Analytics()).order.event
    declared = campaign.spec.edge.events.declared if campaign.spec.edge else ()
    return {order: {}} | {event.name: {each.name: each.type for each in event.properties} for event in declared}


def is_below(prefix: str, path: str) -> bool:
    """Whether a path lies below a prefix, by whole elements."""
    return prefix == "/" or path == prefix or path.startswith(f"{prefix}/")


def meant(name: str, known: list[str]) -> str:
    """A hint at what exists, to be put behind a sentence."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {close[0]}?)"
    return f" (there are {', '.join(sorted(known)[:8])})" if known else ""
