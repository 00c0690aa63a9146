"""The escape hatch: a pod template that is merged strategically over the generated one, and what it must not touch."""

from typing import Annotated, Any

from pydantic import Field

from flywheel.api.kubernetes import Annotations, Labels, Manifest, well_formed_keys
from flywheel.api.model import Model, PartialModel, Rule, ShapedBy
from flywheel.api.quantities import Flag, Label, Word

RESERVED_PREFIX = "flywheel.dev/"
RESERVED_LABELS = frozenset(
    {
        "app.kubernetes.io/name",
        "app.kubernetes.io/instance",
        "app.kubernetes.io/component",
        "app.kubernetes.io/managed-by",
    }
)


def _free_of_reserved(keys: dict[str, Any] | None) -> bool:
    return not any(key.startswith(RESERVED_PREFIX) or key in RESERVED_LABELS for key in keys or ())


def reserved_labels(field: str) -> Rule:
    """A rule that keeps people from the labels by which the operator finds its own."""
    return Rule(
        cel=f"!has(self.{field}) || self.{field}.all(k, !k.startsWith('{RESERVED_PREFIX}') && "
        f"!(k in {sorted(RESERVED_LABELS)}))",
        holds=lambda model: _free_of_reserved(getattr(model, field)),
        message="labels flywheel.dev/* and app.kubernetes.io/{name,instance,component,managed-by} are reserved for "
        "the operator: remove them",
        field=field,
    )


class PodTemplateMetadata(Model):
    """Labels and annotations of the pods."""

    constraints = (
        reserved_labels("labels"),
        Rule(
            cel=f"!has(self.annotations) || self.annotations.all(k, !k.startsWith('{RESERVED_PREFIX}'))",
            holds=lambda model: not any(key.startswith(RESERVED_PREFIX) for key in model.annotations or ()),
            message="annotations flywheel.dev/* are reserved for the operator: remove them",
            field="annotations",
        ),
        well_formed_keys("labels"),
        well_formed_keys("annotations"),
    )

    labels: Labels | None = Field(default=None, description="Labels to add to the pods.")
    annotations: Annotations | None = Field(default=None, description="Annotations to add to the pods.")


class WindowsOptions(PartialModel):
    """Windows settings; only what is refused is named."""

    host_process: Flag | None = Field(default=None, description="Refused: the container would run on the host.")


class ContainerSecurity(PartialModel):
    """Security context of a container; only what is refused is named."""

    privileged: Flag | None = Field(default=None, description="Refused when true: it would own the node.")
    windows_options: WindowsOptions | None = Field(default=None, description="Windows settings.")


class TemplateContainer(PartialModel):
    """A container to add, or settings to merge into the one of the same name."""

    constraints = (
        Rule(
            cel="!has(self.securityContext) || !has(self.securityContext.privileged) || "
            "!self.securityContext.privileged",
            holds=lambda model: not (model.security_context and model.security_context.privileged),
            message="privileged containers are not allowed in a campaign: remove securityContext.privileged",
            field="securityContext",
        ),
        Rule(
            cel="!has(self.securityContext) || !has(self.securityContext.windowsOptions) || "
            "!has(self.securityContext.windowsOptions.hostProcess) || !self.securityContext.windowsOptions.hostProcess",
            holds=lambda model: (
                not (
                    model.security_context
                    and model.security_context.windows_options
                    and model.security_context.windows_options.host_process
                )
            ),
            message="host process containers are not allowed in a campaign: remove windowsOptions.hostProcess",
            field="securityContext",
        ),
    )

    name: Label = Field(
        description="Name of the container. The service's own container has the name of the service; "
        "any other name adds a container."
    )
    security_context: ContainerSecurity | None = Field(
        default=None, description="Security context of the container; privileged is refused."
    )


class TemplateVolume(PartialModel):
    """A volume to add, or settings to merge into the one of the same name."""

    constraints = (
        Rule(
            cel="!has(self.hostPath)",
            holds=lambda model: model.host_path is None,
            message="hostPath volumes are not allowed in a campaign: use a configMap, secret, emptyDir, csi or "
            "persistentVolumeClaim volume",
            field="hostPath",
        ),
    )

    name: Label = Field(description="Name of the volume.")
    host_path: Annotated[dict[str, Any], ShapedBy(PartialModel)] | None = Field(
        default=None, description="Refused: a campaign does not touch the node."
    )


class PodSecurity(PartialModel):
    """Security context of the pod; only what is refused is named."""

    windows_options: WindowsOptions | None = Field(default=None, description="Windows settings.")


def _absent(field: str, attribute: str, remedy: str) -> Rule:
    return Rule(
        cel=f"!has(self.{field})",
        holds=lambda model: getattr(model, attribute) is None,
        message=f"{field} is not allowed in podTemplate: {remedy}",
        field=field,
    )


def _not_true(field: str, attribute: str) -> Rule:
    return Rule(
        cel=f"!has(self.{field}) || !self.{field}",
        holds=lambda model: not getattr(model, attribute),
        message=f"{field} is not allowed in a campaign: remove it",
        field=field,
    )


class TemplateSpec(PartialModel):
    """Any field of a pod's spec but those that would escape from the campaign or break its bookkeeping."""

    constraints = (
        _not_true("hostNetwork", "host_network"),
        _not_true("hostPID", "host_pid"),
        _not_true("hostIPC", "host_ipc"),
        _absent("serviceAccountName", "service_account_name", "set serviceAccountName of the service instead"),
        _absent("serviceAccount", "service_account", "set serviceAccountName of the service instead"),
        _absent("restartPolicy", "restart_policy", "remove it; pods of a Deployment always restart"),
        _absent("nodeName", "node_name", "use nodeSelector or affinity of the service instead"),
        _absent("ephemeralContainers", "ephemeral_containers", "use kubectl debug on the running pod instead"),
        Rule(
            cel="!has(self.securityContext) || !has(self.securityContext.windowsOptions) || "
            "!has(self.securityContext.windowsOptions.hostProcess) || !self.securityContext.windowsOptions.hostProcess",
            holds=lambda model: (
                not (
                    model.security_context
                    and model.security_context.windows_options
                    and model.security_context.windows_options.host_process
                )
            ),
            message="host process containers are not allowed in a campaign: remove windowsOptions.hostProcess",
            field="securityContext",
        ),
    )

    containers: Annotated[tuple[TemplateContainer, ...], Field(max_length=32)] | None = Field(
        default=None,
        description="Containers to add, or to merge by name into the generated one, which has the name of the service.",
    )
    init_containers: Annotated[tuple[TemplateContainer, ...], Field(max_length=32)] | None = Field(
        default=None, description="Containers that run before the service's own."
    )
    volumes: Annotated[tuple[TemplateVolume, ...], Field(max_length=64)] | None = Field(
        default=None, description="Volumes to add, or to merge by name."
    )
    security_context: PodSecurity | None = Field(
        default=None, description="Security context of the pod, merged over the restricted one that is generated."
    )
    host_network: Flag | None = Field(default=None, description="Refused when true.")
    host_pid: Flag | None = Field(default=None, alias="hostPID", description="Refused when true.")
    host_ipc: Flag | None = Field(default=None, alias="hostIPC", description="Refused when true.")
    service_account_name: Word | None = Field(default=None, description="Refused: use the service's own field.")
    service_account: Word | None = Field(default=None, description="Refused: use the service's serviceAccountName.")
    restart_policy: Word | None = Field(default=None, description="Refused: pods of a Deployment always restart.")
    node_name: Word | None = Field(default=None, description="Refused: use nodeSelector or affinity.")
    ephemeral_containers: (
        Annotated[tuple[Annotated[dict[str, Any], ShapedBy(PartialModel)], ...], Field(max_length=32)] | None
    ) = Field(default=None, description="Refused: use kubectl debug on the running pod.")


class PodTemplate(Model):
    """What is merged over the generated pod template."""

    metadata: PodTemplateMetadata | None = Field(default=None, description="Labels and annotations of the pods.")
    spec: Annotated[Manifest, ShapedBy(TemplateSpec)] | None = Field(
        default=None,
        description="Fields of a Kubernetes PodSpec. Lists of named things (containers, volumes) merge by name, other "
        "values replace what is generated.",
    )
