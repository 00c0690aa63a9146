"""The report that stays when everything else of a Campaign is gone."""

import json
from collections import Counter

from flywheel.campaign.conditions import timestamp
from flywheel.campaign.decision import Teardown
from flywheel.campaign.inventory import recorded
from flywheel.campaign.observed import Observed
from flywheel.plan import MANAGED_BY_LABEL, Manifest, ObjectKey

REPORT_LABEL = "flywheel.dev/report-of"
"""Not the label of the Campaign: the report is no leftover, so a search for leftovers must not find it."""


def report_key(observed: Observed) -> ObjectKey:
    """Return the address of the ConfigMap with the report."""
    return ObjectKey("", "ConfigMap", observed.namespace, f"{observed.name}-report")


def unfinished_report(observed: Observed, teardown: Teardown) -> Manifest:
    """Write what is known while the removal goes on; `removed` counts what there was of each kind at its beginning."""
    previous = observed.status.get("report")
    before = previous if isinstance(previous, dict) and not previous.get("finishedAt") else {}
    counted = Counter(key.kind for key in recorded(observed))
    return {
        "startedAt": timestamp(teardown.started_at),
        "removed": before.get("removed") or [{"kind": kind, "count": counted[kind]} for kind in sorted(counted)],
    }


def finished_report(observed: Observed, teardown: Teardown, finished_at: str) -> Manifest:
    """Write the proof: what was removed, and where it was made sure that nothing is left."""
    sweep = observed.sweep
    return {
        **unfinished_report(observed, teardown),
        "finishedAt": finished_at,
        "checkedResources": sweep.checked if sweep else 0,
        "uncheckedResources": sorted(sweep.unchecked)[:100] if sweep else [],
        "remaining": 0,
    }


def _figures(observed: Observed) -> Manifest | None:
    """Take the figures of the whole campaign, which stand still once it is over."""
    told = observed.status.get("kpis")
    if not isinstance(told, dict):
        return None
    whole: Manifest = next((each for each in told.get("windows") or () if each.get("window") == "campaign"), {})
    kept = {name: value for name, value in whole.items() if name != "window"}
    return {"currency": told.get("currency"), "goal": told.get("goal"), **kept}


def _tests(observed: Observed) -> list[Manifest]:
    """Name the A/B tests of the campaign, what they have found, and where their own reports are."""
    found = []
    for test in observed.tests:
        status, decision = test.get("status") or {}, (test.get("status") or {}).get("decision") or {}
        told = {
            "name": test["metadata"]["name"],
            "service": test["spec"].get("service"),
            "state": status.get("state"),
            "verdict": decision.get("verdict"),
            "winner": decision.get("winner"),
            "report": status.get("report"),
        }
        found.append({name: value for name, value in told.items() if value})
    return found


def report_config_map(observed: Observed) -> Manifest:
    """Keep the finished report where people and pipelines can read it."""
    told = {
        "campaign": observed.name,
        "namespace": observed.namespace,
        "uid": observed.uid,
        "title": observed.manifest["spec"].get("title", ""),
        "schedule": observed.status.get("schedule", {}),
        "transitions": observed.status.get("transitions", []),
        "teardown": observed.status.get("report", {}),
        "goal": observed.manifest["spec"].get("goal"),
        "kpis": _figures(observed),
        "abtests": _tests(observed) or None,
    }
    report = {name: value for name, value in told.items() if value is not None}
    key = report_key(observed)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "labels": {
                "app.kubernetes.io/name": "report",
                "app.kubernetes.io/instance": observed.name,
                "app.kubernetes.io/component": "report",
                MANAGED_BY_LABEL: "flywheel",
                REPORT_LABEL: observed.name,
            },
        },
        "data": {"report.json": json.dumps(report, indent=2, ensure_ascii=False, sort_keys=True)},
    }
