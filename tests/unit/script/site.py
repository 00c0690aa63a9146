"""A shop's site on this machine: pages with the script in them, and somebody who takes its events."""

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from flywheel.events import assets

Event = dict[str, Any]
STRICT_POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; form-action 'self'"


@dataclass
class Call:
    """One request of the script, as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def batch(self) -> list[Event]:
        return list(json.loads(self.body)["batch"])


@dataclass
class Site:
    """Serves every path; what a page holds beside the script is `pages[path]`."""

    pages: dict[str, str] = field(default_factory=dict)
    attributes: str = ""
    """Of the script's element, beside the write key."""
    policy: str = STRICT_POLICY
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """What the next calls get instead of 200."""
    calls: list[Call] = field(default_factory=list)
    taken: list[Event] = field(default_factory=list)
    """Events of the calls that were answered with 200."""
    origin: str = ""
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        application = web.Application()
        application.router.add_get("/fw.js", self._script)
        application.router.add_get("/page.js", self._page_script)
        application.router.add_post("/v1/b", self._collect)
        application.router.add_route("*", "/{path:.*}", self._page)
        self._runner = web.AppRunner(application, shutdown_timeout=1)
        await self._runner.setup()
        listener = web.TCPSite(self._runner, "127.0.0.1", 0)
        await listener.start()
        self.origin = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    def named(self, name: str) -> list[Event]:
        """Tracked events of one name that were taken."""
        return [event for event in self.taken if event.get("event") == name]

    def page_views(self) -> list[Event]:
        return [event for event in self.taken if event["type"] == "page"]

    async def _script(self, _request: web.Request) -> web.Response:
        return web.Response(body=assets.script(), content_type="text/javascript")

    async def _page_script(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.pages["/page.js"], content_type="text/javascript")

    async def _page(self, request: web.Request) -> web.Response:
        element = f'<script src="/fw.js" async data-write-key="shop-key" {self.attributes}></script>'
        content = self.pages.get(request.path, "")
        text = f"<!doctype html><title>Page {request.path}</title>{element}{content}"
        return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": self.policy})

    async def _collect(self, request: web.Request) -> web.Response:
        call = Call(dict(request.headers), await request.read())
        self.calls.append(call)
        status, headers = self.answers.pop(0) if self.answers else (200, {})
        if status == 200:
            known = {event["messageId"] for event in self.taken}
            self.taken += [event for event in call.batch if event["messageId"] not in known]
        return web.json_response({"success": status == 200}, status=status, headers=headers)
