"""Which service and which variant an event belongs to: by the page it happened on, as the edge routes it."""

from collections.abc import Callable
from functools import lru_cache

from flywheel.edge.bucket import bucket
from flywheel.edge.document import EdgeDocument, EdgeRoute, Test


class Placement:
    """The routes and tests of one document."""

    def __init__(self, document: EdgeDocument) -> None:
        # The longest path wins, and at equal length a route for the host before one for every host.
        self._routes = sorted(document.routes, key=lambda each: (-len(each.path), not each.hosts))
        self._tests: dict[str, list[Test]] = {}
        for test in document.live.tests:
            self._tests.setdefault(test.service, []).append(test)
        self.tested = bool(self._tests)
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
        """Name the variant that a visitor is served; empty without a test, or outside of its share."""
        for test in self._tests.get(service, ()) if visitor else ():
            found = bucket(test.salt, visitor)
            for each in test.ranges:
                if each.start <= found < each.end:
                    return each.variant
        return ""


def _is_below(path: str, prefix: str) -> bool:
    bare = prefix.rstrip("/")
    return path == bare or path.startswith(f"{bare}/")


def _serves(route: EdgeRoute, host: str) -> bool:
    if not route.hosts or not host:
        return True
    return any(host == each or (each.startswith("*.") and host.endswith(each[1:])) for each in route.hosts)
