"""What goes wrong with a request to the worker, told in words: one place for all of its handlers."""

import sqlite3
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from flywheel.events.http_answers import BODY_TIMEOUT, TooLarge, refusal
from flywheel.events.identity import KeysUnavailable, NotAllowed, NotIdentified
from flywheel.fraud.judging import Full
from flywheel.fraud.wishes import BadWish

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class NotReady(Exception):  # noqa: N818 - a state
    """Nothing can be answered now. The text says why."""


class Unreadable(Exception):  # noqa: N818 - of a body
    """What was sent makes no sense. The text says why."""


def must_be_ready(complaint: Callable[[], str | None]) -> None:
    """Go on only where there is no complaint.

    Raises:
        NotReady: There is one.
    """
    if said := complaint():
        raise NotReady(said)


@web.middleware
async def tell_trouble(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what a handler could not do with a status, a word for programs and a sentence for people."""
    try:
        return await handler(request)
    except ConnectionError:
        # Nobody is there to be told.
        raise
    except (NotIdentified, NotAllowed, KeysUnavailable, NotReady, Full, OSError, sqlite3.Error) as error:
        return _not_now(error)
    except (TooLarge, Unreadable, msgspec.DecodeError, BadWish) as error:
        return _not_like_that(error)


def _not_now(error: Exception) -> web.Response:
    """Answer where the same request may do at another time, or of another sender."""
    match error:
        case NotIdentified():
            return refusal(401, "not_identified", str(error), {"WWW-Authenticate": "Bearer"})
        case NotAllowed():
            return refusal(403, "not_allowed", str(error))
        case KeysUnavailable():
            return refusal(503, "keys_unavailable", str(error), {"Retry-After": "5"})
        case NotReady():
            return refusal(503, "not_ready", str(error), {"Retry-After": "1"})
        case TimeoutError():
            return refusal(408, "slow", f"The body did not come within {BODY_TIMEOUT:g} s.")
        case sqlite3.Error():
            return refusal(503, "archive", f"The archive of verdicts does not answer: {error}", {"Retry-After": "5"})
    return refusal(503, "busy", str(error), {"Retry-After": "1"})


def _not_like_that(error: Exception) -> web.Response:
    """Answer where another request is needed."""
    match error:
        case TooLarge():
            return refusal(413, "too_large", str(error))
        case BadWish():
            return refusal(400, "bad_wish", str(error))
        case Unreadable():
            return refusal(400, "unreadable", str(error))
    return refusal(400, "unreadable", f"What was sent cannot be read: {error}")
