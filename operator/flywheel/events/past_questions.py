"""What the operator asks for new fraud rules: the events before them that matter, as a fraud worker judges them."""

# ruff: noqa: S608 - all names in the SQL are our own; what comes from outside is a parameter

import base64
from typing import Any

import msgspec

from flywheel.events.engine import Limits
from flywheel.events.questions import Kind
from flywheel.events.rows import EventRow
from flywheel.events.slot_questions import LATEST, LONGEST_EVENT, NAME
from flywheel.events.store import Store
from flywheel.fraud.batch import encode, pack
from flywheel.fraud.from_row import event_of
from flywheel.fraud.past_asking import LONGEST_PAGE, LONGEST_PAST, MOST, MOST_NAMES, PAGES, PATH, PastAsked

PAST = PATH
SECONDS = 15.0
"""Of the engine, for each of the two questions that make up a call."""
_COLUMNS = tuple(name for name in EventRow.__struct_fields__ if name != "expires_at")
_WITHIN = "FROM events WHERE campaign = {campaign:String} AND time >= {start:Int64} AND time <= {until:Int64}"


def past_questions(store: Store) -> Kind[PastAsked]:
    """Make the handler of `POST /v1/fraud/past`."""

    async def figures(asked: PastAsked) -> dict[str, Any]:
        start = asked.start if asked.after else await _first(store, asked)
        for most in PAGES:
            rows = await _rows(store, asked, start, most)
            body = base64.b64encode(encode(pack([event_of(row, row.address) for row in rows]))).decode()
            if len(body) <= LONGEST_PAGE:
                break
        after = [rows[-1].ingest_time, rows[-1].message_id] if len(rows) == most else None
        return {"start": start, "batch": body, "after": after}

    return Kind(PastAsked, _complaint, figures)


async def _first(store: Store, asked: PastAsked) -> int:
    """Say from when on all events can be given: earlier ones would be too many."""
    latest = f"SELECT time {_within(asked)} ORDER BY time DESC LIMIT {MOST + 1}"
    sql = f"SELECT count() AS count, min(time) AS earliest FROM ({latest})"
    [row] = await store.query(sql, _parameters(asked, asked.start), Limits(seconds=SECONDS, rows=1))
    # Of the earliest moment there may be more than these.
    return int(str(row["earliest"])) + 1 if int(str(row["count"])) > MOST else asked.start


async def _rows(store: Store, asked: PastAsked, start: int, most: int) -> list[EventRow]:
    parameters, after = _parameters(asked, start), ""
    if asked.after:
        after = " AND (ingest_time, message_id) > ({arrived:Int64}, unhex({id:String}))"
        parameters |= {"arrived": asked.after[0], "id": asked.after[1].encode("utf-8", "surrogatepass").hex()}
    sql = f"SELECT {', '.join(_COLUMNS)} {_within(asked)}{after} ORDER BY ingest_time, message_id LIMIT {most:d}"
    rows = await store.query(sql, parameters, Limits(seconds=SECONDS, rows=most))
    return [msgspec.convert({**row, "expires_at": 0}, EventRow, strict=False) for row in rows]


def _within(asked: PastAsked) -> str:
    names = ", ".join(f"unhex({{name{number}:String}})" for number in range(len(asked.names)))
    return f"{_WITHIN} AND event IN ({names})" if names else _WITHIN


def _parameters(asked: PastAsked, start: int) -> dict[str, Any]:
    names = {f"name{number}": each.encode("utf-8", "surrogatepass").hex() for number, each in enumerate(asked.names)}
    return {"campaign": asked.campaign, "start": start, "until": asked.until, **names}


def _complaint(asked: PastAsked) -> str | None:
    if not NAME.fullmatch(asked.campaign):
        return "`campaign` is the name of a Campaign."
    if not 0 < asked.start <= asked.until < LATEST or asked.until - asked.start > LONGEST_PAST:
        return "`start` and `until` are moments in milliseconds since 1970, the one before the other, 8 days at most."
    if len(asked.names) > MOST_NAMES or not all(0 < len(each) <= LONGEST_EVENT for each in asked.names):
        return f"`names` are at most {MOST_NAMES} names of events, each of 1 to {LONGEST_EVENT} characters."
    return None
