"""Counts as the sidecar of an edge pod does, at a rate that is set from outside: run inside a pod, on its own."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 9101
COUNTERS = """\
campaign_events_total{{namespace="-",campaign="-",event="Order Completed",channel="direct"}} {value}
campaign_requests_total{{namespace="-",campaign="-",service="seckill",slot="active",variant="",code="2xx"}} {value}
"""


class Counter:
    """Counts steadily."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value, self._since, self._per_second = 0.0, time.monotonic(), 0.0

    def set(self, per_second: float) -> None:
        with self._lock:
            self._value, self._since = self._now(), time.monotonic()
            self._per_second = per_second

    def text(self) -> str:
        with self._lock:
            return COUNTERS.format(value=self._now())

    def _now(self) -> float:
        return self._value + (time.monotonic() - self._since) * self._per_second


COUNTER = Counter()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.strip("/")
        if path != "metrics":
            COUNTER.set(float(path))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(COUNTER.text().encode())

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("", PORT), Handler).serve_forever()
