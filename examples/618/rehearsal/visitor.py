"""A visitor at this machine: reaches the shop through a forwarded port, as a person's browser would."""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

import httpx
from tests.lab.cluster.client import Cluster

from rehearsal.verdict import Seen

Say = Callable[[str], None]
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36"
"""What a program says that is to be counted as a person: the edge leaves others out of the key figures."""


class Visitor:
    """Holds the forwarded port open while used as an asynchronous context; `url` is what a browser opens."""

    def __init__(self, cluster: Cluster, namespace: str, service: str, port: int, say: Say) -> None:
        self._cluster, self._namespace, self._service, self._port, self._say = cluster, namespace, service, port, say
        self._forward = ExitStack()
        self.url = ""

    async def __aenter__(self) -> Self:
        opening = self._cluster.forward(self._service, self._port, self._namespace)
        port = await asyncio.to_thread(self._forward.enter_context, opening)
        self.url = f"http://127.0.0.1:{port}"
        self._http = httpx.AsyncClient(
            base_url=self.url, timeout=10, headers={"accept": "application/json", "user-agent": BROWSER}
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()
        await asyncio.to_thread(self._forward.close)

    async def arrive(self) -> None:
        """Open the front page."""
        started = time.perf_counter()
        page = await self._http.get("/", headers={"accept": "text/html"})
        page.raise_for_status()
        title = page.text.partition("<title>")[2].partition("</title>")[0]
        took = (time.perf_counter() - started) * 1000
        self._say(
            f"shop      GET {self.url}/ -> {page.status_code} in {took:.0f} ms: {title}, {len(page.text)} characters"
        )

    async def try_to_buy(self) -> int:
        """Press the flash sale's button; returns the HTTP status: 201 bought, 425 too early, 409 sold out."""
        page = await self._http.get("/seckill")
        page.raise_for_status()
        offer = page.json()["flash"][-1]
        answer = await self._http.post(f"/seckill/{offer['sku']}", json={"ticket": offer["ticket"]})
        said = answer.json()
        what = f"purchase {said['purchase']['id']}" if answer.is_success else f"{said['error']}: {said['message']}"
        self._say(f"shop      POST /seckill/{offer['sku']} -> {answer.status_code} {what}")
        return answer.status_code

    async def shop(self) -> int:
        """Claim the coupon, fill the cart, order and pay; returns the cents paid.

        Raises:
            httpx.HTTPError: a step failed.
            ValueError: the second press of the button charged again.
        """
        coupon = (await self._post("/coupon", {}))["coupon"]
        await self._post("/cart", {"sku": "xingtu-backpack", "quantity": "2"})
        purchase = (await self._post("/cart/order", {}))["purchase"]
        key = {"key": f"rehearsal-{purchase['id']}"}
        paid, again = [(await self._post(f"/pay/{purchase['id']}", key))["purchase"] for _ in range(2)]
        worth = coupon["off_cents"] // 100
        goods, off, paid_cents = (purchase[f"{each}_cents"] for each in ("goods", "discount", "total"))
        self._say(
            f"shop      two backpacks for ¥{goods // 100}, discount ¥{off // 100}, coupon ¥{worth}:"
            f" paid ¥{paid_cents // 100}"
        )
        if again["paid_at"] != paid["paid_at"]:
            raise ValueError(f"purchase {purchase['id']} was charged twice for one key")
        return paid_cents

    async def watch(self, seen: Seen, open_: Callable[[], bool], interval: float = 1.0) -> None:
        """Reload the front page while the sale is open, and keep count of what came and what did not."""
        while open_():
            try:
                page = await self._http.get("/")
                if page.status_code == httpx.codes.OK:
                    seen.answers += 1
                else:
                    seen.unanswered.append(f"HTTP status {page.status_code}")
            except httpx.HTTPError as error:
                seen.unanswered.append(f"{type(error).__name__}: {error}")
            await asyncio.sleep(interval)

    async def _post(self, path: str, fields: dict[str, str]) -> dict[str, dict[str, int]]:
        answer = await self._http.post(path, json=fields)
        answer.raise_for_status()
        said: dict[str, dict[str, int]] = answer.json()
        return said
