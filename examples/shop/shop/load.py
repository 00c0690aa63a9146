"""The crowd: visitors who come at a steady rate, open the flash sale, buy and pay, each over a connection of its own.

An open model: visitors come whether or not the earlier ones were served, as people do. A connection per visitor lets
every new pod take its share at once.
"""

import argparse
import asyncio
import json
import logging
import signal
import ssl
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

import httpx

from shop.serving import SESSION_COOKIE

MAX_WAITING = 500
# Reading the certificates anew for each visitor would cost more than the visit.
TLS = ssl.create_default_context()

log = logging.getLogger("shop.load")


@dataclass
class Tally:
    """What became of the visitors so far."""

    answers: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)

    def report(self, seconds: float) -> dict[str, object]:
        """Counts and latencies; `failed` counts requests that got no answer, or one of 5xx."""
        ordered = sorted(self.milliseconds)

        def quantile(q: float) -> float | None:
            return round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 1) if ordered else None

        failed = sum(n for answer, n in self.answers.items() if answer.startswith("5") or not answer[0].isdigit())
        return {
            "seconds": round(seconds, 1),
            "requests": self.answers.total(),
            "failed": failed,
            "answers": dict(self.answers),
            "p50_ms": quantile(0.5),
            "p95_ms": quantile(0.95),
            "p99_ms": quantile(0.99),
        }


async def visit(url: str, sku: str, tally: Tally) -> None:
    """One visitor: look at the sale, take the first product or `sku`. Failures are counted, never raised."""
    visitor = uuid.uuid4().hex
    headers = {"accept": "application/json"}
    async with httpx.AsyncClient(
        base_url=url, timeout=20, headers=headers, cookies={SESSION_COOKIE: visitor}, verify=TLS
    ) as http:
        page = await _request(http, "GET", "/seckill", tally)
        if page is None or page.status_code != 200:
            return
        offers = page.json()["flash"]
        offer = next((offer for offer in offers if offer["sku"] == sku), offers[0])
        await _request(http, "POST", f"/seckill/{offer['sku']}", tally, {"ticket": offer["ticket"]})


async def _request(
    http: httpx.AsyncClient, method: str, path: str, tally: Tally, fields: dict[str, str] | None = None
) -> httpx.Response | None:
    started = time.perf_counter()
    try:
        response = await http.request(method, path, json=fields)
    except httpx.HTTPError as error:
        tally.answers[type(error).__name__] += 1
        return None
    tally.milliseconds.append((time.perf_counter() - started) * 1000)
    tally.answers[str(response.status_code)] += 1
    return response


async def crowd(url: str, rate: float, seconds: float, sku: str, stop: asyncio.Event) -> Tally:
    """Send `rate` visitors a second for `seconds`, or until `stop` is set."""
    tally, visitors = Tally(), set[asyncio.Task[None]]()
    loop = asyncio.get_running_loop()
    started = loop.time()
    came = 0
    while not stop.is_set() and (now := loop.time() - started) < seconds:
        due = int(now * rate) + 1
        for _ in range(due - came):
            if len(visitors) >= MAX_WAITING:
                tally.answers["not_sent"] += 1
                continue
            visitor = asyncio.create_task(visit(url, sku, tally))
            visitors.add(visitor)
            visitor.add_done_callback(visitors.discard)
        came = due
        try:
            await asyncio.wait_for(stop.wait(), due / rate - now)
        except TimeoutError:
            continue
    if visitors:
        await asyncio.wait(visitors, timeout=15)
    return tally


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="address of the service seckill")
    parser.add_argument("--rate", type=float, default=20.0, help="visitors a second (default 20)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (default 60)")
    parser.add_argument("--sku", default="", help="what they want; default: the first product of the sale")


def main(options: argparse.Namespace) -> int:
    """Run the crowd and print its report as the last line."""

    async def run() -> int:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        started = time.monotonic()
        log.info({"message": "the crowd comes", "url": options.url, "rate": options.rate})
        tally = await crowd(options.url, options.rate, options.seconds, options.sku, stop)
        report = tally.report(time.monotonic() - started)
        print(json.dumps({"report": report}), flush=True)
        return 0 if report["requests"] and not report["failed"] else 1

    return asyncio.run(run())
