"""A small reverse proxy: with it, landing alone shows the whole shop where the cluster has no Gateway API."""

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from shop.database import Refused
from shop.serving import VISITOR_COOKIE, read_body

# Headers of one hop (RFC 9110, 7.6.1), and those that httpx has undone or will set by itself.
_OF_ONE_HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"} | {
    "transfer-encoding", "upgrade", "host", "content-length", "content-encoding", "accept-encoding",
}  # fmt: skip


class PassOn:
    """Passes requests under `prefix` on to `address`."""

    def __init__(self, prefix: str, address: str) -> None:
        self._prefix = prefix.rstrip("/")
        self._http = httpx.AsyncClient(
            base_url=address,
            timeout=httpx.Timeout(10.0, connect=2.0),
            transport=httpx.AsyncHTTPTransport(retries=2),
            follow_redirects=False,
        )

    def routes(self) -> list[BaseRoute]:
        methods = ["GET", "POST"]
        return [
            Route(self._prefix, self.forward, methods=methods),
            Route(self._prefix + "/{rest:path}", self.forward, methods=methods),
        ]

    async def close(self) -> None:
        await self._http.aclose()

    async def forward(self, request: Request) -> Response:
        headers = [(name, value) for name, value in request.headers.items() if name not in _OF_ONE_HOP]
        # One visitor across services, also when this very request is the first.
        headers = [(name, value) for name, value in headers if name != "cookie"]
        headers.append(("cookie", f"{VISITOR_COOKIE}={request.state.visitor}"))
        url = httpx.URL(path=request.url.path, query=request.url.query.encode())
        try:
            answer = await self._http.request(request.method, url, headers=headers, content=await read_body(request))
        except httpx.HTTPError as error:
            raise Refused(503, "service_unavailable", "人太多了，请几秒钟后再试。") from error
        response = Response(answer.content, answer.status_code)
        for name, value in answer.headers.multi_items():
            if name not in _OF_ONE_HOP and name != "set-cookie":
                response.headers.append(name, value)
        return response
