"""One service of a Campaign: what runs, how much of it, and how it is reached."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from flywheel.api.autoscaling import AT_MOST_MAX, Autoscaling, DisruptionBudget
from flywheel.api.content import Content
from flywheel.api.kubernetes import (
    EnvironmentFromManifest,
    EnvironmentManifest,
    Labels,
    LifecycleManifest,
    LocalReferenceManifest,
    ProbeManifest,
    ResourcesManifest,
    VolumeMountManifest,
    well_formed_keys,
)
from flywheel.api.model import KeyedBy, Model, Rule
from flywheel.api.pod_template import PodTemplate
from flywheel.api.quantities import (
    Flag,
    ImageReference,
    Integer,
    LongText,
    Name,
    PortNumber,
    Replicas,
    Text,
    Word,
)
from flywheel.api.release import Release
from flywheel.api.scheduling import AffinityManifest, TolerationManifest, TopologySpreadManifest
from flywheel.api.volumes import VolumeManifest

DEFAULT_GRACE = timedelta(seconds=30)
CONTENT_PORT = 8080
"""Of a service with content that names no port."""

ServiceName = Annotated[
    str,
    Text(
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "lowercase letters, digits and '-', at most 40, such as seckill",
        40,
        explain=True,
    ),
]
PortName = Annotated[
    str,
    Text(
        "^([a-z0-9]+-)*[a-z0-9]*[a-z][a-z0-9]*(-[a-z0-9]+)*$",
        "lowercase letters, digits and '-' with at least one letter, at most 15, such as http",
        15,
        explain=True,
    ),
]


class Port(Model):
    """One port of a service."""

    name: PortName = Field(description="Name of the port within the service, such as http or metrics.")
    port: PortNumber = Field(description="Port number under which the service is reached.")
    target_port: PortNumber | None = Field(
        default=None, description="Port number that the container listens on. Default: the same as port."
    )
    protocol: Literal["TCP", "UDP", "SCTP"] = Field(default="TCP", description="TCP (default), UDP or SCTP.")
    app_protocol: Word | None = Field(
        default=None, description="Protocol above, as a hint for gateways, such as http or kubernetes.io/h2c."
    )

    @property
    def container_port(self) -> int:
        """The port number that the container listens on."""
        return self.port if self.target_port is None else self.target_port


def _reserves(resources: dict[str, Any] | None, resource: str) -> bool:
    return any(resource in ((resources or {}).get(part) or {}) for part in ("requests", "limits"))


def _resource_rule(resource: str) -> Rule:
    def holds(service: "Service") -> bool:
        metrics = service.autoscaling.metrics if service.autoscaling else ()
        return _reserves(service.resources, resource) or all(getattr(metric, resource) is None for metric in metrics)

    return Rule(
        cel=f"!has(self.autoscaling) || !self.autoscaling.metrics.exists(m, has(m.{resource})) || (has(self.resources) "
        f"&& ((has(self.resources.requests) && '{resource}' in self.resources.requests) || "
        f"(has(self.resources.limits) && '{resource}' in self.resources.limits)))",
        holds=holds,
        message=f"autoscaling on {resource} is a percentage of the request: set resources.requests.{resource}",
        field="resources",
    )


def _port_rule(field: str) -> Rule:
    """A probe or hook that names no port asks the service's first one, so there must be one."""
    kinds = ("httpGet", "tcpSocket", "grpc") if field.endswith("Probe") else ("httpGet", "tcpSocket")
    named = " && ".join(f"(!has(self.{field}.{kind}) || has(self.{field}.{kind}.port))" for kind in kinds)
    steps = field.split(".")
    absent = " || ".join(f"!has(self.{'.'.join(steps[: count + 1])})" for count in range(len(steps)))

    def holds(service: "Service") -> bool:
        action: Any = {name: getattr(service, attribute) for name, attribute in _ASKING.items()}
        for step in steps:
            action = (action or {}).get(step)
        asked = [action[kind] for kind in kinds if action and action.get(kind) is not None]
        return bool(service.listening_ports) or all(target.get("port") is not None for target in asked)

    return Rule(
        cel=f"{absent} || has(self.port) || has(self.ports) || has(self.content) || ({named})",
        holds=holds,
        message="it names no port and the service has none: add port here or to the service",
        field=field,
    )


_ASKING = {
    "readinessProbe": "readiness_probe",
    "livenessProbe": "liveness_probe",
    "startupProbe": "startup_probe",
    "lifecycle": "lifecycle",
}


def _mounts_have_volumes(service: "Service") -> bool:
    template = service.pod_template.spec if service.pod_template else None
    volumes = [*service.volumes, *((template or {}).get("volumes") or ())]
    known = {volume["name"] for volume in volumes}
    return all(mount["name"] in known for mount in service.volume_mounts)


def _port_numbers_differ(service: "Service") -> bool:
    numbers = [(port.port, port.protocol) for port in service.ports]
    return len(set(numbers)) == len(numbers)


class Service(Model):
    """One service of the campaign."""

    constraints = (
        Rule(
            cel="!has(self.port) || !has(self.ports)",
            holds=lambda model: model.port is None or not model.ports,
            message="port and ports exclude each other: keep port for a single port, ports for several",
            field="ports",
        ),
        Rule(
            cel="!has(self.ports) || self.ports.all(a, self.ports.exists_one(b, a.port == b.port && "
            "(has(a.protocol) ? a.protocol : 'TCP') == (has(b.protocol) ? b.protocol : 'TCP')))",
            holds=_port_numbers_differ,
            message="each port number may be used once per protocol: change or remove one of the two ports",
            field="ports",
        ),
        AT_MOST_MAX,
        Rule(
            cel="has(self.image) || has(self.content)",
            holds=lambda model: model.image is not None or model.content is not None,
            message="a service needs something to run: add image, or content",
            field="image",
        ),
        Rule(
            cel="!has(self.image) || !has(self.content)",
            holds=lambda model: model.image is None or model.content is None,
            message="image and content exclude each other: keep one",
            field="content",
        ),
        Rule(
            cel="!has(self.content) || !(has(self.command) || has(self.args) || has(self.ports) || "
            "has(self.imagePullPolicy))",
            holds=lambda model: (
                model.content is None or not (model.command or model.args or model.ports or model.image_pull_policy)
            ),
            message="content is served by a server of ours: take out command, args, ports and imagePullPolicy, or give "
            "the service an image of its own",
            field="content",
        ),
        Rule(
            cel="!has(self.release) || !has(self.release.strategy) || self.release.strategy != 'BlueGreen' || "
            "has(self.port) || has(self.ports) || has(self.content)",
            holds=lambda model: model.release.strategy != "BlueGreen" or bool(model.listening_ports),
            message="only a service that is reached can be switched: add port, or use release.strategy: Rolling",
            field="release",
        ),
        well_formed_keys("nodeSelector"),
        _resource_rule("cpu"),
        _resource_rule("memory"),
        *(_port_rule(field) for field in _ASKING if field != "lifecycle"),
        _port_rule("lifecycle.postStart"),
        _port_rule("lifecycle.preStop"),
        Rule(
            cel="!has(self.volumeMounts) || self.volumeMounts.all(m, (has(self.volumes) && "
            "self.volumes.exists(v, v.name == m.name)) || (has(self.podTemplate) && has(self.podTemplate.spec) && "
            "has(self.podTemplate.spec.volumes) && self.podTemplate.spec.volumes.exists(v, v.name == m.name)))",
            holds=_mounts_have_volumes,
            message="each volume mount must name a volume of the service: add it to volumes or correct the name",
            field="volumeMounts",
        ),
    )

    name: ServiceName = Field(
        description="Name of the service within the campaign, such as seckill: lowercase letters, digits and '-', at "
        "most 40. Its objects are called <campaign>-<name>; together with the '-' at most 52 characters."
    )
    image: ImageReference | None = Field(
        default=None,
        description="Container image, such as registry.example/shop/seckill:1.4.2; a digest (@sha256:...) pins it. "
        "Either this or content.",
    )
    content: Content | None = Field(
        default=None,
        description="Files to serve instead of an image of one's own: a landing page straight from Git, or from an OCI "
        "image. Served by a static server of ours, on port 8080 unless port says another.",
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="When the image is pulled. Default: Always for :latest, else IfNotPresent."
    )
    image_pull_secrets: Annotated[
        tuple[LocalReferenceManifest, ...], Field(max_length=16), KeyedBy(("name",), "remove one of the two")
    ] = Field(default=(), description="Secrets with credentials for the image's registry, such as [{name: registry}].")
    command: Annotated[tuple[LongText, ...], Field(max_length=64)] | None = Field(
        default=None, description="Program to run. Default: the image's entry point."
    )
    args: Annotated[tuple[LongText, ...], Field(max_length=128)] | None = Field(
        default=None, description="Arguments of the program. Default: the image's."
    )
    port: PortNumber | None = Field(
        default=None, description="The port that the container listens on and the service is reached under; named http."
    )
    ports: Annotated[
        tuple[Port, ...], Field(min_length=1, max_length=16), KeyedBy(("name",), "give each port a name of its own")
    ] = Field(default=(), description="Several ports, instead of port.")
    env: Annotated[
        tuple[EnvironmentManifest, ...], Field(max_length=256), KeyedBy(("name",), "remove one of the two variables")
    ] = Field(default=(), description="Environment variables of the container, as in a Kubernetes container.")
    env_from: Annotated[tuple[EnvironmentFromManifest, ...], Field(max_length=32)] = Field(
        default=(), description="ConfigMaps and Secrets whose keys become environment variables."
    )
    resources: ResourcesManifest | None = Field(
        default=None,
        description="CPU and memory, as in a Kubernetes container, such as {requests: {cpu: 250m, memory: 128Mi}}.",
    )
    readiness_probe: ProbeManifest | None = Field(
        default=None, description="Tells when a pod may get visitors, such as {httpGet: {path: /healthz}}."
    )
    liveness_probe: ProbeManifest | None = Field(
        default=None, description="Tells when a container must be restarted. Without it only an exit restarts it."
    )
    startup_probe: ProbeManifest | None = Field(
        default=None, description="Tells when a slow start is over; the other probes wait for it."
    )
    lifecycle: LifecycleManifest | None = Field(
        default=None, description="Hooks after the start and before the stop, as in a Kubernetes container."
    )
    volumes: Annotated[
        tuple[VolumeManifest, ...], Field(max_length=64), KeyedBy(("name",), "give each volume a name of its own")
    ] = Field(default=(), description="Volumes of the pods, as in a Kubernetes pod. hostPath is not offered.")
    volume_mounts: Annotated[
        tuple[VolumeMountManifest, ...], Field(max_length=64), KeyedBy(("mountPath",), "mount one of the two elsewhere")
    ] = Field(default=(), description="Where the volumes appear in the container.")
    termination_grace_period_seconds: Annotated[Integer, Field(ge=0, le=86400)] | None = Field(
        default=None, description="Seconds that a pod may take to stop; default 30."
    )
    replicas: Replicas | None = Field(
        default=None,
        description="Base size: replicas while Preparing and Draining, and all the time without autoscaling. 0 "
        "to 1000. "
        "Default: autoscaling.min, or 1 without autoscaling.",
    )
    autoscaling: Autoscaling | None = Field(
        default=None,
        description="Grow and shrink with the load, such as {min: 10, max: 100, warm: 40, metrics: [{cpu: 60%}]}. "
        "Without it the service keeps its base size.",
    )
    release: Release = Field(
        default=Release(),
        description="How a change of the pods reaches visitors: in place (Rolling, the default), or BlueGreen with "
        "gates, "
        "such as {strategy: BlueGreen, before: [{name: smoke, http: {path: /healthz}}]}.",
    )
    disruption_budget: DisruptionBudget = Field(
        default=DisruptionBudget(max_unavailable="10%"),
        description="How many pods may be evicted at a time, such as {maxUnavailable: 1}. Default: maxUnavailable 10%.",
    )
    service_account_name: Name | None = Field(
        default=None, description="An existing ServiceAccount. Default: one of its own, <campaign>-<name>, is created."
    )
    automount_service_account_token: Flag = Field(
        default=False,
        description="true: mount a token for the Kubernetes API into the pods. Default false: most shops need none.",
    )
    node_selector: Labels | None = Field(default=None, description="Labels that a node must have.")
    tolerations: Annotated[tuple[TolerationManifest, ...], Field(max_length=32)] = Field(
        default=(), description="Taints of nodes that the pods accept."
    )
    affinity: AffinityManifest | None = Field(
        default=None, description="Attraction and repulsion of pods, as in a Kubernetes pod."
    )
    topology_spread_constraints: (
        Annotated[
            tuple[TopologySpreadManifest, ...],
            Field(max_length=16),
            KeyedBy(("topologyKey", "whenUnsatisfiable"), "remove one of the two"),
        ]
        | None
    ) = Field(
        default=None,
        description="How evenly pods are spread. Default: over nodes and zones as far as possible; [] spreads nothing.",
    )
    priority_class_name: Name | None = Field(default=None, description="PriorityClass of the pods.")
    runtime_class_name: Name | None = Field(default=None, description="RuntimeClass of the pods.")
    pod_template: PodTemplate | None = Field(
        default=None,
        description="Escape hatch: merged strategically over the generated pod template, for what has no field here.",
    )

    @property
    def listening_ports(self) -> tuple[Port, ...]:
        """All ports, whichever way they were written; empty for a service that is not reached."""
        if self.port is None and self.content is not None:
            return (Port(name="http", port=CONTENT_PORT),)
        return self.ports if self.port is None else (Port(name="http", port=self.port),)

    @property
    def base_replicas(self) -> int:
        """The base size."""
        if self.replicas is not None:
            return self.replicas
        return self.autoscaling.min if self.autoscaling else 1
