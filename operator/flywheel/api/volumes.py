"""Kubernetes volumes, taken over as they are. `hostPath` and the sources that Kubernetes has retired are not here."""

from typing import Annotated, Literal

from pydantic import Field

from flywheel.api.kubernetes import (
    FieldSelector,
    Labels,
    LabelSelector,
    LocalReference,
    Manifest,
    ResourceFieldSelector,
    exactly_one,
)
from flywheel.api.model import Model, ShapedBy
from flywheel.api.quantities import Flag, ImageReference, Integer, Label, LabelKey, Line, Name, Quantity, Word

FileMode = Annotated[Integer, Field(ge=0, le=0o777)]
_MODE = "Permissions of the files as a number; 0644 in octal is 420. Default 0644."
_OPTIONAL = "true: the pod starts without it when it does not exist."


class KeyToPath(Model):
    """One key as a file."""

    key: Word = Field(description="The key of the ConfigMap or Secret.")
    path: Line = Field(description="Path of the file within the volume; relative, without '..'.")
    mode: FileMode | None = Field(default=None, description=_MODE)


Items = Annotated[tuple[KeyToPath, ...], Field(max_length=128)]
_ITEMS = "Only these keys, at these paths; default: every key as a file of its name."


class ConfigMapVolume(Model):
    """The keys of a ConfigMap as files."""

    name: Name = Field(description="Name of the ConfigMap in the Campaign's namespace.")
    items: Items | None = Field(default=None, description=_ITEMS)
    default_mode: FileMode | None = Field(default=None, description=_MODE)
    optional: Flag | None = Field(default=None, description=_OPTIONAL)


class SecretVolume(Model):
    """The keys of a Secret as files."""

    secret_name: Name = Field(description="Name of the Secret in the Campaign's namespace.")
    items: Items | None = Field(default=None, description=_ITEMS)
    default_mode: FileMode | None = Field(default=None, description=_MODE)
    optional: Flag | None = Field(default=None, description=_OPTIONAL)


class EmptyDirVolume(Model):
    """An empty directory that lives as long as the pod."""

    medium: Literal["", "Memory", "HugePages"] | None = Field(
        default=None,
        description="Memory: a file system in memory, counted as the container's. Default: the node's disk.",
    )
    size_limit: Quantity | None = Field(default=None, description="Most it may hold, such as 256Mi.")


class ClaimVolume(Model):
    """A PersistentVolumeClaim that exists."""

    claim_name: Name = Field(description="Name of the PersistentVolumeClaim in the Campaign's namespace.")
    read_only: Flag | None = Field(default=None, description="true: all mounts are read-only.")


class DownwardFile(Model):
    """A fact about the pod as a file."""

    path: Line = Field(description="Path of the file within the volume; relative, without '..'.")
    field_ref: FieldSelector | None = Field(default=None, description="A field of the pod, such as metadata.labels.")
    resource_field_ref: ResourceFieldSelector | None = Field(
        default=None, description="An amount of a container's resources."
    )
    mode: FileMode | None = Field(default=None, description=_MODE)


class DownwardVolume(Model):
    """Facts about the pod as files."""

    items: Annotated[tuple[DownwardFile, ...], Field(max_length=128)] | None = Field(
        default=None, description="The files."
    )
    default_mode: FileMode | None = Field(default=None, description=_MODE)


class DownwardProjection(Model):
    """Facts about the pod as files."""

    items: Annotated[tuple[DownwardFile, ...], Field(max_length=128)] | None = Field(
        default=None, description="The files."
    )


class ProjectedKeys(Model):
    """The keys of a ConfigMap or Secret as files."""

    name: Name = Field(description="Name of the object in the Campaign's namespace.")
    items: Items | None = Field(default=None, description=_ITEMS)
    optional: Flag | None = Field(default=None, description=_OPTIONAL)


class ProjectedToken(Model):
    """A token of the pod's service account."""

    path: Line = Field(description="Path of the file within the volume; relative, without '..'.")
    audience: Word | None = Field(default=None, description="Who the token is for; default: the API server.")
    expiration_seconds: Annotated[Integer, Field(ge=600, le=4294967296)] | None = Field(
        default=None, description="Seconds that it is valid; it is renewed in time. Default 3600."
    )


class ProjectedTrustBundle(Model):
    """Certificates of a ClusterTrustBundle."""

    name: Word | None = Field(default=None, description="Name of one bundle.")
    signer_name: Word | None = Field(default=None, description="All bundles of this signer.")
    label_selector: LabelSelector | None = Field(default=None, description="Which bundles of the signer.")
    optional: Flag | None = Field(default=None, description=_OPTIONAL)
    path: Line = Field(description="Path of the file within the volume; relative, without '..'.")


class Projection(Model):
    """One source of a projected volume."""

    constraints = (
        exactly_one(
            ("configMap", "secret", "downwardAPI", "serviceAccountToken", "clusterTrustBundle"),
            ("config_map", "secret", "downward_api", "service_account_token", "cluster_trust_bundle"),
            "a projected source",
        ),
    )

    config_map: ProjectedKeys | None = Field(default=None, description="Keys of a ConfigMap.")
    secret: ProjectedKeys | None = Field(default=None, description="Keys of a Secret.")
    downward_api: DownwardProjection | None = Field(
        default=None, alias="downwardAPI", description="Facts about the pod."
    )
    service_account_token: ProjectedToken | None = Field(
        default=None, description="A token of the pod's service account, for one audience."
    )
    cluster_trust_bundle: ProjectedTrustBundle | None = Field(
        default=None, description="Certificates of ClusterTrustBundles."
    )


class ProjectedVolume(Model):
    """Several sources in one directory."""

    sources: Annotated[tuple[Projection, ...], Field(max_length=32)] | None = Field(
        default=None, description="The sources; a later one wins over an earlier one at the same path."
    )
    default_mode: FileMode | None = Field(default=None, description=_MODE)


class CsiVolume(Model):
    """An ephemeral volume of a CSI driver."""

    driver: Name = Field(description="Name of the driver, such as secrets-store.csi.k8s.io.")
    read_only: Flag | None = Field(default=None, description="true: all mounts are read-only.")
    fs_type: Word | None = Field(default=None, description="File system to make; default: the driver's choice.")
    volume_attributes: Annotated[dict[Word, Line], Field(max_length=64)] | None = Field(
        default=None, description="Settings of the driver."
    )
    node_publish_secret_ref: LocalReference | None = Field(default=None, description="A Secret for the driver.")


class ClaimResources(Model):
    """Storage of a claim."""

    requests: Annotated[dict[LabelKey, Quantity], Field(max_length=8)] | None = Field(
        default=None, description="What is asked for, such as {storage: 10Gi}."
    )
    limits: Annotated[dict[LabelKey, Quantity], Field(max_length=8)] | None = Field(
        default=None, description="The most."
    )


class TypedReference(Model):
    """An object of the same namespace, by kind."""

    api_group: Word | None = Field(default=None, description="Group of the API; empty for the core.")
    kind: Word = Field(description="Kind of the object.")
    name: Name = Field(description="Name of the object.")
    namespace: Label | None = Field(default=None, description="Another namespace, where the cluster allows it.")


class ClaimSpec(Model):
    """A PersistentVolumeClaim to be made for each pod."""

    access_modes: Annotated[tuple[Word, ...], Field(max_length=4)] | None = Field(
        default=None, description="Such as [ReadWriteOnce]."
    )
    resources: ClaimResources | None = Field(default=None, description="How much storage.")
    storage_class_name: Name | None = Field(default=None, description="StorageClass; default: the cluster's.")
    volume_mode: Literal["Filesystem", "Block"] | None = Field(default=None, description="Default Filesystem.")
    volume_name: Name | None = Field(default=None, description="One existing PersistentVolume.")
    volume_attributes_class_name: Name | None = Field(default=None, description="VolumeAttributesClass.")
    selector: LabelSelector | None = Field(default=None, description="Which PersistentVolumes may be used.")
    data_source: TypedReference | None = Field(default=None, description="What the volume is filled from.")
    data_source_ref: TypedReference | None = Field(default=None, description="What the volume is filled from.")


class ClaimMetadata(Model):
    """Labels and annotations of a claim."""

    labels: Labels | None = Field(default=None, description="Labels.")
    annotations: Annotated[dict[LabelKey, Line], Field(max_length=64)] | None = Field(
        default=None, description="Annotations."
    )


class ClaimTemplate(Model):
    """A PersistentVolumeClaim to be made for each pod and removed with it."""

    metadata: ClaimMetadata | None = Field(default=None, description="Labels and annotations of the claim.")
    spec: ClaimSpec = Field(description="The claim.")


class EphemeralVolume(Model):
    """A volume that is made for each pod and removed with it."""

    volume_claim_template: ClaimTemplate = Field(description="The claim that is made.")


class ImageVolume(Model):
    """The files of an image, read-only."""

    reference: ImageReference = Field(description="The image, such as registry.example/shop/catalogue:2027-06.")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="Default: Always for :latest, else IfNotPresent."
    )


class NfsVolume(Model):
    """A directory of an NFS server."""

    server: Word = Field(description="Host name or address of the server.")
    path: Line = Field(description="Exported path.")
    read_only: Flag | None = Field(default=None, description="true: all mounts are read-only.")


_SOURCES = {
    "configMap": "config_map",
    "secret": "secret",
    "emptyDir": "empty_dir",
    "persistentVolumeClaim": "persistent_volume_claim",
    "projected": "projected",
    "downwardAPI": "downward_api",
    "csi": "csi",
    "ephemeral": "ephemeral",
    "image": "image",
    "nfs": "nfs",
}


class Volume(Model):
    """A volume of the service's pods."""

    constraints = (exactly_one(tuple(_SOURCES), tuple(_SOURCES.values()), "a volume"),)

    name: Label = Field(description="Name that volumeMounts use.")
    config_map: ConfigMapVolume | None = Field(default=None, description="The keys of a ConfigMap as files.")
    secret: SecretVolume | None = Field(default=None, description="The keys of a Secret as files.")
    empty_dir: EmptyDirVolume | None = Field(
        default=None, description="An empty directory that lives as long as the pod; {} is enough."
    )
    persistent_volume_claim: ClaimVolume | None = Field(
        default=None, description="A PersistentVolumeClaim that exists; all pods of the service share it."
    )
    projected: ProjectedVolume | None = Field(default=None, description="Several sources in one directory.")
    downward_api: DownwardVolume | None = Field(
        default=None, alias="downwardAPI", description="Facts about the pod as files."
    )
    csi: CsiVolume | None = Field(default=None, description="An ephemeral volume of a CSI driver.")
    ephemeral: EphemeralVolume | None = Field(
        default=None, description="A volume that is made for each pod and removed with it."
    )
    image: ImageVolume | None = Field(default=None, description="The files of an image, read-only.")
    nfs: NfsVolume | None = Field(default=None, description="A directory of an NFS server.")


VolumeManifest = Annotated[Manifest, ShapedBy(Volume)]
