"""How a service is changed: in place, or blue-green with gates before and after the switch."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from flywheel.api.durations import between
from flywheel.api.gate_browser import BrowserGate
from flywheel.api.gate_measured import EventsGate, HttpGate, PrometheusGate
from flywheel.api.kubernetes import exactly_one
from flywheel.api.model import Distinct, KeyedBy, Model, Rule, ShapedBy
from flywheel.api.pod_template import TemplateContainer, TemplateSpec
from flywheel.api.quantities import (
    DNS_NAME_PATTERN,
    Duration,
    Flag,
    ImageReference,
    Integer,
    IntegerOrPercent,
    PortNumber,
    Text,
)

KINDS = ("http", "job", "browser", "prometheus", "events", "manual")

GateName = Annotated[
    str,
    Text("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "lowercase letters, digits and '-', at most 30, such as smoke", 30),
]
WallTime = Annotated[str, Text("^([01][0-9]|2[0-3]):[0-5][0-9]$", "a time of day such as 02:30", 5, 5, explain=True)]
GroupName = Annotated[
    str,
    Text("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "lowercase letters, digits and '-', at most 40, such as checkout", 40),
]
PreviewHost = Annotated[
    str,
    Text(
        DNS_NAME_PATTERN,
        "one lowercase host name without port and without *, such as preview.shop.example",
        253,
        explain=True,
    ),
]
UrlPath = Annotated[str, Text("^/[!-~]*$", "a path that starts with '/', such as /drain", 1024)]


class JobContainer(TemplateContainer):
    """A container of a Job."""

    image: ImageReference = Field(description="Image of the container, such as registry.example/shop/newman:6.")


class JobPodSpec(TemplateSpec):
    """The pods of a Job, but for what would escape from the campaign."""

    containers: Annotated[tuple[JobContainer, ...], Field(min_length=1, max_length=16)] = Field(
        description="The containers, each with its image; the Job passes when all of them end with status 0."
    )


class JobGate(Model):
    """A Job of any pods: exit status 0 passes."""

    pod_spec: Annotated[dict[str, Any], ShapedBy(JobPodSpec)] = Field(
        description="The pods of the Job: a Kubernetes PodSpec, such as {containers: [{name: newman, image: ...}]}. "
        "Restart policy is Never; safe defaults of services hold. Each container gets FLYWHEEL_ADDRESS (of the "
        "revision "
        "alone), FLYWHEEL_EDGE, FLYWHEEL_SERVICE, FLYWHEEL_SLOT and FLYWHEEL_REVISION."
    )


class Gate(Model):
    """One check. Exactly one of http, job, browser, prometheus, events and manual says of what kind."""

    constraints = (exactly_one(KINDS, KINDS, "a gate"),)

    name: GateName = Field(description="Name of the gate, such as smoke: lowercase letters, digits, '-', at most 30.")
    timeout: Duration = Field(
        default=timedelta(minutes=10),
        description="How long the gate may take in all; then it has failed. Manual gates wait without end. Default "
        "10m.",
    )
    interval: Duration = Field(
        default=timedelta(seconds=10),
        description="Time between the end of one measurement and the next; 1s to 1h. Default 10s.",
    )
    successes: Annotated[Integer, Field(ge=1, le=1000)] = Field(
        default=1, description="Successful measurements in a row that pass the gate. Default 1."
    )
    failure_limit: Annotated[Integer, Field(ge=0, le=1000)] = Field(
        default=0, description="Failed measurements that are borne before the gate has failed. Default 0: none."
    )
    no_data: Literal["Fail", "Pass", "Wait"] = Field(
        default="Fail",
        description="What a measurement without data means: Fail (default) counts as a failed one, Pass as a "
        "successful "
        "one, Wait as none: it is made again until there are data or the timeout ends it.",
    )
    http: HttpGate | None = Field(default=None, description="A request, and what its answer must be.")
    job: JobGate | None = Field(default=None, description="A Job of any pods: Cypress, Selenium, newman ...")
    browser: BrowserGate | None = Field(default=None, description="Steps in a real browser, with screenshots.")
    prometheus: PrometheusGate | None = Field(default=None, description="A PromQL query, and what its result must be.")
    events: EventsGate | None = Field(
        default=None, description="Figures of this revision from the campaign's own event store. Needs spec.edge."
    )
    manual: Flag | None = Field(
        default=None,
        description="true: a person decides, with `flywheel release promote` or the annotation flywheel.dev/promote.",
    )

    @property
    def kind(self) -> str:
        """Which of the kinds it is."""
        return next(name for name in KINDS if getattr(self, name) is not None)


Gates = Annotated[
    tuple[Gate, ...], Field(max_length=8), KeyedBy(("name",), "give each gate of this list a name of its own")
]


class Window(Model):
    """When promotion may take place."""

    days: Annotated[
        tuple[Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"], ...],
        Field(min_length=1, max_length=7),
        Distinct("remove one of the two"),
    ] = Field(
        default=("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
        description="Days on which the window opens, such as [Mon, Tue]. Default: every day.",
    )
    opens: WallTime = Field(description="Time of day when it opens, in schedule.timeZone, such as 02:00.")
    closes: WallTime = Field(
        description="Time of day when it closes, such as 05:30; at or before `opens` means on the next day."
    )


class Drain(Model):
    """How pods that no longer take the traffic are told to send keep-alive clients away."""

    path: UrlPath = Field(
        description="Path that each old pod gets a POST on after the switch. From then on it must send `Connection: "
        "close` "
        "with every answer, and serve on; such as /drain."
    )
    resume_path: UrlPath | None = Field(
        default=None,
        description="Path that undoes it with a POST, for a way back. Default: none; pods then keep closing "
        "connections.",
    )
    port: PortNumber | None = Field(
        default=None, description="Port of the container to send to. Default: the service's first one."
    )


class Release(Model):
    """How a change of the pods reaches visitors."""

    constraints = (
        Rule(
            cel="(has(self.promotion) && self.promotion == 'Window') == has(self.windows)",
            holds=lambda model: (model.promotion == "Window") == bool(model.windows),
            message="release.windows and promotion: Window belong together: add the one or take out the other",
            field="windows",
        ),
        Rule(
            cel="(has(self.strategy) && self.strategy == 'BlueGreen') || !(has(self.before) || has(self.after) || "
            "has(self.preview) || has(self.promotion) || has(self.releaseGroup) || has(self.drain))",
            holds=lambda model: (
                model.strategy == "BlueGreen"
                or not model.model_fields_set & {"before", "after", "preview", "promotion", "release_group", "drain"}
            ),
            message="gates, preview, promotion, drain and releaseGroup need release.strategy: BlueGreen: add it",
            field="strategy",
        ),
        Rule(
            cel="!has(self.before) || !has(self.after) || self.before.all(b, !self.after.exists(a, a.name == b.name))",
            holds=lambda model: not {gate.name for gate in model.before} & {gate.name for gate in model.after},
            message="a gate's Jobs and pictures are named after it: give gates before and after names of their own",
            field="after",
        ),
        between("deadline", "deadline", "10s", "24h", "pods need time to start, and a release must end"),
        between("keepPrevious", "keep_previous", "0s", "30d", "the way back costs the pods of a second slot"),
        between("keepFailed", "keep_failed", "0s", "7d", "a failed revision is kept to be looked at, not for ever"),
    )

    strategy: Literal["Rolling", "BlueGreen"] = Field(
        default="Rolling",
        description="Rolling (default): pods are replaced a few at a time. BlueGreen: a change makes a revision in a "
        "slot "
        "of its own, which takes the traffic in one act when its gates have passed.",
    )
    preview: IntegerOrPercent = Field(
        default="100%",
        description="Size of a revision that is being verified: pods such as 1, or a percentage of the active slot's "
        "current size, at least one pod. Before the switch it grows to that size in any case. Default 100%.",
    )
    promotion: Literal["Automatic", "Manual", "Window"] = Field(
        default="Automatic",
        description="Automatic (default): as soon as the gates have passed. Manual: when a person says so, with "
        "`flywheel release promote` or the annotation flywheel.dev/promote: <revision>. Window: in one of `windows`.",
    )
    windows: Annotated[tuple[Window, ...], Field(min_length=1, max_length=16)] | None = Field(
        default=None, description="With promotion: Window, when it may take place."
    )
    promote_after: Duration = Field(
        default=timedelta(), description="Time between the last gate's passing and the switch. Default 0s."
    )
    before: Gates = Field(default=(), description="Gates before the switch, one after the other.")
    after: Gates = Field(
        default=(), description="Gates after the switch, one after the other; one that fails brings the traffic back."
    )
    deadline: Duration = Field(
        default=timedelta(minutes=10), description="How long the pods of a revision may take to be ready. Default 10m."
    )
    keep_previous: Duration = Field(
        default=timedelta(minutes=10),
        description="How long the slot that had the traffic stays warm at full size after the gates: a way back "
        "without "
        "waiting. Default 10m.",
    )
    keep_failed: Duration = Field(
        default=timedelta(minutes=5),
        description="How long a revision that failed stays at preview size to be looked at. Default 5m.",
    )
    history: Annotated[Integer, Field(ge=1, le=10)] = Field(
        default=5, description="Revisions that can be gone back to, beside the one that serves; 1 to 10. Default 5."
    )
    release_group: GroupName | None = Field(
        default=None,
        description="Services with the same value here switch together, and go back together, when they change "
        "together.",
    )
    drain: Drain | None = Field(
        default=None,
        description="How old pods are told after a switch to send keep-alive clients away. Visitors who come through "
        "the "
        "edge do not need it. Default: such clients leave when the old pods end.",
    )
    preview_hosts: Annotated[tuple[PreviewHost, ...], Field(max_length=8), Distinct("remove one of the two")] = Field(
        default=(),
        description="Host names at the edge under which the revision that is being verified is shown to people, such "
        "as "
        "[preview.shop.example]. Whoever knows the name sees it; a header X-FW-Preview: <revision> works without.",
    )
