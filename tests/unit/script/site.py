"""A shop's site on this machine: pages with the script in them, and the edge's way to the collector."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from tests.unit.script.receiving import WRITE_KEY, Receiver, Row, orders

STRICT_POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; form-action 'self'"

PASSED_ON = {"Host", "Origin", "User-Agent", "Content-Type", "Content-Encoding", "Authorization", "Accept-Encoding"}
OF_A_CONNECTION = {"Content-Length", "Date", "Server", "Connection"}


@dataclass
class Call:
    """One request of the script, as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def batch(self) -> list[dict[str, Any]]:
        return list(json.loads(self.body)["batch"])


@dataclass
class Site:
    """Serves every path, with `pages[path]` beside the script, and hands calls on as HAProxy does."""

    receiver: Receiver
    pages: dict[str, str] = field(default_factory=dict)
    before: str = ""
    """What pages hold in front of the script."""
    attributes: str = ""
    """Of the script's element, beside the write key."""
    policy: str = STRICT_POLICY
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """What the next calls get from the edge itself."""
    calls: list[Call] = field(default_factory=list)
    origin: str = ""
    asks_for_consent: bool = False
    _runner: web.AppRunner | None = None

    @classmethod
    async def started(cls, directory: Path) -> "Site":
        site = cls(Receiver(directory))
        await site.receiver.start()
        application = web.Application(client_max_size=1 << 20)
        application.router.add_get("/fw.js", site._edge)
        application.router.add_post("/v1/{call}", site._edge)
        application.router.add_get("/page.js", site._page_script)
        application.router.add_route("*", "/{path:.*}", site._page)
        site._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1, auto_decompress=False)
        await site._runner.setup()
        await web.TCPSite(site._runner, "127.0.0.1", 0).start()
        site.origin = f"http://127.0.0.1:{site._runner.addresses[0][1]}"
        return site

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()
        await self.receiver.stop()

    @property
    def elsewhere(self) -> str:
        """The same site as a browser takes for another."""
        return self.origin.replace("127.0.0.1", "localhost")

    def declare(self, *origins: str, consent: bool = False) -> None:
        """Let pages of other sites send; ask for consent."""
        self.asks_for_consent = consent
        self.receiver.collector.use_document(orders(consent=consent, origins=origins))

    @property
    def taken(self) -> list[Row]:
        """Events that the collector acknowledged."""
        return self.receiver.rows["events"]

    def named(self, name: str) -> list[Row]:
        """Tracked events of one name that were taken."""
        return [event for event in self.taken if event["type"] == "track" and event["event"] == name]

    def page_views(self) -> list[Row]:
        return [event for event in self.taken if event["type"] == "page"]

    async def _page_script(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.pages["/page.js"], content_type="text/javascript")

    async def _page(self, request: web.Request) -> web.Response:
        element = f'<script src="/fw.js" async data-write-key="{WRITE_KEY}" {self.attributes}></script>'
        content = self.pages.get(request.path, "")
        text = f"<!doctype html><title>Page {request.path}</title>{self.before}{element}{content}"
        return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": self.policy})

    async def _edge(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.method == "POST":
            self.calls.append(Call(dict(request.headers), body))
            if self.answers:
                status, headers = self.answers.pop(0)
                return web.Response(status=status, headers=headers)
        passed = {
            "Host",
            "Origin",
            "User-Agent",
            "Content-Type",
            "Content-Encoding",
            "Authorization",
            "Accept-Encoding",
        }
        headers = {name: value for name, value in request.headers.items() if name in passed}
        agreed = not self.asks_for_consent or request.cookies.get("fw_consent") == "granted"
        headers |= {
            "X-FW-Visitor": request.cookies.get("fw_vid", ""),
            "X-FW-Address": request.remote or "",
            "X-FW-Consent": "1" if agreed else "0",
        }
        async with (
            aiohttp.ClientSession(auto_decompress=False) as client,
            client.request(request.method, self.receiver.url + request.path, data=body, headers=headers) as answer,
        ):
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name not in ("Content-Length", "Date", "Server")
            }
            return web.Response(status=answer.status, headers=kept, body=await answer.read())
