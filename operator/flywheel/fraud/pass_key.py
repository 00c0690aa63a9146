"""The key with which workers sign passes: made once, on a volume, and shown to sidecars and other workers alone."""

import json
import secrets
from pathlib import Path

from flywheel.events.volume_lock import write_secret

Key = tuple[str, bytes]
"""Name and key."""


def load(path: Path) -> Key | None:
    """Give the key that is on the volume; None where there is none.

    Raises:
        OSError: The file cannot be read.
        ValueError: What stands in it is no key.
    """
    try:
        return read(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} holds no key: {error}") from error


def read(text: str | bytes) -> Key:
    """Read what `written` has written.

    Raises:
        ValueError: It is no key.
    """
    try:
        found = json.loads(text)
        name, key = found["name"], bytes.fromhex(found["key"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"name or key is missing: {error}") from error
    if not isinstance(name, str) or not name or not key:
        raise ValueError("name or key is empty")
    return name, key


def written(key: Key) -> str:
    """Write a key as JSON."""
    return json.dumps({"name": key[0], "key": key[1].hex()})


def keep(path: Path, key: Key) -> Key:
    """Put a key on the volume, and give it.

    Raises:
        OSError: The file cannot be written.
    """
    write_secret(path, written(key))
    return key


def new_key() -> Key:
    """Make a key that nobody else has."""
    return secrets.token_hex(6), secrets.token_bytes(32)
