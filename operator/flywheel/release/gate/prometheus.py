"""A query to a Prometheus, and what its result must be: one number."""

import base64
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec

from flywheel.api.gate_measured import PrometheusGate
from flywheel.kube.errors import ApiError
from flywheel.release.gate.calls import LARGEST_BODY, Answer, BadAuthoritiesError, Clients, NotAnsweredError, fetch
from flywheel.release.gate.compare import (
    Bound,
    at_least,
    at_most,
    at_most_above,
    at_most_more,
    judge,
    no_data,
    not_made,
)
from flywheel.release.gate.measurement import Measurement, Target
from flywheel.release.gate.placeholders import query_of, query_of_active, window_of

ReadSecret = Callable[[str, str], Awaitable[Mapping[str, bytes] | None]]
"""Reads the data of a Secret by namespace and name, decoded; None where there is none, ApiError where that fails."""

LONGEST_CREDENTIAL = 16_384


class NotMadeError(Exception):
    """The query could not be made, or has no single number as its result. The text is for people."""


@dataclass(frozen=True, slots=True)
class _Access:
    """How we show who we are."""

    authorization: str = ""
    authorities: str | None = None


async def measure_prometheus(
    gate: PrometheusGate, target: Target, clients: Clients, read_secret: ReadSecret, *, now: datetime
) -> Measurement:
    """Ask once, or twice where the active slot is compared. Whatever Prometheus does, there is a measurement."""
    try:
        access = await _access(gate, target.namespace, read_secret)
        async with clients.trusting(access.authorities) as client:
            return await _measure(gate, target, _Asker(gate, client, access.authorization), now)
    except NotMadeError as error:
        return not_made(str(error))
    except BadAuthoritiesError as error:
        return not_made(f"ca.crt of the Secret {target.namespace}/{gate.secret_name} cannot be used: {error}")


class _Asker:
    """One Prometheus, and how it is asked."""

    def __init__(self, gate: PrometheusGate, client: httpx.AsyncClient, authorization: str) -> None:
        self._gate = gate
        self._client = client
        self._url = f"{gate.address}{gate.path_prefix or ''}/api/v1/query"
        self._headers = {each.name: each.value for each in gate.headers}
        self._headers["Content-Type"] = "application/x-www-form-urlencoded"
        if authorization:
            self._headers["Authorization"] = authorization

    async def ask(self, query: str, at: datetime) -> float | None:
        """Give the number that a query has as its result; None where there is none."""
        seconds = self._gate.request_timeout.total_seconds()
        form = urlencode({"query": query, "time": f"{at.timestamp():.3f}", "timeout": f"{seconds:g}s"}).encode()
        try:
            answer = await fetch(self._client, "POST", self._url, headers=self._headers, content=form, seconds=seconds)
        except NotAnsweredError as error:
            raise NotMadeError(f"Prometheus at {self._gate.address} could not be asked: {error}") from error
        return read_answer(self._gate.address, answer)


async def _measure(gate: PrometheusGate, target: Target, asker: _Asker, now: datetime) -> Measurement:
    window = window_of(gate.window, target.since, now)
    value = await asker.ask(query_of(gate.query, target, window), now)
    if value is None:
        return no_data("The query has no result yet: no series matches it, or the result is NaN")
    active: float | None = None
    if gate.compares:
        if not target.active_slot:
            return no_data("There is nothing to compare with: no revision was active before this one")
        active = await asker.ask(*_question_of_active(gate, target, window, now))
        if active is None:
            return no_data("There is nothing to compare with: the query has no result for the active slot")
        if math.isinf(active):
            return no_data("There is nothing to compare with: the result for the active slot is infinite")
    return judge("The result", value, _bounds(gate, active))


def _question_of_active(gate: PrometheusGate, target: Target, window: timedelta, now: datetime) -> tuple[str, datetime]:
    """After the switch the slot that was active has no traffic: it is looked at as it was until then."""
    if not target.promoted:
        return query_of_active(gate.query, target, window), now
    return query_of_active(gate.query, target, gate.window), target.since


def _bounds(gate: PrometheusGate, active: float | None) -> Iterator[Bound]:
    if gate.min is not None:
        yield at_least(gate.min)
    if gate.max is not None:
        yield at_most(gate.max)
    if active is None:
        return
    if gate.max_increase is not None:
        yield at_most_above(active, gate.max_increase)
    if gate.max_difference is not None:
        yield at_most_more(active, gate.max_difference)


async def _access(gate: PrometheusGate, namespace: str, read_secret: ReadSecret) -> _Access:
    if gate.secret_name is None:
        return _Access()
    where = f"Secret {namespace}/{gate.secret_name}"
    try:
        data = await read_secret(namespace, gate.secret_name)
    except ApiError as error:
        raise NotMadeError(f"{where} could not be read: {error}") from error
    if data is None:
        raise NotMadeError(f"{where} is not there: create it, or correct prometheus.secretName")
    if any(len(each) > LONGEST_CREDENTIAL for key, each in data.items() if key != "ca.crt"):
        raise NotMadeError(f"{where} holds a value of more than {LONGEST_CREDENTIAL >> 10} KiB: correct it")
    authorization = _authorization(data, where)
    try:
        authorities = data["ca.crt"].decode("ascii") if "ca.crt" in data else None
    except UnicodeDecodeError:
        raise NotMadeError(f"{where}: ca.crt holds no certificates in PEM form: correct it") from None
    return _Access(authorization, authorities)


def _authorization(data: Mapping[str, bytes], where: str) -> str:
    if "token" in data:
        return f"Bearer {_line(data['token'], f'{where}: token')}"
    if "username" in data and "password" in data:
        pair = data["username"].strip(b"\r\n") + b":" + data["password"].strip(b"\r\n")
        return f"Basic {base64.b64encode(pair).decode()}"
    if "ca.crt" in data:
        return ""
    raise NotMadeError(f"{where} has neither token, nor username and password, nor ca.crt: add one of them")


def _line(value: bytes, where: str) -> str:
    text = value.strip()
    if not text or not all(0x20 < byte < 0x7F for byte in text):
        raise NotMadeError(f"{where} must be one line of printable characters without spaces: correct it")
    return text.decode("ascii")


def read_answer(address: str, answer: Answer) -> float | None:
    """Read the one number of an answer; None where there is none. Pure.

    Raises:
        NotMadeError: It is an error, or not one number.
    """
    who = f"Prometheus at {address}"
    if not answer.whole:
        raise NotMadeError(f"{who} answered with more than {LARGEST_BODY >> 20} MiB: aggregate, such as with sum()")
    try:
        document = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("status") not in ("success", "error"):
        raise NotMadeError(
            # What anybody in the cluster answers is not for whoever may write a Campaign to read.
            f"{who} answered {answer.status} and not as a Prometheus does: correct the address or pathPrefix"
        )
    if document["status"] == "error" or answer.status >= 300:
        told = str(document.get("error") or document.get("errorType") or "no reason given")[:200]
        raise NotMadeError(f"{who} answered {answer.status}: {told}")
    try:
        return _number(document["data"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise NotMadeError(f"{who} answered with a result that cannot be read") from None


def _number(data: Mapping[str, Any]) -> float | None:
    kind, result = data["resultType"], data["result"]
    if kind == "vector":
        if not result:
            return None
        if len(result) > 1:
            raise NotMadeError(
                f"The query has {len(result)} results instead of one: aggregate them, such as with sum(...)"
            )
        if "value" not in result[0]:
            raise NotMadeError("The result is a native histogram: ask for a number, such as with histogram_quantile()")
        result = result[0]["value"]
    elif kind != "scalar":
        raise NotMadeError(f"The result is a {kind} instead of one number: ask for an instant vector or a scalar")
    value = float(result[1])
    return None if math.isnan(value) else value
