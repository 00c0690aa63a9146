"""Gates that the operator measures itself: a request, a query to Prometheus, figures of the campaign's own events."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from flywheel.api.autoscaling import EventName
from flywheel.api.durations import between
from flywheel.api.gate_values import (
    Increase,
    JsonPath,
    JsonText,
    Latency,
    Number,
    NumberFromZero,
    PathAndQuery,
    PathPrefix,
    Query,
    Share,
)
from flywheel.api.kubernetes import exactly_one
from flywheel.api.model import Distinct, KeyedBy, Model, Rule
from flywheel.api.patterns import PatternOf256
from flywheel.api.quantities import Duration, Flag, Integer, Name, PortNumber, Text
from flywheel.api.web import HeaderName, HeaderValue, HttpAddress

_FRAMING = frozenset(
    [
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
_TIMEOUT = between("requestTimeout", "request_timeout", "1s", "30s", "an answer needs some time, and a gate must end")
_ONCE = "keep one of the two"
_SLOT_PLACEHOLDERS = ("{{slot}}", "{{revision}}")

Status = Annotated[Integer, Field(ge=100, le=599)]
WantedValue = Annotated[
    str, Text("^[ -~]+$", "the value of a header, in which * stands for anything, such as text/html*", 256)
]


def _given(*attributes: str) -> Callable[[Any], bool]:
    return lambda model: any(getattr(model, each) is not None for each in attributes)


def _any_of(what: str, *fields: str) -> Rule:
    """A rule: a gate that asks for nothing would always pass."""
    return Rule(
        cel=" || ".join(f"has(self.{field})" for field in fields),
        holds=_given(*(_snake(field) for field in fields)),
        message=f"{what} must ask for something: add one of {', '.join(fields)}",
    )


def _snake(field: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in field)


def _ordered(owner: str) -> Rule:
    return Rule(
        cel="!has(self.min) || !has(self.max) || self.min <= self.max",
        holds=lambda model: model.min is None or model.max is None or model.min <= model.max,
        message=f"{owner}.min must not be above {owner}.max: exchange the two",
        field="min",
    )


def _not_one_of(refused: frozenset[str], message: str) -> Rule:
    pattern = f"^(?i)({'|'.join(sorted(refused))}|x-fw-.*)$"
    return Rule(
        cel=f"!self.name.matches('{pattern}')",
        holds=lambda model: model.name.lower() not in refused and not model.name.lower().startswith("x-fw-"),
        message=message,
        field="name",
    )


class SentHeader(Model):
    """One header of a request."""

    constraints = (
        _not_one_of(
            _FRAMING,
            "lengths, connections and X-FW headers are set by the gate itself: name another header, such as "
            "Accept-Language",
        ),
    )

    name: HeaderName = Field(description="Name of the header, such as Accept-Language.")
    value: HeaderValue = Field(description="Its value.")


class PrometheusHeader(Model):
    """One header of a request to Prometheus."""

    constraints = (
        _not_one_of(
            _FRAMING | {"authorization", "content-type", "host"},
            "this header is set by the gate itself, and credentials belong into the Secret that secretName names: "
            "name another header, such as X-Scope-OrgID",
        ),
    )

    name: HeaderName = Field(description="Name of the header, such as X-Scope-OrgID.")
    value: HeaderValue = Field(description="Its value.")


class ExpectedHeader(Model):
    """One header of an answer."""

    name: HeaderName = Field(description="Name of the header, such as Content-Type.")
    value: WantedValue = Field(description="Its value, in which * stands for anything, such as text/html*.")


class JsonCheck(Model):
    """One value within an answer in JSON. All that is given must hold."""

    constraints = (
        _any_of("a check", "equals", "min", "max", "exists", "matches"),
        _ordered("json"),
        Rule(
            cel="!has(self.exists) || self.exists || "
            "!(has(self.equals) || has(self.min) || has(self.max) || has(self.matches))",
            holds=lambda model: model.exists is not False or not _given("equals", "min", "max", "matches")(model),
            message="what must not exist has no value: take out equals, min, max and matches, or exists: false",
            field="exists",
        ),
    )

    path: JsonPath = Field(description="Where the value is, such as $.status or $.items[0].price.")
    equals: JsonText | None = Field(
        default=None, description='The value: text or a whole number; "true", "null" and "0.5" in quotes.'
    )
    min: Number | None = Field(default=None, description="The value is a number, and at least this.")
    max: Number | None = Field(default=None, description="The value is a number, and at most this.")
    exists: Flag | None = Field(default=None, description="Whether there is such a value; null is one.")
    matches: PatternOf256 | None = Field(
        default=None, description="The value is text in which this regular expression (RE2) is found, such as ^v2."
    )


class HttpGate(Model):
    """A request, and what its answer must be. Redirects are not followed: a 302 is a 302."""

    constraints = (
        Rule(
            cel="!has(self.status) || !has(self.statusIn)",
            holds=lambda model: model.status is None or model.status_in is None,
            message="status and statusIn exclude each other: keep status for one, statusIn for several",
            field="statusIn",
        ),
        Rule(
            cel="!has(self.body) || (has(self.method) && self.method == 'POST')",
            holds=lambda model: model.body is None or model.method == "POST",
            message="only a POST has a body: add method: POST or take the body out",
            field="body",
        ),
        Rule(
            cel="!has(self.method) || self.method != 'HEAD' || "
            "!(has(self.contains) || has(self.matches) || has(self.json))",
            holds=lambda model: model.method != "HEAD" or not (model.reads_body),
            message="the answer to HEAD has no body: use GET, or take contains, matches and json out",
            field="method",
        ),
        Rule(
            cel="!has(self.port) || !has(self.through) || self.through == 'Preview'",
            holds=lambda model: model.port is None or model.through == "Preview",
            message="the edge decides by the path where a request goes: take port out, or through: Edge",
            field="port",
        ),
        _TIMEOUT,
    )

    path: PathAndQuery = Field(default="/", description="Path to ask for, with its query if there is one. Default /.")
    port: PortNumber | None = Field(
        default=None, description="Port of the service, by its number. Default: the service's first one."
    )
    method: Literal["GET", "HEAD", "POST"] = Field(default="GET", description="HTTP method. Default GET.")
    headers: Annotated[tuple[SentHeader, ...], Field(max_length=16), KeyedBy(("name",), _ONCE)] = Field(
        default=(),
        description="Headers to send, such as [{name: Host, value: shop.example}]. They are no place for secrets: "
        "whoever may read the Campaign sees them.",
    )
    body: Annotated[str, Field(max_length=16_384)] | None = Field(
        default=None, description="Body of a POST, at most 16 KiB; name its form with the header Content-Type."
    )
    through: Literal["Preview", "Edge"] = Field(
        default="Preview",
        description="Preview (default): ask the pods of the revision themselves. Edge: ask the campaign's edge, with "
        "the header X-FW-Preview: <revision>, as visitors will.",
    )
    status: Status | None = Field(default=None, description="Status that the answer must have. Default 200.")
    status_in: Annotated[tuple[Status, ...], Field(min_length=1, max_length=16), Distinct("remove one")] | None = Field(
        default=None, description="Statuses of which it must have one, such as [200, 204], instead of status."
    )
    expect_headers: Annotated[tuple[ExpectedHeader, ...], Field(max_length=16), KeyedBy(("name",), _ONCE)] = Field(
        default=(),
        description="Headers that the answer must have, such as [{name: Content-Type, value: text/html*}].",
    )
    contains: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None, description="Text that the body must contain, as it is written."
    )
    matches: PatternOf256 | None = Field(
        default=None, description="Regular expression (RE2) that must be found in the body, such as (?i)add to cart."
    )
    json_checks: Annotated[tuple[JsonCheck, ...], Field(min_length=1, max_length=16)] | None = Field(
        default=None, alias="json", description="The body is JSON, and these values are in it."
    )
    max_latency: Latency | None = Field(
        default=None, description="In this time the whole answer must be there, such as 250ms. Default: no demand."
    )
    request_timeout: Duration = Field(
        default=timedelta(seconds=5),
        description="After this time without the whole answer the measurement has failed; 1s to 30s. Default 5s.",
    )

    @property
    def statuses(self) -> tuple[int, ...]:
        """The statuses of which the answer must have one."""
        return self.status_in or (200 if self.status is None else self.status,)

    @property
    def reads_body(self) -> bool:
        """Whether anything is asked of the body."""
        return self.contains is not None or self.matches is not None or self.json_checks is not None


class PrometheusGate(Model):
    """A query to a Prometheus, and what its result must be: one number. All that is given must hold."""

    constraints = (
        _any_of("a query", "min", "max", "maxIncrease", "maxDifference"),
        _ordered("prometheus"),
        Rule(
            cel="!(has(self.maxIncrease) || has(self.maxDifference)) || "
            + " || ".join(f"self.query.contains('{each}')" for each in _SLOT_PLACEHOLDERS),
            holds=lambda model: (
                not model.compares or any(placeholder in model.query for placeholder in _SLOT_PLACEHOLDERS)
            ),
            message="to compare, the same query is asked of the active slot: write {{slot}} or {{revision}} in it, or "
            "take maxIncrease and maxDifference out",
            field="query",
        ),
        _TIMEOUT,
        between("window", "window", "5s", "7d", "a rate needs some time, and a revision is young"),
    )

    address: HttpAddress = Field(description="Address of the Prometheus, such as http://prometheus.monitoring:9090.")
    path_prefix: PathPrefix | None = Field(
        default=None, description="Path below which its API is, such as /prometheus. Default: none."
    )
    query: Query = Field(
        description="PromQL with one number as its result. {{namespace}}, {{campaign}}, {{service}}, {{revision}}, "
        "{{slot}}, {{activeSlot}}, {{activeRevision}} and {{window}} are put in, ready to stand within quotes."
    )
    window: Duration = Field(
        default=timedelta(minutes=5),
        description="What {{window}} stands for; less while the revision has not been ready, or had the traffic, for "
        "as long. Default 5m.",
    )
    min: Number | None = Field(default=None, description="The result is at least this.")
    max: Number | None = Field(default=None, description="The result is at most this, such as 0.01.")
    max_increase: Increase | None = Field(
        default=None,
        description="The result is at most so much above that of the active slot, in percent of it, such as 20%.",
    )
    max_difference: NumberFromZero | None = Field(
        default=None, description="The result is at most so much above that of the active slot, as a number."
    )
    secret_name: Name | None = Field(
        default=None,
        description="Secret with the key token, or username and password, and where needed ca.crt. Default: none.",
    )
    headers: Annotated[tuple[PrometheusHeader, ...], Field(max_length=16), KeyedBy(("name",), _ONCE)] = Field(
        default=(), description="Headers to send, such as [{name: X-Scope-OrgID, value: shop}]."
    )
    request_timeout: Duration = Field(
        default=timedelta(seconds=5), description="In this time the result must be there; 1s to 30s. Default 5s."
    )

    @property
    def compares(self) -> bool:
        """Whether the active slot is asked too."""
        return self.max_increase is not None or self.max_difference is not None


class ErrorRateCheck(Model):
    """Share of requests that fail: 5xx, or no answer."""

    constraints = (_any_of("errorRate", "max", "maxIncrease"),)

    max: Share | None = Field(default=None, description="At most this share of the requests fails, such as 1%.")
    max_increase: Share | None = Field(
        default=None, description="At most so many points above the active slot's share, such as 0.5%."
    )


class LatencyCheck(Model):
    """How long answers take, to their last byte."""

    constraints = (_any_of("latency", "max", "maxIncrease"),)

    quantile: Literal["p50", "p95", "p99"] = Field(default="p95", description="Which percentile. Default p95.")
    max: Latency | None = Field(default=None, description="At most this, such as 300ms.")
    max_increase: Increase | None = Field(
        default=None, description="At most so much above the active slot's, in percent of it, such as 20%."
    )


class EventCheck(Model):
    """How often an event happens to those whom the slot served."""

    constraints = (_any_of("event", "min", "minRatio"),)

    name: EventName = Field(description="Name of the event, such as Order Completed; an order counts once.")
    per: Literal["Visitor", "Request"] = Field(
        default="Visitor", description="Per visitor (default) or per request that the slot served."
    )
    min: NumberFromZero | None = Field(
        default=None, description="At least so many per visitor or request, such as 0.02."
    )
    min_ratio: Increase | None = Field(
        default=None, description="At least this share of what the active slot has, such as 90%."
    )


class EventsGate(Model):
    """Figures of this revision's slot, beside those of the active one, from the campaign's own event store."""

    constraints = (
        exactly_one(("errorRate", "latency", "event"), ("error_rate", "latency", "event"), "an events gate"),
        between("window", "window", "10s", "24h", "figures need some time, and a revision is young"),
    )

    error_rate: ErrorRateCheck | None = Field(default=None, description="The share of requests that fail.")
    latency: LatencyCheck | None = Field(default=None, description="How long answers take.")
    event: EventCheck | None = Field(default=None, description="How often an event happens.")
    minimum_requests: Annotated[Integer, Field(ge=1, le=1_000_000)] = Field(
        default=50, description="With fewer requests, of either slot that is looked at, there are no data. Default 50."
    )
    window: Duration = Field(
        default=timedelta(minutes=15),
        description="Look at this time; less while the revision has not been ready, or had the traffic, for as long. "
        "Default 15m.",
    )

    @property
    def compares(self) -> bool:
        """Whether the active slot is looked at too."""
        relative = (
            self.error_rate and self.error_rate.max_increase,
            self.latency and self.latency.max_increase,
            self.event and self.event.min_ratio,
        )
        return any(each is not None for each in relative)


Measured = HttpGate | PrometheusGate | EventsGate
