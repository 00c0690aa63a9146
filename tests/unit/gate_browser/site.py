"""A shop with a page for each way in which a step holds or fails, and a memory of who asked for what."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web
from tests.patience import PATIENCE

SHOP = """<!doctype html><html lang="zh"><title>优购 618 会场</title>
<link rel="icon" href="data:,">
<h1>618 会场</h1><p id="price">¥99</p><p id="secret" hidden>hidden words</p>
<button id="claim">领取优惠券</button><button id="off" disabled>Sold out</button>
<div class="card">one</div><div class="card">two</div>
<label>Phone <input id="phone"></label>
<label>Size <select id="size"><option value="s">Small</option><option value="l">Large</option></select></label>
<a href="/orders/42?from=shop">Order</a>
<ul id="said"></ul>
<script>
const say = text => { const line = document.createElement("li"); line.textContent = text; said.append(line) };
claim.onclick = () => setTimeout(() => say("领取成功"), 100);
phone.onkeydown = event => { if (event.key === "Enter") say("phone is " + phone.value) };
size.onchange = () => say("size is " + size.value);
</script>"""
PAGES = {
    "/": SHOP,
    "/plain": "<title>plain</title><link rel=icon href='data:,'><p>plain page",
    "/orders/42": "<title>Order 42</title><p>Order 42",
    "/console-error": "<link rel=icon href='data:,'><p>sorry<script>console.error('stock is unknown')</script>",
    "/page-error": "<p>oops<script>wx.ready()</script>",
    "/missing-picture": "<p>picture<img src='/no-such.png'>",
    "/no-icon": "<p>no icon",
    "/elsewhere": "<p>shop<img src='http://cdn.example/a.png'><script src='http://169.254.169.254/latest/'></script>"
    "<script>fetch('http://pay.example/').catch(() => document.body.append('not reached'))</script>",
    "/capabilities": "<meta name=viewport content='width=device-width'><p id=there>?<script>there.textContent = "
    "[isSecureContext, navigator.maxTouchPoints > 0, innerWidth + 'x' + innerHeight, navigator.language].join(' ')"
    "</script>",
    "/noise": "<canvas id=c width=1900 height=1800></canvas><script>const x = c.getContext('2d'), d = "
    "x.createImageData(1900, 1800); for (let i = 0; i < d.data.length; i += 65536) "
    "crypto.getRandomValues(d.data.subarray(i, i + 65536)); for (let i = 3; i < d.data.length; i += 4) "
    "d.data[i] = 255; x.putImageData(d, 0, 0)</script>",
    "/busy": "<p>busy<button onclick='for (;;);'>Hang</button>",
    "/socket": "<p id=told>?<script>const s = new WebSocket(`ws://${location.host}/ws`); "
    "s.onmessage = e => { told.textContent = e.data }</script>",
    "/worker": "<p id=told>?<script>new Worker('/worker.js').onmessage = e => { told.textContent = e.data }</script>",
}
WORKER = "fetch('/echo').then(a => a.text()).then(text => postMessage(text))"


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: str


@dataclass
class Site:
    """The shop on a port of loopback."""

    address: str = ""
    port: int = 0
    requests: list[Asked] = field(default_factory=list)
    _runner: web.AppRunner | None = None
    _never: asyncio.Event = field(default_factory=asyncio.Event)
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def start(self) -> None:
        application = web.Application()
        application.router.add_get("/ws", self._socket)
        application.router.add_route("*", "/{rest:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        self.address = f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    def asked_for(self, path: str) -> list[Asked]:
        return [each for each in self.requests if each.path == path]

    async def wait_for(self, path: str) -> None:
        async with asyncio.timeout(PATIENCE), self._arrived:
            await self._arrived.wait_for(lambda: self.asked_for(path))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        async with self._arrived:
            self.requests.append(Asked(request.method, request.path, dict(request.headers), await request.text()))
            self._arrived.notify_all()
        if request.path == "/echo":
            return web.Response(text=f"{request.headers.get('X-FW-Preview', 'nothing')} {request.method}")
        if request.path == "/worker.js":
            return web.Response(text=WORKER, content_type="text/javascript")
        if request.path == "/slow":
            await self._never.wait()
        if request.path == "/to":
            raise web.HTTPFound(request.query["where"])
        if request.path.startswith("/status/"):
            return _html("<p>no", status=int(request.path.rpartition("/")[2]))
        return _html(PAGES[request.path]) if request.path in PAGES else _html("<p>not found", status=404)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(f"socket of {request.headers.get('X-FW-Preview', 'nobody')}")
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
        return socket


def _html(text: str, **options: Any) -> web.Response:
    return web.Response(text=text, content_type="text/html", charset="utf-8", **options)
