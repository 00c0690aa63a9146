"""The CustomResourceDefinition of each kind, made from its models."""

from typing import Any

from flywheel.api.campaign import Campaign
from flywheel.api.schema import Schema, structural_schema
from flywheel.api.status import CampaignStatus

GROUP = "flywheel.dev"
VERSION = "v1alpha1"

_API_VERSION = {"description": "Group and version of the resource: flywheel.dev/v1alpha1.", "type": "string"}
_KIND = {"description": "Kind of the resource.", "type": "string"}


def _column(name: str, kind: str, path: str, description: str, priority: int = 0) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return column | ({"priority": priority} if priority else {})


_CAMPAIGN_COLUMNS = [
    _column("Stage", "string", ".status.stage", "Where the campaign stands in its own time."),
    _column(
        "Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether all is as the stage wants it."
    ),
    _column("Starts", "string", ".spec.schedule.startsAt", "When it goes live."),
    _column("Ends", "string", ".spec.schedule.endsAt", "When it stops being live."),
    _column("Next", "string", ".status.nextTransition.stage", "The next stage."),
    _column("Goal", "string", ".status.kpis.goal.progress", "How much of the goal is reached."),
    _column("At", "string", ".status.nextTransition.at", "When the next stage begins, in UTC.", priority=1),
    _column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why it is (not) ready.", priority=1),
    _column("Age", "date", ".metadata.creationTimestamp", "Time since it was created."),
]


def campaign_definition() -> dict[str, Any]:
    """The CustomResourceDefinition of Campaign."""
    schema = structural_schema(Campaign)
    properties = schema["properties"]
    spec: Schema = {"description": "What is wanted."} | properties["spec"]
    spec["description"] = "What is wanted: what runs, when, and how it is reached."
    status = structural_schema(CampaignStatus)
    root: Schema = {
        "description": Campaign.__doc__,
        "type": "object",
        "required": ["metadata", "spec"],
        "properties": {
            "apiVersion": _API_VERSION,
            "kind": _KIND,
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
        "x-kubernetes-validations": schema["x-kubernetes-validations"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"campaigns.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": "Campaign",
                "listKind": "CampaignList",
                "plural": "campaigns",
                "singular": "campaign",
                "shortNames": ["cmp"],
                "categories": ["flywheel"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _CAMPAIGN_COLUMNS,
                    "schema": {"openAPIV3Schema": root},
                }
            ],
        },
    }


def definitions() -> dict[str, dict[str, Any]]:
    """All definitions by the name of their file in `crds/`."""
    return {f"{GROUP}_campaigns.yaml": campaign_definition()}
