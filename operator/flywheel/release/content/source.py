"""Where content comes from, who asks for it, and what may go wrong on the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Reason = Literal[
    "RefNotFound",
    "RepositoryNotFound",
    "Unreachable",
    "Unauthorized",
    "Refused",
    "BadAnswer",
    "BadCredentials",
    "CommitNotFound",
    "PathNotFound",
    "TooLarge",
    "Forbidden",
    "Internal",
]
"""Refused: an address that is never called. Forbidden: content that is never published, such as a submodule."""

LONGEST_MESSAGE = 500


class ContentProblem(Exception):  # noqa: N818 - of content, told to people; not always a fault of ours
    """Content cannot be had. The message is for people and for a status: it holds no credentials."""

    def __init__(self, reason: Reason, message: str) -> None:
        """Make a problem.

        Args:
            reason: For programs.
            message: What is wrong and what to do; what a server said is cut and printable.
        """
        shown = "".join(each if each.isprintable() else "?" for each in message[:LONGEST_MESSAGE])
        super().__init__(shown)
        self.reason: Reason = reason
        self.message = shown


@dataclass(frozen=True, slots=True)
class GitSource:
    """A ref of a repository, and with whose Secret it is read."""

    namespace: str
    url: str
    ref: str
    secret_name: str | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a Secret says. Never logged: a representation shows none of it."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    authorities: str | None = field(default=None, repr=False)
    """Certificates (PEM) that are trusted beside the public ones."""


ANONYMOUS = Credentials()
TOKEN_USER = "x-access-token"  # noqa: S105 - servers take any name beside a token; GitHub recommends this one
CREDENTIAL_KEYS = ("username", "password", "token", "ca.crt")
"""What is of use in a Secret."""
_MOST_BYTES = 64 << 10


def read_credentials(data: Mapping[str, bytes], secret: str) -> Credentials:
    """Read credentials from the keys of a Secret: `username` and `password`, or `token`; and `ca.crt`.

    Args:
        data: The Secret's data, decoded.
        secret: Its name, for messages.

    Raises:
        ContentProblem: They are not usable; BadCredentials.
    """
    password = _line(data, "token", secret) or _line(data, "password", secret)
    username = _line(data, "username", secret) or (TOKEN_USER if "token" in data else "")
    if ":" in username:
        raise ContentProblem("BadCredentials", f"Key username of Secret {secret} must not hold ':': correct it")
    if bool(username) != bool(password):
        raise ContentProblem(
            "BadCredentials", f"Secret {secret} must have the keys username and password, or token: add what is missing"
        )
    return Credentials(username, password, _text(data, "ca.crt", secret) or None)


def read_credentials_from(directory: Path) -> Credentials:
    """Read credentials from the files of a mounted Secret.

    Raises:
        ContentProblem: They are not usable; BadCredentials.
    """
    try:
        found = {key: directory / key for key in CREDENTIAL_KEYS if (directory / key).is_file()}
        return read_credentials({key: _head(path) for key, path in found.items()}, "of secretName")
    except OSError as error:
        raise ContentProblem("BadCredentials", f"The Secret of secretName cannot be read: {error.strerror}") from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES + 1)


def _line(data: Mapping[str, bytes], key: str, secret: str) -> str:
    text = _text(data, key, secret).strip("\r\n")
    if not text.isprintable():
        raise ContentProblem("BadCredentials", f"Key {key} of Secret {secret} must be one line of text: correct it")
    return text


def _text(data: Mapping[str, bytes], key: str, secret: str) -> str:
    value = data.get(key, b"")
    if len(value) > _MOST_BYTES:
        raise ContentProblem("BadCredentials", f"Key {key} of Secret {secret} is longer than {_MOST_BYTES} bytes")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ContentProblem(
            "BadCredentials", f"Key {key} of Secret {secret} is no text (UTF-8): correct it"
        ) from error
