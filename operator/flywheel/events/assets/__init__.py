"""What the sidecar serves to browsers."""

from functools import cache
from importlib import resources


@cache
def script() -> bytes:
    """Return the script of pages, `/fw.js`."""
    return resources.files(__name__).joinpath("fw.js").read_bytes()
