"""What can go wrong between us and the API server, in the few distinctions that decisions need."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNREACHABLE = 0
"""The status of a call that got no answer at all."""
UNTYPED = "failed to create typed patch object"
_UNTYPED_FIELD = re.compile(r"(?<![^\s(])\.([A-Za-z_][^\s:]*): ([^\n]+)")


class NotLeader(Exception):  # noqa: N818 - it is a fact about this process, not a fault
    """A write was about to leave this process while it does not hold the lease."""


class LoginError(Exception):
    """There is no way to find or to use the credentials for an API server. The text says what was tried."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One field that the API server refused."""

    field: str
    message: str


class ApiError(Exception):
    """The API server refused a call, failed at it, or could not be reached.

    Attributes:
        status: The HTTP status, or 0 where no answer came.
        reason: The machine-readable reason of Kubernetes (`Conflict`, `Invalid`, ...), or `Unreachable`, `Timeout`.
        message: What the server said, for people.
        causes: The refused fields, where the server named them.
        retry_after: Seconds that the server asks to wait, or None.
    """

    def __init__(
        self, status: int, reason: str, message: str, causes: tuple[Cause, ...] = (), retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes
        self.retry_after = retry_after

    @property
    def is_conflict(self) -> bool:
        """Somebody else wrote first, or the object exists already."""
        return self.status == 409

    @property
    def is_not_found(self) -> bool:
        """The object, or its whole API, is not there."""
        return self.status in (404, 410)

    @property
    def is_invalid(self) -> bool:
        """The server will never accept this value: sending it again cannot help."""
        return self.status in (400, 422)

    @property
    def is_about_duplicate_ports(self) -> bool:
        """Nothing else is wrong but that two ports have the same name or number."""
        return bool(self.causes) and all(
            ".ports[" in cause.field and cause.message.startswith("Duplicate value") for cause in self.causes
        )

    @property
    def is_forbidden(self) -> bool:
        """We lack the right, or a policy or quota refuses it."""
        return self.status in (401, 403)

    @property
    def is_namespace_terminating(self) -> bool:
        """Nothing can be created in the namespace, as it is being deleted."""
        return self.status == 403 and "is being terminated" in self.message

    @property
    def is_retryable(self) -> bool:
        """The same call may well succeed a little later."""
        return self.status in (UNREACHABLE, 408, 409, 429) or self.status >= 500

    @property
    def result(self) -> str:
        """One of a handful of words, for metrics."""
        words = {UNREACHABLE: "unreachable", 404: "not_found", 409: "conflict", 410: "gone", 429: "throttled"}
        if self.status in words:
            return words[self.status]
        if self.is_invalid:
            return "invalid"
        if self.is_forbidden:
            return "forbidden"
        return "server_error" if self.status >= 500 else "client_error"


def error_from_status(status: int, fallback: str, body: Mapping[str, Any] | None, retry_after: str | None) -> ApiError:
    """Make an `ApiError` from the `Status` object in an answer, which may be missing or no `Status` at all."""
    said = body if body is not None and body.get("kind") == "Status" else {}
    details = said.get("details") or {}
    causes = tuple(Cause(c.get("field", ""), c.get("message", "")) for c in details.get("causes") or ())
    message = said.get("message") or f"The API server answered {status} {fallback}.".strip()
    if status == 500 and message.startswith(UNTYPED):
        # The server takes a field that its schema does not know for a fault of its own. Trying again would be in vain.
        refused = tuple(Cause(field, text) for field, text in _UNTYPED_FIELD.findall(message))
        return ApiError(422, "Invalid", message, refused)
    wait = details.get("retryAfterSeconds") or (float(retry_after) if retry_after and retry_after.isdigit() else None)
    return ApiError(
        status=int(said.get("code") or status),
        reason=said.get("reason") or fallback or "Unknown",
        message=message,
        causes=causes,
        retry_after=float(wait) if wait is not None else None,
    )
