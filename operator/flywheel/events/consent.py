"""Whether a visitor agreed to be measured.

Two voices: the edge, which reads the consent cookie (`X-FW-Consent`), and the event itself, which may carry Segment's
`context.consent.categoryPreferences` with a category Analytics.

- Where the campaign asks for consent, silence is a no: without a yes of the edge, or of the event, the event is refused
  as `no_consent` and nothing of it is kept but its type, name and time.
- An event that says no is refused there even if the cookie says yes.
- Where the campaign does not ask, an event that says no (or an edge that does) is counted without whom it is about: no
  visitor, user, address, user agent, properties or context. Calls that are about nothing but a person (identify, group,
  alias) are refused.
"""

from typing import Any, Literal

Decision = Literal["full", "anonymous", "refused"]
CATEGORY = "analytics"
_ONLY_ABOUT_PERSONS = frozenset({"identify", "group", "alias"})


def said_by_event(consent: Any) -> bool | None:
    """Read `context.consent`: yes, no, or None where it says nothing of analytics."""
    preferences = consent.get("categoryPreferences") if isinstance(consent, dict) else None
    if not isinstance(preferences, dict):
        return None
    said = [value for name, value in preferences.items() if str(name).lower() == CATEGORY and isinstance(value, bool)]
    return all(said) if said else None


def decide(kind: str, *, required: bool, edge: bool, event: bool | None) -> Decision:
    """Decide what may be kept of an event of type `kind`."""
    if required:
        return "refused" if event is False or not (edge or event) else "full"
    if event is False or not edge:
        return "refused" if kind in _ONLY_ABOUT_PERSONS else "anonymous"
    return "full"
