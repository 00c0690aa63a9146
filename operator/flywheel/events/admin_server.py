"""The worker's port on loopback: queries, erasure, export, key figures. Who may forward ports to it may all of it."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from flywheel.events.engine import EngineError, Limits, Parameters
from flywheel.events.erasure import Erasures, NotErasable
from flywheel.events.http_answers import read_body, refusal, tell_engine_trouble
from flywheel.events.loopback import guard
from flywheel.events.schema import BY_NAME, DELIVERED, DOCUMENTED
from flywheel.events.statement_guard import Refused
from flywheel.events.store import Store

MOST_BODY = 1 << 20
MOST_ROWS = 1_000_000
FORMATS = {
    "table": ("PrettyCompactNoEscapesMonoBlock", "text/plain; charset=utf-8"),
    "vertical": ("Vertical", "text/plain; charset=utf-8"),
    "json": ("JSONEachRow", "application/x-ndjson"),
    "csv": ("CSVWithNames", "text/csv; charset=utf-8"),
}
EXPORT_SECONDS = 3600.0
TOO_MANY = 396

Figures = Callable[[str, str, str], Awaitable[object]]
"""Gives the key figures of a campaign over a window by a dimension; raises KeyError where there is no such thing."""


class Query(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a person asks."""

    sql: str
    limit: int = 10_000
    format: str = "json"
    seconds: float = 30.0


class Erase(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Who is to be forgotten."""

    campaign: str
    visitor: str = ""
    user_id: str = ""


class Kpis(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which figures are wanted."""

    campaign: str = ""
    """Empty for all."""
    window: str = "campaign"
    by: str = ""


class AdminServer:
    """Handlers of the admin port."""

    def __init__(self, store: Store, erasures: Erasures, figures: Figures) -> None:
        self._store = store
        self._erasures = erasures
        self._figures = figures

    def application(self) -> web.Application:
        """Make the application."""
        made = web.Application(middlewares=[guard, tell_engine_trouble])
        made.router.add_post("/query", self._query)
        made.router.add_get("/tables", self._tables)
        made.router.add_post("/erase", self._erase)
        made.router.add_get("/erase/{receipt}", self._receipt)
        made.router.add_get("/export", self._export)
        made.router.add_post("/kpis", self._kpis)
        made.router.add_get("/healthz", self._healthz)
        return made

    async def _query(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await read_body(request, MOST_BODY), type=Query)
        if asked.format not in FORMATS:
            return refusal(400, "bad_format", f"{asked.format!r} is no format; take one of {', '.join(FORMATS)}.")
        limit = max(1, min(asked.limit, MOST_ROWS))
        output, content_type = FORMATS[asked.format]
        try:
            answer = await self._store.answer(
                asked.sql, Limits(seconds=max(0.1, min(asked.seconds, 300.0)), rows=limit), output
            )
        except Refused as error:
            return refusal(400, "refused", str(error))
        except EngineError as error:
            if error.code == TOO_MANY:
                message = f"The answer has more than {limit} rows or 64 MiB: add LIMIT to the query, or raise --limit."
                return refusal(400, "too_many", message)
            return refusal(400, "engine_error", error.message)
        return web.Response(body=answer, headers={"Content-Type": content_type})

    async def _tables(self, _request: web.Request) -> web.Response:
        return web.json_response(
            [
                {
                    "name": table.name,
                    "comment": table.comment,
                    "columns": [
                        {"name": column.name, "type": column.type, "comment": column.comment}
                        for column in table.columns
                    ],
                }
                for table in DOCUMENTED
            ]
        )

    async def _erase(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await read_body(request, MOST_BODY), type=Erase)
        try:
            receipt = await self._erasures.request(asked.campaign, visitor=asked.visitor, user_id=asked.user_id)
        except NotErasable as error:
            return refusal(400, "not_erasable", str(error))
        return web.json_response(dataclasses.asdict(receipt), status=202)

    async def _receipt(self, request: web.Request) -> web.Response:
        receipt = await self._erasures.status(request.match_info["receipt"])
        if receipt is None:
            return refusal(404, "no_such_receipt", "There is no erasure with this receipt.")
        return web.json_response(dataclasses.asdict(receipt))

    async def _export(self, request: web.Request) -> web.StreamResponse:
        table, since = request.query.get("table", "events"), request.query.get("since", "0")
        campaign = request.query.get("campaign", "")
        if table not in DELIVERED:
            return refusal(400, "no_such_table", f"{table!r} cannot be exported; take one of {', '.join(DELIVERED)}.")
        if not since.isdigit() or len(since) > 18:
            return refusal(400, "bad_since", "`since` is a moment in milliseconds since 1970.")
        columns = ", ".join(column.name for column in BY_NAME[table].stored_columns if column.name != "commit")
        sql = (
            f"SELECT {columns} FROM {table} WHERE time >= {{since:Int64}} "  # noqa: S608 - our own names
            "AND ({campaign:String} = '' OR campaign = {campaign:String})"
        )
        parameters: Parameters = {"since": int(since), "campaign": campaign}
        limits = Limits(seconds=EXPORT_SECONDS, rows=0, result_bytes=0)
        pieces = self._store.stream(sql, parameters, limits, "Parquet")
        # The first piece before the headers: most of what can go wrong does so before it.
        first = await anext(pieces, b"")
        if not first:
            # A stream of no rows has no pieces; a file of no rows still says what its columns are.
            first = await self._store.engine.query(f"{sql} LIMIT 0", parameters, limits, "Parquet")
        response = web.StreamResponse(headers={"Content-Type": "application/vnd.apache.parquet"})
        await response.prepare(request)
        await response.write(first)
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
        return response

    async def _kpis(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await read_body(request, MOST_BODY), type=Kpis)
        try:
            figures: Any = await self._figures(asked.campaign, asked.window, asked.by)
        except KeyError as error:
            return refusal(404, "no_figures", str(error.args[0]) if error.args else "There are no such figures.")
        return web.Response(body=msgspec.json.encode(figures), content_type="application/json")

    async def _healthz(self, _request: web.Request) -> web.Response:
        complaint = self._store.complaint()
        return web.Response(text=f"{complaint or 'ok'}\n", status=503 if complaint else 200)
