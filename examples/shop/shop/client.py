"""How the other services speak to `store`: one connection pool, short timeouts, refusals passed on as they are."""

from typing import Any

import httpx

from shop.database import Refused


class StoreClient:
    """Calls of one process to the store."""

    def __init__(self, url: str, seconds: float) -> None:
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=httpx.Timeout(seconds, connect=2.0),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=16),
            headers={"accept": "application/json"},
            # A connection that was refused has done nothing yet, so trying it again is safe for every method.
            transport=httpx.AsyncHTTPTransport(retries=2),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, path: str) -> Any:
        return await self._call("GET", path)

    async def post(self, path: str, fields: dict[str, Any] | None = None) -> Any:
        return await self._call("POST", path, fields or {})

    async def _call(self, method: str, path: str, fields: dict[str, Any] | None = None) -> Any:
        try:
            response = await self._http.request(method, path, json=fields)
        except httpx.HTTPError as error:
            raise Refused(503, "store_unavailable", "人太多了，请几秒钟后再试。") from error
        if response.is_success:
            return response.json()
        try:
            said = response.json()
            raise Refused(response.status_code, said["error"], said["message"])
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(503, "store_unavailable", "人太多了，请几秒钟后再试。") from error
