"""How an id may stand in text that clients wrote: what is to be erased is found in each of these forms. Pure."""

import json
import re

_ESCAPE = re.compile(r"\\u[0-9a-f]{4}")


def forms_of(identity: str) -> tuple[str, ...]:
    """Give an id as it is first, and then as JSON libraries write it: some escape all that is not ASCII, some `/`."""
    kept = json.dumps(identity, ensure_ascii=False)[1:-1]
    escaped = json.dumps(identity)[1:-1]
    upper = _ESCAPE.sub(lambda found: f"\\u{found[0][2:].upper()}", escaped)
    written = (kept, escaped, upper)
    slashed = (each.replace("/", "\\/") for each in written)
    return tuple(dict.fromkeys((identity, *written, *slashed)))
