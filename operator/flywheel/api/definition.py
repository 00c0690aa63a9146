"""The CustomResourceDefinition of each kind, made from its models."""

from typing import Any

from flywheel.api.abtest import ABTest
from flywheel.api.abtest_status import ABTestStatus
from flywheel.api.campaign import Campaign
from flywheel.api.fraudrule import FraudRule
from flywheel.api.fraudrule_status import FraudRuleStatus
from flywheel.api.model import Model
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
    _column("Campaign", "string", ".spec.campaign", "The Campaign that it belongs to."),
    _column("Service", "string", ".spec.service", "The service that is tested."),
    _column("State", "string", ".status.state", "Where the test stands."),
    _column("Verdict", "string", ".status.decision.verdict", "What was decided."),
    _column("Visitors", "integer", ".status.visitors", "Visitors of all variants."),
    _column("Winner", "string", ".status.decision.winner", "The variant that is better.", priority=1),
    _column("Reason", "string", ".status.decision.reason", "Why it was decided so.", priority=1),
    _column("Age", "date", ".metadata.creationTimestamp", "Time since it was created."),
]

_FRAUDRULE_COLUMNS = [
    _column("Mode", "string", ".status.mode", "How it works now."),
    _column(
        "Loaded",
        "string",
        '.status.conditions[?(@.type=="Loaded")].status',
        "Whether all workers judge by the latest spec.",
    ),
    _column("Hits", "integer", ".status.hits", "Events that broke it."),
    _column("Blocked", "integer", ".status.blocked", "Hits that the action met."),
    _column("Precision", "string", ".status.precision.value", "Share of the found who are dishonest, by labels."),
    _column("Campaign", "string", ".spec.campaign", "The Campaign that it is about.", priority=1),
    _column("Recall", "string", ".status.recall.value", "Share of the dishonest who were found.", priority=1),
    _column("P99", "string", ".status.latencyP99", "From the event to the decision at the edge.", priority=1),
    _column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why it is (not) ready.", priority=1),
    _column("Age", "date", ".metadata.creationTimestamp", "Time since it was created."),
]


def campaign_definition() -> dict[str, Any]:
    """The CustomResourceDefinition of Campaign."""
    wanted = "What is wanted: what runs, when, and how it is reached."
    return _definition(Campaign, CampaignStatus, wanted, "cmp", _CAMPAIGN_COLUMNS)


def abtest_definition() -> dict[str, Any]:
    """The CustomResourceDefinition of ABTest."""
    wanted = "What is wanted: what is compared, for whom, by what, and what follows from it."
    return _definition(ABTest, ABTestStatus, wanted, "abt", _ABTEST_COLUMNS)


def fraudrule_definition() -> dict[str, Any]:
    """The CustomResourceDefinition of FraudRule."""
    wanted = "What is wanted: which events are looked at, what is dishonest, and what becomes of it."
    return _definition(FraudRule, FraudRuleStatus, wanted, "frule", _FRAUDRULE_COLUMNS)


def _definition(
    model: type[Model], status: type[Model], wanted: str, short_name: str, columns: list[dict[str, Any]]
) -> dict[str, Any]:
    schema = structural_schema(model)
    kind = model.__name__
    root: Schema = {
        "description": model.__doc__,
        "type": "object",
        "required": ["metadata", "spec"],
        "properties": {
            "apiVersion": _API_VERSION,
            "kind": _KIND,
            "metadata": {"type": "object"},
            "spec": schema["properties"]["spec"] | {"description": wanted},
            "status": structural_schema(status),
        },
        "x-kubernetes-validations": schema["x-kubernetes-validations"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.lower()}s.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": f"{kind.lower()}s",
                "singular": kind.lower(),
                "shortNames": [short_name],
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
        f"{GROUP}_fraudrules.yaml": fraudrule_definition(),
    }
