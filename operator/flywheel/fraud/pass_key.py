"""The key with which a worker signs passes: made once, on its volume, and never shown to anybody but sidecars."""

import json
import secrets
from pathlib import Path

from flywheel.events.volume_lock import write_secret


def load_or_make(path: Path) -> tuple[str, bytes]:
    """Give name and key.

    Raises:
        OSError: The file can neither be read nor written.
        ValueError: What stands in it is no key.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        return str(found["name"]), bytes.fromhex(found["key"])
    except FileNotFoundError:
        name, key = secrets.token_hex(6), secrets.token_bytes(32)
        write_secret(path, json.dumps({"name": name, "key": key.hex()}))
        return name, key
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no key: {error}") from error
