"""Why an event is not taken in: the words that clients, counters and dead letters share."""

REASONS = (
    "invalid_json",
    "too_large",
    "too_deep",
    "too_many",
    "wrong_type",
    "missing_field",
    "invalid_type",
    "no_identity",
    "undeclared_event",
    "missing_property",
    "no_consent",
    "unknown_key",
    "foreign_origin",
    "bad_encoding",
    "too_slow",
    "not_ready",
    "spool_full",
    "disk",
)
"""All there are, so that a counter by reason stays small."""


class Refused(Exception):  # noqa: N818 - named for what became of the event
    """One event, or a whole call, is not taken in."""

    def __init__(self, reason: str, detail: str) -> None:
        """Make a refusal.

        Args:
            reason: One of `REASONS`.
            detail: For people: which field, what was found, what is wanted.
        """
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
