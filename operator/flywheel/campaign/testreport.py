"""Keeps the report of a test where people find it: written anew now and then, and at each turn of the test."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from flywheel.api.abtest import ABTest
from flywheel.api.campaign import Campaign
from flywheel.campaign.report import REPORT_LABEL
from flywheel.experiment.asking import ArmsStore, NotAsked, Question
from flywheel.experiment.report import days_of, looks_of, report_of, steps_of
from flywheel.experiment.report_model import KEY, Day, LookAt, UnreadableReport, read_report, report_name, write_report
from flywheel.experiment.state import ENDED, ABTestState
from flywheel.kube.gateway import Gateway
from flywheel.plan import GROUP, MANAGED_BY_LABEL, Manifest, ObjectKey

LEAST_BETWEEN = timedelta(minutes=1)
REPORTS = 48
"""Over the time that a test has run, from which a quick one is told from a long one."""


def is_due(before: ABTestState, state: ABTestState, now: datetime) -> bool:
    """Tell whether the report is to be written: at each turn, and now and then while the test runs."""
    if state.started_at is None:
        return False
    if state.state != before.state or state.withdrawn.keys() != before.withdrawn.keys():
        return True
    if state.state in ENDED or state.looked_at is None:
        return False
    if state.reported_at is None:
        return True
    return state.state == "Running" and now >= state.reported_at + max(LEAST_BETWEEN, state.elapsed(now) / REPORTS)


class TestReports:
    """Writes reports."""

    def __init__(self, gateway: Gateway, store: ArmsStore) -> None:
        self._gateway = gateway
        self._store = store

    async def keep(
        self,
        test: ABTest,
        campaign: Campaign | None,
        state: ABTestState,
        status: Manifest,
        question: Question | None,
        now: datetime,
    ) -> str:
        """Write the report of a test, and name it.

        Without figures from the store, as after the campaign's end, what was kept of them stays.

        Raises:
            ApiError: It could not be written.
        """
        schedule = campaign.spec.schedule if campaign else None
        looks, days = await self._seen(test, state, question)
        report = report_of(test, state, status, schedule.time_zone if schedule else "UTC", looks, days, now)
        await self._gateway.apply(_config_map(test, write_report(report)))
        return report_name(test.name)

    async def _seen(
        self, test: ABTest, state: ABTestState, question: Question | None
    ) -> tuple[Sequence[LookAt], Sequence[Day]]:
        if question is not None and state.sizing is not None:
            until = state.ended_at or question.until
            asked = replace(
                question, until=until, steps=steps_of(question.since, until), days=True, batches=(), causes=False
            )
            try:
                said = await self._store.ask(asked)
            except NotAsked:
                return await self._kept(test)
            return looks_of(test, state, state.sizing, said.series), days_of(test, said.days)
        return await self._kept(test)

    async def _kept(self, test: ABTest) -> tuple[Sequence[LookAt], Sequence[Day]]:
        held = await self._gateway.get(ObjectKey("", "ConfigMap", test.namespace, report_name(test.name)))
        try:
            report = read_report(str(((held or {}).get("data") or {}).get(KEY, "")))
        except UnreadableReport:
            return (), ()
        return report.looks, report.days


def _config_map(test: ABTest, text: str) -> Manifest:
    owner = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "ABTest", "name": test.name, "uid": test.metadata.uid}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": report_name(test.name),
            "namespace": test.namespace,
            "labels": {
                "app.kubernetes.io/name": "report",
                "app.kubernetes.io/instance": test.name,
                "app.kubernetes.io/component": "report",
                MANAGED_BY_LABEL: "flywheel",
                REPORT_LABEL: test.spec.campaign,
            },
            "ownerReferences": [owner],
        },
        "data": {KEY: text},
    }
