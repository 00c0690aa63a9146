"""Whether the variants of a test really differ from their service, and can run as they are. Pure."""

from collections.abc import Iterator
from typing import Any

from flywheel.api.abtest import ABTest
from flywheel.api.abtest_variant import Override, Variant
from flywheel.api.pod_template import PodTemplate
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
    elif not _changes_something(override, service):
        yield Problem(path, f"service {service.name} is just so already: change something, or remove the variant")


def _changes_something(override: Override, service: Service) -> bool:
    known = {each["name"]: each for each in service.env}
    return (
        (override.image is not None and override.image != service.image)
        or (override.content is not None and override.content != service.content)
        or any(each != known.get(each["name"]) for each in override.env)
        or _changes_template(override.pod_template, service.pod_template)
    )


def _changes_template(over: PodTemplate | None, base: PodTemplate | None) -> bool:
    before = _as_written(base)
    return strategic_merge(before, _as_written(over)) != before


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
