"""A revision: one immutable version of a service, with its configuration, by digest. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flywheel.api.service import Service
from flywheel.plan import Manifest, ObjectKey, content_hash
from flywheel.release.content.parts import parts_of
from flywheel.release.naming import copy_name, record_name, revision_labels
from flywheel.release.references import Kind, Reference, pointed, references
from flywheel.workload.manifests import account_of, service_ports
from flywheel.workload.template import pod_template

RECORD_KEY = "revision.json"
OUTSIDE = frozenset({"name", "replicas", "autoscaling", "disruption_budget", "release", "content"})
"""Fields of a service that say how much of it there is, or how it is changed, and nothing of its pods."""
LONGEST_RECORD = 400_000
UNCOPIED_SECRETS = frozenset({"kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"})
"""Types of Secrets that the API server fills or reads itself: a copy would be another thing."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """A ConfigMap or Secret as it is now, without what is not its content."""

    kind: Kind
    name: str
    content: Manifest
    """The fields data, binaryData, stringData and type, as far as they are there."""

    @property
    def digest(self) -> str:
        """Digest of the content."""
        return content_hash(self.content)

    @property
    def is_copied(self) -> bool:
        """Whether a revision keeps a copy of it."""
        return self.content.get("type") not in UNCOPIED_SECRETS


@dataclass(frozen=True, slots=True)
class Revision:
    """What the pods of a service are, once and for all."""

    name: str
    """Digest of everything below and of the configuration: 16 hexadecimal digits."""
    service: str
    template: Manifest
    """The pod template without labels of slot and revision; it names the copies of its configuration."""
    ports: tuple[Manifest, ...]
    """Ports as a Kubernetes Service has them."""
    copies: tuple[str, ...] = ()
    """`<kind>/<name>` of the copies that it needs."""
    source: str = ""
    """For people: image, or commit of the content."""

    def labels(self, slot: str) -> dict[str, str]:
        """What pods of this revision carry beside the labels of the service."""
        return revision_labels(slot, self.name)


def drafted(
    campaign: str, service: Service, commit: str, content_image: str, configurations: Sequence[Configuration]
) -> Revision:
    """Make the revision that the spec asks for.

    Only what the author wrote counts for its name, not what the operator makes of it: a new version of the operator is
    no new revision.

    Args:
        campaign: Name of the Campaign.
        service: The service.
        commit: The content's commit; empty for a service without content from Git.
        content_image: Image of ours that serves content.
        configurations: What of the ConfigMaps and Secrets that the pods name is there.
    """
    parts = parts_of(service, commit, content_image)
    template = pod_template(campaign, service, account_of(campaign, service), parts)
    kept = [each for each in configurations if each.is_copied]
    names: dict[tuple[str, str], str] = {
        (each.kind, each.name): copy_name(campaign, service.name, each.name, each.digest) for each in kept
    }
    return Revision(
        name=revision_name(service, commit, configurations),
        service=service.name,
        template=pointed(template, names),
        ports=tuple(service_ports(service)),
        copies=tuple(sorted(f"{kind}/{copy}" for (kind, _), copy in names.items())),
        source=commit or (service.content.image if service.content and service.content.image else service.image or ""),
    )


def named_by(campaign: str, service: Service) -> tuple[Reference, ...]:
    """Name the ConfigMaps and Secrets by which the author's pods are configured; not what our own server needs."""
    return references(pod_template(campaign, service, account_of(campaign, service)))


def revision_name(service: Service, commit: str, configurations: Sequence[Configuration]) -> str:
    """Digest what the author wrote of a service's pods, its content and its configuration."""
    written = service.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude=set(OUTSIDE), warnings=False)
    content = service.content
    if content is not None:
        told = content.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
        git = told.get("git") or {}
        # Which branch led to the commit, and how often it is looked at, changes no pod.
        told["git"] = {name: git[name] for name in ("path",) if name in git}
        written["content"] = {**told, "commit": commit}
    digests = sorted([each.kind, each.name, each.digest] for each in configurations)
    return content_hash({"service": service.name, "spec": written, "configuration": digests})


def record_manifest(campaign: str, namespace: str, revision: Revision, labels: Mapping[str, str]) -> Manifest:
    """Keep a revision where it outlives the spec that it came from."""
    told = {
        "revision": revision.name,
        "service": revision.service,
        "source": revision.source,
        "copies": list(revision.copies),
        "ports": list(revision.ports),
        "template": revision.template,
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": record_name(campaign, revision.service, revision.name),
            "namespace": namespace,
            "labels": dict(labels),
        },
        "immutable": True,
        "data": {RECORD_KEY: json.dumps(told, sort_keys=True, ensure_ascii=False)},
    }


def read_record(manifest: Manifest) -> Revision | None:
    """Read a revision that was kept; None where it is not one."""
    try:
        told = json.loads(manifest["data"][RECORD_KEY])
        return Revision(
            name=str(told["revision"]),
            service=str(told["service"]),
            template=dict(told["template"]),
            ports=tuple(told["ports"]),
            copies=tuple(told["copies"]),
            source=str(told.get("source", "")),
        )
    except (KeyError, TypeError, ValueError):
        return None


def copy_manifest(
    campaign: str, namespace: str, service: str, configuration: Configuration, labels: Mapping[str, str]
) -> Manifest:
    """Copy a ConfigMap or Secret as it is now; the copy never changes."""
    return {
        "apiVersion": "v1",
        "kind": configuration.kind,
        "metadata": {
            "name": copy_name(campaign, service, configuration.name, configuration.digest),
            "namespace": namespace,
            "labels": dict(labels),
        },
        "immutable": True,
        **configuration.content,
    }


def configuration_of(kind: Kind, manifest: Manifest) -> Configuration:
    """Take what matters of a ConfigMap or Secret that was read."""
    content = {name: manifest[name] for name in ("data", "binaryData", "type") if manifest.get(name)}
    return Configuration(kind, manifest["metadata"]["name"], content)


def record_key(campaign: str, namespace: str, service: str, revision: str) -> ObjectKey:
    """Return the address of the record of a revision."""
    return ObjectKey("", "ConfigMap", namespace, record_name(campaign, service, revision))
