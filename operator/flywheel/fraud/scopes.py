"""Whether a decision holds for a path, as HAProxy's rules see it; see `flywheel.edge.fraudrules`. Pure."""

import re
from urllib.parse import unquote

from flywheel.fraud.blocks import Decision

_UNCLEAR = re.compile(r"//|/\.\.?(/|$)|\\")


def holds(decision: Decision, path: str | None) -> bool:
    """Tell whether a decision holds for a path.

    Args:
        decision: What was decided.
        path: Of a request, without its query; None asks for all paths at once.
    """
    if path is None:
        return True
    read = re.sub(r";[^/]*", "", unquote(path))
    if _UNCLEAR.search(read):
        return True
    if decision.action == "Challenge" and decision.page and _is_below(read, decision.page):
        return False
    return any(_is_below(read, scope) for scope in decision.scope)


def _is_below(path: str, scope: str) -> bool:
    return f"{path}/".startswith(f"{scope.rstrip('/')}/")
