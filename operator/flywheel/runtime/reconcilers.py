"""Which reconciler a key of the queue is for: a Campaign, or what the Campaigns of a namespace share."""

import asyncio
from datetime import datetime

from flywheel.campaign.fraudreconcile import FraudReconciler
from flywheel.campaign.reconcile import CampaignReconciler
from flywheel.campaign.stages import beginning_of
from flywheel.campaign.testreconcile import ABTestReconciler
from flywheel.events.reconcile import WorkerReconciler
from flywheel.fraud.outgrown import NOTHING, Outgrown
from flywheel.fraud.workforce import ONE, Workforce
from flywheel.kube.gateway import Gateway
from flywheel.kube.tokens import own_account
from flywheel.plan import Images
from flywheel.release.process import Receiver, ReleaseProcess
from flywheel.runtime.arms_store import EventStores
from flywheel.runtime.clock import Clock
from flywheel.runtime.fraud_pasts import FraudPasts
from flywheel.runtime.fraud_trials import FraudTrials
from flywheel.runtime.fraud_workers import FraudWorkers
from flywheel.runtime.labelled_pasts import LabelledPasts
from flywheel.runtime.metrics import Metrics
from flywheel.runtime.past_stores import PastStores
from flywheel.runtime.store import FRAUD, SHARED, Store, test_of
from flywheel.workload.provider import Provider


class Reconcilers:
    """All reconcilers behind one door."""

    def __init__(
        self,
        gateway: Gateway,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        images: Images,
        provider: Provider,
        webhook: Receiver | None = None,
        workforce: Workforce = ONE,
        outgrown: Outgrown = NOTHING,
    ) -> None:
        self._releases = ReleaseProcess(gateway, store.touch, webhook)
        self._campaigns = CampaignReconciler(
            gateway,
            store,
            images=images,
            provider=provider,
            clock=clock.now,
            on_write_skipped=metrics.observe_skipped,
            on_release=metrics.observe_release,
            agent=self._releases.agent,
            workforce=workforce,
        )
        self._workers = WorkerReconciler(
            gateway,
            store,
            images.analytics,
            beginning_of,
            clock=clock.now,
            on_write_skipped=metrics.observe_skipped,
            operator=own_account(),
        )

        self._tests = ABTestReconciler(
            gateway,
            store,
            EventStores(self._releases.client, self._releases.token),
            clock=clock.now,
            on_look=metrics.observe_look,
        )

        judges = FraudWorkers(self._releases.client, self._releases.token)
        pasts = PastStores(self._releases.client, self._releases.token)
        self._pasts = FraudPasts(pasts, judges, lambda namespace: store.touch(namespace, FRAUD))
        self._trials = FraudTrials(
            LabelledPasts(pasts, judges),
            lambda namespace: store.touch(namespace, FRAUD),
        )
        self._fraud = FraudReconciler(
            gateway,
            store,
            judges,
            images.analytics,
            operator=own_account(),
            trials=self._trials,
            pasts=self._pasts,
            clock=clock.now,
            on_write_skipped=metrics.observe_skipped,
            aside=asyncio.to_thread,
            workforce=workforce,
            outgrown=outgrown,
        )

    async def reconcile(self, namespace: str, name: str) -> datetime | None:
        """Bring what a key stands for a step further; tell when the clock makes another step necessary."""
        test = test_of(name)
        if test is not None:
            return await self._tests.reconcile(namespace, test)
        if name == SHARED:
            return await self._workers.reconcile(namespace)
        if name == FRAUD:
            return await self._fraud.reconcile(namespace)
        return await self._campaigns.reconcile(namespace, name)

    async def run(self) -> None:
        """Do in the background what reconciles ask for, until cancelled."""
        try:
            await self._releases.run()
        finally:
            await self._trials.close()
            await self._pasts.close()
