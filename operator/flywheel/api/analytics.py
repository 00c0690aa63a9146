"""Analytics: where events are kept, and how they are read as channels, orders and money."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from flywheel.api.autoscaling import EventName
from flywheel.api.durations import between
from flywheel.api.edge_events import PropertyName
from flywheel.api.kubernetes import Labels, ResourcesManifest, well_formed_keys
from flywheel.api.model import Distinct, KeyedBy, Model, Rule
from flywheel.api.pod_template import reserved_labels
from flywheel.api.quantities import (
    Duration,
    Flag,
    ImageReference,
    Name,
    Percentage,
    ResourceQuantity,
    Text,
    read_duration,
)
from flywheel.api.web import HttpAddress, ReferrerHost

Currency = Annotated[str, Text("^[A-Z]{3}$", "a currency code of ISO 4217 such as CNY", 3, explain=True)]
Rate = Annotated[
    float,
    Text(
        "^([1-9][0-9]{0,8}(\\.[0-9]{1,9})?|0\\.[0-9]{0,8}[1-9])$",
        'a decimal number above 0 as text, such as "7.1"',
        20,
        read=float,
        explain=True,
    ),
]
Days = Annotated[timedelta, Text("^[1-9][0-9]{0,3}d$", "a number of days such as 90d", 5, 2, read_duration, True)]
ChannelName = Annotated[
    str, Text("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "lowercase letters, digits and '-', such as paid-search", 40)
]
MarkValue = Annotated[
    str, Text("^[^\\x00-\\x20\\x7fA-Z]+$", "the value of a UTM parameter in lower case, such as cpc", 128)
]
ParameterName = Annotated[str, Text("^[A-Za-z0-9_.-]+$", "the name of a query parameter such as gclid", 64)]
DatabaseName = Annotated[str, Text("^[A-Za-z_][A-Za-z0-9_]*$", "the name of a database such as flywheel", 63)]

_PARTS = ("utmSource", "utmMedium", "utmCampaign", "referrers", "parameters")
_NO_CLICKHOUSE = (
    "^https?://(169[.]254[.]|100[.]100[.]100[.]200|(metadata|instance-data)([.:]|$)|127[.]|0[.]|localhost(:|$))"
)
_SYSTEM_DATABASES = ("system", "information_schema", "INFORMATION_SCHEMA")


class ClickHouse(Model):
    """An existing ClickHouse."""

    constraints = (
        Rule(
            cel=f"!self.url.matches('{_NO_CLICKHOUSE}')",
            holds=lambda model: not re.match(_NO_CLICKHOUSE, model.url),
            message="this is the worker itself or a cloud's metadata service, never a ClickHouse: correct the address",
            field="url",
        ),
        Rule(
            cel=f"!has(self.database) || !(self.database in {list(_SYSTEM_DATABASES)})",
            holds=lambda model: model.database not in _SYSTEM_DATABASES,
            message="ClickHouse keeps this database for itself: name one of your own, such as flywheel",
            field="database",
        ),
    )

    url: HttpAddress = Field(description="Address of its HTTP interface.")
    database: DatabaseName = Field(default="flywheel", description="Database for the tables. Default flywheel.")
    secret_name: Name | None = Field(
        default=None, description="Secret with the keys username and password. Default: the user default, no password."
    )


class Store(Model):
    """Where events are kept: one store for all campaigns of a namespace."""

    constraints = (
        Rule(
            cel="!has(self.clickhouse) || (!has(self.size) && !has(self.storageClassName))",
            holds=lambda model: model.clickhouse is None or (model.size is None and model.storage_class_name is None),
            message="with a ClickHouse of your own there is no volume here: take size and storageClassName out",
            field="clickhouse",
        ),
    )

    size: ResourceQuantity | None = Field(default=None, description="Size of the volume, such as 50Gi. Default 10Gi.")
    storage_class_name: Name | None = Field(
        default=None, description="StorageClass of the volume. Default: the cluster's own default."
    )
    image: ImageReference | None = Field(
        default=None, description="Image of the store's worker. Default: the operator's own choice."
    )
    resources: ResourcesManifest | None = Field(
        default=None, description="CPU and memory of the worker. Default: requests of 250m and 1Gi, limit of 3Gi."
    )
    clickhouse: ClickHouse | None = Field(
        default=None, description="Keep the events in an existing ClickHouse instead of a volume."
    )


class OrderEvent(Model):
    """Which event is an order."""

    event: EventName = Field(default="Order Completed", description="Name of the event. Default Order Completed.")
    identity: PropertyName = Field(
        default="order_id", description="Property that tells orders apart; an order counts once. Default order_id."
    )
    revenue: PropertyName = Field(default="revenue", description="Property with the value. Default revenue.")
    currency: PropertyName = Field(
        default="currency", description="Property with the currency. Default currency; absent: analytics.currency."
    )


class Channel(Model):
    """Where visitors come from; one fitting part is enough."""

    constraints = (
        Rule(
            cel=" || ".join(f"has(self.{part})" for part in _PARTS),
            holds=lambda model: any(
                (model.utm_source, model.utm_medium, model.utm_campaign, model.referrers, model.parameters)
            ),
            message=f"a channel must be recognised by something: add one of {', '.join(_PARTS)}",
        ),
        Rule(
            cel="!(self.name in ['direct', 'referral', 'other'])",
            holds=lambda model: model.name not in {"direct", "referral", "other"},
            message="direct, referral and other are there by themselves: choose another name",
            field="name",
        ),
    )

    name: ChannelName = Field(description="Name of the channel, such as paid-search.")
    utm_source: Annotated[tuple[MarkValue, ...], Field(min_length=1, max_length=32), Distinct("remove one")] = Field(
        default=(), description="Values of utm_source, in lower case."
    )
    utm_medium: Annotated[tuple[MarkValue, ...], Field(min_length=1, max_length=32), Distinct("remove one")] = Field(
        default=(), description="Values of utm_medium, in lower case."
    )
    utm_campaign: Annotated[tuple[MarkValue, ...], Field(min_length=1, max_length=32), Distinct("remove one")] = Field(
        default=(), description="Values of utm_campaign, in lower case."
    )
    referrers: Annotated[tuple[ReferrerHost, ...], Field(min_length=1, max_length=32), Distinct("remove one")] = Field(
        default=(), description="Hosts of the page that led here; those below them as well."
    )
    parameters: Annotated[tuple[ParameterName, ...], Field(min_length=1, max_length=16), Distinct("remove one")] = (
        Field(default=(), description="Query parameters whose presence is enough, such as gclid.")
    )


class Monitoring(Model):
    """What is handed to Grafana and Prometheus."""

    constraints = (
        well_formed_keys("labels"),
        reserved_labels("labels"),
        between("latency", "latency", "1s", "1h", "an alert that always or never fires tells nothing"),
    )

    dashboard: Flag = Field(default=True, description="Make a ConfigMap with a Grafana dashboard. Default true.")
    rules: Flag = Field(
        default=True,
        description="Make recording and alert rules: a PrometheusRule where the cluster has that kind, else a "
        "ConfigMap. Default true.",
    )
    labels: Labels | None = Field(
        default=None, description="Labels for both, by which a Grafana or Prometheus selects, such as {release: stack}."
    )
    error_rate: Percentage = Field(default=1, description="Share of failed requests that raises an alert. Default 1%.")
    latency: Duration = Field(
        default=timedelta(seconds=1), description="p95 latency of a service that raises an alert. Default 1s."
    )


class Analytics(Model):
    """How the campaign measures itself."""

    constraints = (
        Rule(
            cel="!has(self.rates) || self.rates.all(k, k.matches('^[A-Z]{3}$'))",
            holds=lambda _: True,
            message="each key of rates must be a currency code such as USD: correct it",
            field="rates",
        ),
        Rule(
            cel="!has(self.rates) || !((has(self.currency) ? self.currency : 'USD') in self.rates)",
            holds=lambda model: model.currency not in model.rates,
            message="one unit of the reporting currency is worth one: take it out of rates, or correct "
            "analytics.currency",
            field="rates",
        ),
        between("sessionTimeout", "session_timeout", "1m", "24h", "a visit has an end, and is longer than a page view"),
    )

    store: Store = Field(default=Store(), description="Where events are kept. All campaigns of a namespace share it.")
    retention: Days = Field(default=timedelta(days=90), description="How long events are kept, in days. Default 90d.")
    currency: Currency = Field(default="USD", description="Currency in which revenue is reported. Default USD.")
    rates: Annotated[dict[Currency, Rate], Field(max_length=64)] = Field(
        default_factory=dict,
        description='Value of one unit of other currencies, such as {USD: "7.1"}. Revenue in a currency without a rate '
        "is counted apart.",
    )
    order: OrderEvent = Field(default=OrderEvent(), description="Which event is an order, and what it is worth.")
    channels: Annotated[
        tuple[Channel, ...], Field(max_length=32), KeyedBy(("name",), "give each channel a name of its own")
    ] = Field(
        default=(),
        description="Where visitors come from; the first that fits. Others are direct, referral or other.",
    )
    session_timeout: Duration = Field(
        default=timedelta(minutes=30), description="A visit ends after this long without a sign. Default 30m."
    )
    monitoring: Monitoring = Field(default=Monitoring(), description="What is handed to Grafana and Prometheus.")
