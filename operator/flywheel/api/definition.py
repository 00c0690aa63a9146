"""The CustomResourceDefinition of each kind, made from its models."""

from typing import Any

from pydantic import BaseModel

from flywheel.api.abtest import ABTest
from flywheel.api.abtest_status import ABTestStatus
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


_ABTEST_COLUMNS = [
    _column("Campaign", "string", ".spec.campaign", "The Campaign whose visitors take part."),
    _column("Service", "string", ".spec.service", "The service that is varied."),
    _column("State", "string", ".status.test.state", "Where the test stands."),
    _column("Verdict", "string", ".status.test.decision.verdict", "How it was decided."),
    _column("Winner", "string", ".status.test.decision.winner", "The variant to ship."),
    _column("Visitors", "integer", ".status.visitors", "Visitors who take part."),
    _column("Why", "string", ".status.test.message", "Why it stands there.", priority=1),
    _column("Age", "date", ".metadata.creationTimestamp", "Time since it was created."),
]


def campaign_definition() -> dict[str, Any]:
    """The CustomResourceDefinition of Campaign."""
    purpose = "What is wanted: what runs, when, and how it is reached."
    return _definition(Campaign, CampaignStatus, purpose, "campaign", "cmp", _CAMPAIGN_COLUMNS)


def abtest_definition() -> dict[str, Any]:
    """The CustomResourceDefinition of ABTest."""
    purpose = "What is to be found out: variants, visitors, figures, and how it is decided."
    return _definition(ABTest, ABTestStatus, purpose, "abtest", "abt", _ABTEST_COLUMNS)


def _definition(
    model: type[BaseModel],
    status: type[BaseModel],
    purpose: str,
    singular: str,
    short: str,
    columns: list[dict[str, Any]],
) -> dict[str, Any]:
    schema = structural_schema(model)
    spec: Schema = {"description": ""} | schema["properties"]["spec"]
    spec["description"] = purpose
    root: Schema = {
        "description": model.__doc__,
        "type": "object",
        "required": ["metadata", "spec"],
        "properties": {
            "apiVersion": _API_VERSION,
            "kind": _KIND,
            "metadata": {"type": "object"},
            "spec": spec,
            "status": structural_schema(status),
        },
        "x-kubernetes-validations": schema["x-kubernetes-validations"],
    }
    kind = model.__name__
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{singular}s.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": f"{singular}s",
                "singular": singular,
                "shortNames": [short],
                "categories": ["flywheel"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": root},
                }
            ],
        },
    }


def definitions() -> dict[str, dict[str, Any]]:
    """All definitions by the name of their file in `crds/`."""
    return {
        f"{GROUP}_abtests.yaml": abtest_definition(),
        f"{GROUP}_campaigns.yaml": campaign_definition(),
    }
