"""Which service and which variant an event belongs to: by the page it happened on, as the edge routes it."""

from collections.abc import Callable
from functools import lru_cache

from flywheel.edge.bucket import assigned
from flywheel.edge.document import EdgeDocument, EdgeRoute


class Placement:
    """The routes and tests of one document."""

    def __init__(self, document: EdgeDocument) -> None:
        # The longest path wins, and at equal length a route for the host before one for every host.
        self._routes = sorted(document.routes, key=lambda each: (-len(each.path), not each.hosts))
        self._live = document.live
        self._remembering = frozenset(test.name for test in document.live.tests if test.remembers)
        self.tested = bool(document.live.tests)
        """Whether there are any tests."""
        self.service: Callable[[str, str], str] = lru_cache(maxsize=4_096)(self._service)

    def _service(self, host: str, path: str) -> str:
        if not path:
            return ""
        for route in self._routes:
            if _is_below(path, route.path) and _serves(route, host):
                return route.service
        return ""

    def variant(self, service: str, visitor: str) -> str:
        """Name the variant that a visitor is served; empty without one, and where only the edge can know it."""
        found = assigned(self._live, service, visitor) if visitor else None
        if found is None:
            return ""
        test, variant = found
        # Of such a test a cookie says who is in, and the target who may enter: both are between browser and edge.
        return "" if test in self._remembering else variant


def _is_below(path: str, prefix: str) -> bool:
    bare = prefix.rstrip("/")
    return path == bare or path.startswith(f"{bare}/")


def _serves(route: EdgeRoute, host: str) -> bool:
    if not route.hosts or not host:
        return True
    return any(host == each or (each.startswith("*.") and host.endswith(each[1:])) for each in route.hosts)
