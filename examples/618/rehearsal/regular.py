"""Somebody at this machine who asks the shop on and on while it is changed, and notes what came."""

import asyncio
from contextlib import ExitStack
from typing import Self

import httpx
from tests.lab.cluster.client import Cluster

from rehearsal.releases import Told
from rehearsal.versions import CODE

PAUSE_SECONDS = 0.2
JSON = {"accept": "application/json"}


class Regular:
    """Asks for the front page and the coupons' terms while used as an asynchronous context, through the edge."""

    def __init__(self, cluster: Cluster, namespace: str, service: str, port: int) -> None:
        self._cluster, self._namespace, self._service, self._port = cluster, namespace, service, port
        self._forward = ExitStack()
        self._told: list[Told] = []
        self.url = ""
        """Where the shop can be reached while this is used."""
        self.version = ""
        """The coupon service that has answered last."""
        self.versions: set[str] = set()
        """All that have answered since the last `note_for`."""
        self.commit = ""
        """The commit of the front page that came last."""
        self.page = ""

    async def __aenter__(self) -> Self:
        opening = self._cluster.forward(self._service, self._port, self._namespace)
        port = await asyncio.to_thread(self._forward.enter_context, opening)
        self.url = f"http://127.0.0.1:{port}"
        self._http = httpx.AsyncClient(base_url=self.url, timeout=10)
        self._tasks = [asyncio.create_task(each()) for each in (self._ask_for_terms, self._ask_for_page)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()
        await asyncio.to_thread(self._forward.close)

    def note_for(self, told: Told) -> None:
        """Count what is asked from now on for this release, too."""
        self._told.append(told)
        self.versions = set()

    def note_no_more(self, told: Told) -> None:
        """Count no more for this release."""
        self._told.remove(told)

    async def claim(self) -> int:
        """Claim the coupon of the text message as somebody new; returns what it takes off, in cents.

        Raises:
            httpx.HTTPError: it was refused.
        """
        async with httpx.AsyncClient(base_url=self.url, timeout=10, headers=JSON) as somebody:
            answer = await somebody.post("/coupon", data={"code": CODE})
        answer.raise_for_status()
        return int(answer.json()["coupon"]["off_cents"])

    async def _ask_for_terms(self) -> None:
        while True:
            answer = await self._ask("/coupon", JSON)
            if answer is not None:
                self.version = str(answer.json()["version"])
                self.versions.add(self.version)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _ask_for_page(self) -> None:
        while True:
            answer = await self._ask("/", {})
            if answer is not None:
                self.commit, self.page = answer.headers.get("x-content-revision", ""), answer.text
            await asyncio.sleep(PAUSE_SECONDS)

    async def _ask(self, path: str, headers: dict[str, str]) -> httpx.Response | None:
        noting, problem, answer = tuple(self._told), "", None
        try:
            answer = await self._http.get(path, headers=headers)
            if answer.status_code != httpx.codes.OK:
                problem = f"GET {path}: HTTP status {answer.status_code}"
        except httpx.HTTPError as error:
            problem = f"GET {path}: {type(error).__name__} {error}"
        for told in noting:
            told.asked += 1
            told.failed += [problem] if problem else []
        return None if problem else answer
