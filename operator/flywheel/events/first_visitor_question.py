"""What sidecars ask the store while a browser waits: who was the first visitor of a user. Quickly, or not at all."""

import msgspec
from aiohttp import web

from flywheel.events.engine import Limits
from flywheel.events.http_answers import TooLarge, read_body, refusal
from flywheel.events.store import Store

LONGEST_USER = 256
AT_ONCE = 8
"""Questions; whoever comes beyond those has no time to wait."""
SECONDS = 0.5
_MOST_BODY = 4 << 10
_SQL = (
    "SELECT min(first).2 AS visitor FROM first_visitors WHERE campaign = {campaign:String} "
    "AND user_key = cityHash64(unhex({user:String})) HAVING count() > 0"
)


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    user: str


class FirstVisitorQuestion:
    """The handler of `POST /v1/first-visitor`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._under_way = 0

    async def answer(self, request: web.Request, campaign: str) -> web.Response:
        """Answer with nothing but the visitor; null where none is known."""
        if self._under_way >= AT_ONCE:
            return refusal(429, "busy", "Others are asking.", {"Retry-After": "1"})
        self._under_way += 1
        try:
            asked = msgspec.json.decode(await read_body(request, _MOST_BODY), type=_Asked)
            if not 0 < len(asked.user) <= LONGEST_USER:
                return refusal(400, "bad_request", f"`user` has 1 to {LONGEST_USER} characters.")
            values = {"campaign": campaign, "user": asked.user.encode("utf-8", "surrogatepass").hex()}
            rows = await self._store.query(_SQL, values, Limits(seconds=SECONDS, rows=1))
        except TooLarge as error:
            return refusal(413, "too_large", str(error))
        except (msgspec.DecodeError, RecursionError) as error:
            return refusal(400, "bad_request", f"The body is not what is wanted: {error}")
        finally:
            self._under_way -= 1
        found = str(rows[0]["visitor"]) if rows else None
        return web.json_response({"visitor": found}, headers={"Cache-Control": "no-store"})
