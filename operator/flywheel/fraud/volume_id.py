"""A name for a worker's volume, made once on it: by it edges see that a worker began anew and has forgotten all."""

import re
import secrets
from pathlib import Path

from flywheel.events.volume_lock import write_secret
from flywheel.fraud.feed import VOLUME_DIGITS

_NAME = re.compile(rf"[0-9a-f]{{{VOLUME_DIGITS}}}")


def load_or_make(path: Path) -> str:
    """Give the name.

    Raises:
        OSError: The file can neither be read nor written.
        ValueError: What stands in it is no name.
    """
    try:
        found = path.read_text("ascii").strip()
    except FileNotFoundError:
        found = secrets.token_hex(VOLUME_DIGITS // 2)
        write_secret(path, found)
    if not _NAME.fullmatch(found):
        raise ValueError(f"{path} holds no name of a volume")
    return found
