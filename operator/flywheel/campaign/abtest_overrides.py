"""Whether the variants of a test really differ from their service, and can run as they are. Pure."""

from collections.abc import Iterator
from typing import Any

from flywheel.api.abtest import ABTest
from flywheel.api.abtest_variant import Override, Variant
from flywheel.api.pod_template import PodTemplate, PodTemplateMetadata
from flywheel.api.problem import Problem
from flywheel.api.service import Service
from flywheel.workload.merge import strategic_merge


def override_problems(test: ABTest, service: Service, counted: frozenset[str]) -> Iterator[Problem]:
    """Say which variants cannot be told from others, and which do not fit the service.

    Args:
        test: The test.
        service: The service that it is about.
        counted: The events that are counted by name, on which a variant may scale.
    """
    earlier: dict[str, Override] = {}
    for index, variant in enumerate(test.spec.variants):
        path = f"spec.variants[{index}]"
        if variant.override is not None:
            yield from _fit(variant.override, service, f"{path}.override")
            same = next((name for name, other in earlier.items() if other == variant.override), None)
            if same is not None:
                yield Problem(
                    f"{path}.override", f"it is the same as that of variant {same}: change one, or remove the variant"
                )
            earlier[variant.name] = variant.override
        yield from _scaling(variant, service, counted, f"{path}.autoscaling")


def _fit(override: Override, service: Service, path: str) -> Iterator[Problem]:
    if override.image is not None and service.image is None:
        yield Problem(
            f"{path}.image", f"service {service.name} serves content and has no image: override content instead"
        )
    elif override.content is not None and service.content is None:
        yield Problem(f"{path}.content", f"service {service.name} runs an image of its own: override image instead")
    elif overridden(service, override) == service:
        yield Problem(path, f"service {service.name} is just so already: change something, or remove the variant")


def overridden(service: Service, override: Override | None) -> Service:
    """Change of a service what a variant says, and nothing else."""
    if override is None:
        return service
    given = {each["name"]: each for each in override.env}
    known = {each["name"] for each in service.env}
    changes: dict[str, object] = {
        "env": (
            *(given.get(each["name"], each) for each in service.env),
            *(each for name, each in given.items() if name not in known),
        )
    }
    if override.image is not None:
        changes["image"] = override.image
    if override.content is not None:
        changes["content"] = override.content
    if override.pod_template is not None:
        changes["pod_template"] = _merged(service.pod_template, override.pod_template)
    return service.model_copy(update=changes)


def _merged(base: PodTemplate | None, over: PodTemplate) -> PodTemplate | None:
    before = _as_written(base)
    merged = strategic_merge(before, _as_written(over))
    if merged == before:
        return base
    metadata = PodTemplateMetadata(**merged["metadata"]) if merged.get("metadata") else None
    return over.model_copy(update={"metadata": metadata, "spec": merged.get("spec") or None})


def _as_written(template: PodTemplate | None) -> dict[str, Any]:
    if template is None:
        return {}
    metadata = template.metadata.model_dump(exclude_none=True) if template.metadata else {}
    return {"metadata": metadata, "spec": template.spec or {}}


def _scaling(variant: Variant, service: Service, counted: frozenset[str], path: str) -> Iterator[Problem]:
    for index, metric in enumerate(variant.autoscaling.metrics if variant.autoscaling else ()):
        for resource, share in (("cpu", metric.cpu), ("memory", metric.memory)):
            if share is not None and not _reserves(service, resource):
                yield Problem(
                    f"{path}.metrics[{index}].{resource}",
                    f"it is a percentage of the request, and service {service.name} makes none: set "
                    f"resources.requests.{resource} of the service",
                )
        if metric.event is not None and metric.event not in counted:
            yield Problem(
                f"{path}.metrics[{index}].event",
                "events that are not declared are counted together, so no variant can scale on one: add it to "
                "edge.events.declared of the Campaign",
            )


def _reserves(service: Service, resource: str) -> bool:
    return any(resource in ((service.resources or {}).get(part) or {}) for part in ("requests", "limits"))
