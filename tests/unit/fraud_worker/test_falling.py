"""From labels to a rule that stops nobody any more, with a real worker and what the operator makes of it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from tests.unit.campaign.test_fraudplan import campaign, condition, manifest
from tests.unit.fraud_worker.test_proof_worker import Hand, document
from tests.unit.fraud_worker.world import CAMPAIGN, KEYS, NAMESPACE, RunningWorker

from flywheel.api.fraudrule import FraudRule
from flywheel.api.load import load_fraudrule
from flywheel.campaign.fraudplan import plan_fraud
from flywheel.campaign.fraudtold import Seen, generation_of, read_state, status_of
from flywheel.fraud.compiled_once import compile_once
from flywheel.fraud.embedded import make_engine
from flywheel.plan import Manifest, content_hash
from flywheel.runtime.fraud_workers import FraudWorkers


class Operator:
    """What the operator does with one rule at each look."""

    def __init__(self, workers: FraudWorkers, **spec: Any) -> None:
        self.workers, self.spec = workers, spec
        self.generation = 1
        self.status: Manifest = {}

    def rule(self) -> FraudRule:
        made = manifest("claims", self.generation, campaign=CAMPAIGN, **self.spec)
        return load_fraudrule(made).model_copy(update={"status": self.status})

    async def look(self) -> Manifest:
        now = datetime.now(UTC)
        plan = plan_fraud(NAMESPACE, [self.rule()], [campaign(CAMPAIGN)], {CAMPAIGN}, {}, "image", {}, now)
        bodies = (await self.workers.states(NAMESPACE, 1)).bodies
        for address, body in bodies.items():
            if generation_of(body) != content_hash(plan.rules):
                bodies[address] = await self.workers.hand_over(NAMESPACE, address, plan.rules.encode())
        states = tuple(read_state(name, body)[CAMPAIGN] for name, body in bodies.items())
        [judged] = plan.judged
        self.status = status_of(judged, self.status, Seen({CAMPAIGN: states}), now)
        return self.status


async def test_a_rule_that_hits_the_honest_stops_nobody_any_more_and_says_why(tmp_path: Path) -> None:
    compile_once()
    worker = RunningWorker(tmp_path / "worker", make_engine)
    (worker.directory / "rules.json").write_bytes(document())
    await worker.start()

    async def token(audience: str) -> str:
        return str(KEYS.token("flywheel", namespace="flywheel-system", aud=[audience]))

    async with aiohttp.ClientSession() as session, httpx.AsyncClient(trust_env=False) as client:
        operator = Operator(
            FraudWorkers(client, token, lambda *_: (worker.url,)),
            key=["visitor"], condition={"count": {"moreThan": 1}}, mode="Enforce", holdout="50%",
            minimumPrecision="90%",
        )  # fmt: skip
        await operator.look()
        person = Hand(worker, session)
        for number in range(60):
            await person.claim(2, 2 * number, visitor=f"v-{number}")
        status = await operator.look()
        assert (status["mode"], condition(status, "Precise")["reason"]) == ("Enforce", "NoLabels")
        assert status["blocked"] + status["heldOut"] == 60
        assert 10 < status["heldOut"] < 50

        await person.verdicts("v-59", 1)
        words = ["Dishonest", "Honest"]
        labels = [{"visitor": f"v-{n}", "label": words[n % 2], "source": "desk"} for n in range(60)]
        await person.post("labels", labels=labels)
        await person.evidence("claims", status["heldOut"])
        status = await operator.look()
        assert condition(status, "Precise")["reason"] == "TooLow", status
        assert float(status["precision"]["interval"]["high"].rstrip("%")) < 90
        assert status["precision"]["labels"] == status["heldOut"]

        status = await operator.look()
        assert status["mode"] == "Shadow"
        held = (await person.get("decisions"))["total"]
        for number in range(60, 80):
            await person.claim(2, 2 * number, visitor=f"v-{number}")
        assert (await person.get("decisions"))["total"] == held, "nobody is stopped any more"

        # Neither a worker nor an operator that begins anew forgets it.
        await worker.stop()
        await worker.start()
        operator.status = dict(await operator.look())
        assert (operator.status["mode"], condition(operator.status, "Precise")["status"]) == ("Shadow", "False")

        # A rule that judges by something else begins anew.
        operator.generation, operator.spec = 2, operator.spec | {"condition": {"count": {"moreThan": 2}}}
        await operator.look()
        status = await operator.look()
        assert (status["mode"], condition(status, "Precise")["status"]) == ("Enforce", "Unknown")
        await person.claim(3, 1000, visitor="v-new-1")
        await person.claim(3, 1010, visitor="v-new-2")
        await person.claim(3, 1020, visitor="v-new-3")
        assert (await operator.look())["hits"] >= 3
        await worker.stop()
