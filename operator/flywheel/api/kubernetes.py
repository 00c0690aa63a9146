"""Kubernetes shapes of a container, taken over as they are: environment, resources, probes, hooks, mounts.

The models only check and document. What is loaded keeps the dict exactly as it was written (`ShapedBy`), so that it can
be put into a manifest untouched.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from flywheel.api.model import KeyedBy, Model, Rule, ShapedBy
from flywheel.api.quantities import (
    LABEL_KEY_PATTERN,
    Count,
    EnvironmentName,
    Flag,
    Integer,
    Label,
    LabelKey,
    LabelValue,
    Line,
    LongText,
    Name,
    PortNumber,
    PortNumberOrName,
    Quantity,
    ResourceQuantity,
    Text,
    Word,
    cel_text,
)

Manifest = dict[str, Any]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=64)]
Annotations = Annotated[
    dict[LabelKey, Annotated[str, Field(max_length=16384)]],
    Field(max_length=64),
]


def exactly_one(fields: tuple[str, ...], attributes: tuple[str, ...], what: str) -> Rule:
    """A rule: of several optional fields exactly one is given."""
    counted = " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields)
    return Rule(
        cel=f"{counted} == 1",
        holds=lambda model: sum(getattr(model, name) is not None for name in attributes) == 1,
        message=f"{what} must have exactly one of {', '.join(fields)}: keep one",
    )


def well_formed_keys(field: str) -> Rule:
    """A rule for the API server, whose schemas say nothing of keys; here the type of the map checks them."""
    return Rule(
        cel=f"!has(self.{field}) || self.{field}.all(k, k.matches({cel_text(LABEL_KEY_PATTERN)}))",
        holds=lambda _: True,
        message=f"every key of {field} must be a key such as team or example.com/team: correct it",
        field=field,
    )


class LabelRequirement(Model):
    """One requirement on a label."""

    key: LabelKey = Field(description="Key of the label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="How it is compared.")
    values: Annotated[tuple[Word, ...], Field(max_length=64)] | None = Field(
        default=None, description="With In and NotIn: the values."
    )


class LabelSelector(Model):
    """Which objects are meant, by their labels."""

    match_labels: Labels | None = Field(default=None, description="Labels that must have these values.")
    match_expressions: Annotated[tuple[LabelRequirement, ...], Field(max_length=32)] | None = Field(
        default=None, description="Further requirements; all must hold."
    )


class KeySelector(Model):
    """A key of a ConfigMap or Secret."""

    name: Name = Field(description="Name of the ConfigMap or Secret in the Campaign's namespace.")
    key: Word = Field(description="The key to read.")
    optional: Flag | None = Field(default=None, description="true: start without it when it does not exist.")


class FieldSelector(Model):
    """A field of the pod."""

    api_version: Word | None = Field(default=None, description="Version of the schema of fieldPath; default v1.")
    field_path: Word = Field(description="Path of the field in the pod, such as metadata.name or status.podIP.")


class ResourceFieldSelector(Model):
    """An amount of the container's resources."""

    container_name: Label | None = Field(default=None, description="The container; needed in volumes only.")
    resource: Word = Field(description="The amount, such as limits.cpu or requests.memory.")
    divisor: Quantity | None = Field(default=None, description="Unit of the exposed number; default 1.")


class FileKeySelector(Model):
    """A variable of an env file on a volume."""

    volume_name: Label = Field(description="Name of the volume that holds the file.")
    path: LongText = Field(description="Path of the file within the volume.")
    key: EnvironmentName = Field(description="The variable to read.")
    optional: Flag | None = Field(default=None, description="true: start without it when it does not exist.")


class EnvironmentSource(Model):
    """Where the value of an environment variable comes from."""

    constraints = (
        exactly_one(
            ("configMapKeyRef", "secretKeyRef", "fieldRef", "resourceFieldRef", "fileKeyRef"),
            ("config_map_key_ref", "secret_key_ref", "field_ref", "resource_field_ref", "file_key_ref"),
            "valueFrom",
        ),
    )

    config_map_key_ref: KeySelector | None = Field(default=None, description="A key of a ConfigMap.")
    secret_key_ref: KeySelector | None = Field(default=None, description="A key of a Secret.")
    field_ref: FieldSelector | None = Field(default=None, description="A field of the pod.")
    resource_field_ref: ResourceFieldSelector | None = Field(
        default=None, description="An amount of the container's resources."
    )
    file_key_ref: FileKeySelector | None = Field(default=None, description="A variable of an env file on a volume.")


class EnvironmentVariable(Model):
    """One environment variable."""

    constraints = (
        Rule(
            cel="!has(self.value) || self.value == '' || !has(self.valueFrom)",
            holds=lambda model: not model.value or model.value_from is None,
            message="value and valueFrom exclude each other: keep one",
            field="valueFrom",
        ),
    )

    name: EnvironmentName = Field(description="Name of the variable, such as DATABASE_URL.")
    value: LongText | None = Field(
        default=None,
        description="The value, always text: quote numbers and true/false. $(OTHER) stands for another variable.",
    )
    value_from: EnvironmentSource | None = Field(default=None, description="Where the value comes from instead.")


class OptionalReference(Model):
    """A ConfigMap or Secret."""

    name: Name = Field(description="Name of the object in the Campaign's namespace.")
    optional: Flag | None = Field(default=None, description="true: start without it when it does not exist.")


class EnvironmentFrom(Model):
    """All keys of a ConfigMap or Secret as environment variables."""

    constraints = (exactly_one(("configMapRef", "secretRef"), ("config_map_ref", "secret_ref"), "an item of envFrom"),)

    prefix: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Put before each key to make the name of the variable."
    )
    config_map_ref: OptionalReference | None = Field(default=None, description="A ConfigMap.")
    secret_ref: OptionalReference | None = Field(default=None, description="A Secret.")


class LocalReference(Model):
    """An object of the same namespace."""

    name: Name = Field(description="Name of the object in the Campaign's namespace.")


class ResourceClaim(Model):
    """A claim of the pod that the container uses."""

    name: Label = Field(description="Name of the claim in podTemplate.spec.resourceClaims.")
    request: Word | None = Field(default=None, description="A single request of the claim; default: all of them.")


class Resources(Model):
    """Compute resources of one container."""

    constraints = (well_formed_keys("requests"), well_formed_keys("limits"))

    limits: Annotated[dict[LabelKey, ResourceQuantity], Field(max_length=16)] | None = Field(
        default=None, description='The most the container may use, such as {cpu: "1", memory: 512Mi}.'
    )
    requests: Annotated[dict[LabelKey, ResourceQuantity], Field(max_length=16)] | None = Field(
        default=None,
        description="What the scheduler reserves for the container, such as {cpu: 250m, memory: 128Mi}. "
        "Autoscaling on cpu or memory is a percentage of this. Default: the limits.",
    )
    claims: (
        Annotated[tuple[ResourceClaim, ...], Field(max_length=16), KeyedBy(("name",), "remove one of the two")] | None
    ) = Field(default=None, description="Claims of the pod (dynamic resource allocation) that the container uses.")


class HttpHeader(Model):
    """One header of a request."""

    name: Word = Field(description="Name of the header, such as Host.")
    value: LongText = Field(description="Value of the header.")


class HttpGet(Model):
    """An HTTP GET request to the container; 200 to 399 is success."""

    path: LongText | None = Field(default=None, description="Path of the request, such as /healthz; default /.")
    port: PortNumberOrName | None = Field(
        default=None, description="Port number or name. Default: the service's first port."
    )
    host: Word | None = Field(default=None, description="Host to connect to; default: the pod's address.")
    scheme: Literal["HTTP", "HTTPS"] | None = Field(default=None, description="HTTP (default) or HTTPS.")
    http_headers: Annotated[tuple[HttpHeader, ...], Field(max_length=32)] | None = Field(
        default=None, description="Headers to send."
    )


class TcpSocket(Model):
    """A TCP connection to the container; an accepted connection is success."""

    port: PortNumberOrName | None = Field(
        default=None, description="Port number or name. Default: the service's first port."
    )
    host: Word | None = Field(default=None, description="Host to connect to; default: the pod's address.")


class Grpc(Model):
    """A call of the gRPC health service; SERVING is success."""

    port: PortNumber | None = Field(default=None, description="Port number. Default: the service's first port.")
    service: Word | None = Field(default=None, description="Service name to ask for; default: the server as a whole.")


class Exec(Model):
    """A command run in the container; exit code 0 is success."""

    command: Annotated[tuple[LongText, ...], Field(min_length=1, max_length=64)] = Field(
        description="The program and its arguments; no shell is involved unless named."
    )


class Probe(Model):
    """A periodic check of a container."""

    constraints = (
        exactly_one(("httpGet", "tcpSocket", "grpc", "exec"), ("http_get", "tcp_socket", "grpc", "exec_"), "a probe"),
    )

    http_get: HttpGet | None = Field(default=None, description="Ask by HTTP, such as {path: /healthz}.")
    tcp_socket: TcpSocket | None = Field(default=None, description="Ask by opening a TCP connection.")
    grpc: Grpc | None = Field(default=None, description="Ask the gRPC health service.")
    exec_: Exec | None = Field(default=None, alias="exec", description="Ask by running a command in the container.")
    initial_delay_seconds: Count | None = Field(
        default=None, description="Seconds from the container's start to the first check; default 0."
    )
    period_seconds: Annotated[Integer, Field(ge=1, le=86400)] | None = Field(
        default=None, description="Seconds between checks; default 10."
    )
    timeout_seconds: Annotated[Integer, Field(ge=1, le=86400)] | None = Field(
        default=None, description="Seconds after which a check has failed; default 1."
    )
    success_threshold: Annotated[Integer, Field(ge=1, le=1000)] | None = Field(
        default=None, description="Successes in a row that count as recovered; default 1."
    )
    failure_threshold: Annotated[Integer, Field(ge=1, le=1000)] | None = Field(
        default=None, description="Failures in a row that count as failed; default 3."
    )
    termination_grace_period_seconds: Annotated[Integer, Field(ge=1, le=86400)] | None = Field(
        default=None, description="Seconds to stop after a failed liveness or startup probe; default: the pod's."
    )


class Sleep(Model):
    """Wait without a program."""

    seconds: Annotated[Integer, Field(ge=0, le=86400)] = Field(description="Seconds to wait.")


class Hook(Model):
    """What is done at one moment in the life of a container."""

    constraints = (
        exactly_one(("exec", "httpGet", "sleep", "tcpSocket"), ("exec_", "http_get", "sleep", "tcp_socket"), "a hook"),
    )

    exec_: Exec | None = Field(default=None, alias="exec", description="Run a command in the container.")
    http_get: HttpGet | None = Field(default=None, description="Send an HTTP GET request to the container.")
    sleep: Sleep | None = Field(default=None, description="Wait, for instance until load balancers have noticed.")
    tcp_socket: TcpSocket | None = Field(default=None, description="Obsolete in Kubernetes; has no effect.")


class Lifecycle(Model):
    """Hooks of a container."""

    post_start: Hook | None = Field(default=None, description="Done right after the container has been created.")
    pre_stop: Hook | None = Field(default=None, description="Done before the container is told to stop.")
    stop_signal: Word | None = Field(default=None, description="Signal that stops the container, such as SIGTERM.")


_MOUNT_PATH = Text("^[^:]+$", "a path without ':', such as /etc/shop", 1024)


class VolumeMount(Model):
    """A volume in the file system of a container."""

    name: Label = Field(description="Name of a volume of `volumes` (or of podTemplate.spec.volumes).")
    mount_path: Annotated[str, _MOUNT_PATH] = Field(description="Where it appears, such as /etc/shop.")
    read_only: Flag | None = Field(default=None, description="true: the container cannot write to it.")
    sub_path: Line | None = Field(default=None, description="Path within the volume; default: its root.")
    sub_path_expr: Line | None = Field(default=None, description="subPath in which $(NAME) stands for a variable.")
    mount_propagation: Literal["None", "HostToContainer", "Bidirectional"] | None = Field(
        default=None, description="Whether later mounts are seen; default None."
    )
    recursive_read_only: Literal["Disabled", "IfPossible", "Enabled"] | None = Field(
        default=None, description="Whether mounts below a read-only mount are read-only too; default Disabled."
    )


EnvironmentManifest = Annotated[Manifest, ShapedBy(EnvironmentVariable)]
EnvironmentFromManifest = Annotated[Manifest, ShapedBy(EnvironmentFrom)]
ResourcesManifest = Annotated[Manifest, ShapedBy(Resources)]
ProbeManifest = Annotated[Manifest, ShapedBy(Probe)]
LifecycleManifest = Annotated[Manifest, ShapedBy(Lifecycle)]
VolumeMountManifest = Annotated[Manifest, ShapedBy(VolumeMount)]
LocalReferenceManifest = Annotated[Manifest, ShapedBy(LocalReference)]
