"""An id is erased from payloads however its client wrote it."""

import asyncio
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.store.material import dead_letter, delivery, eventually

from flywheel.events.chdb_engine import ChdbEngine
from flywheel.events.erasure import LONGEST_CONDITION, Erasures, _batched
from flywheel.events.identity_forms import forms_of
from flywheel.events.store import Store

ODD = ("王伟", 'a"b\\c/d', "'); --")


@given(st.text(min_size=1), st.booleans())
def test_an_id_stands_in_a_text_in_one_of_its_forms(identity: str, ascii_only: bool) -> None:
    written = json.dumps({"userId": identity}, ensure_ascii=ascii_only)
    forms = forms_of(identity)
    assert forms[0] == identity
    assert any(form in written for form in forms)


@given(st.lists(st.integers(1, 2 * LONGEST_CONDITION).map(lambda size: "x" * size), max_size=8))
def test_conditions_are_shared_out_over_statements_that_the_engine_reads(conditions: list[str]) -> None:
    batches = list(_batched(conditions))
    assert [each for some in batches for each in some] == conditions
    assert all(len(some) == 1 or sum(map(len, some)) <= LONGEST_CONDITION for some in batches)


async def test_letters_that_name_a_user_in_any_form_go_and_others_stay(tmp_path: Path) -> None:
    store = Store(ChdbEngine(tmp_path / "store"))
    await store.start()
    erasures = Erasures(store)
    working = asyncio.create_task(erasures.work())
    try:
        bodies = [json.dumps({"userId": who}, ensure_ascii=plain) + "broken" for who in ODD for plain in (True, False)]
        rows = [dead_letter(number, payload=body) for number, body in enumerate(bodies)]
        await store.ingest("dead_letters", [delivery("618", [*rows, dead_letter(99, payload='{"userId":"other"}')])])
        await store.ingest("dead_letters", [delivery("other-campaign", [dead_letter(100, payload=bodies[0])])])
        for who in ODD:
            await erasures.request("618", user_id=who)

        async def done() -> bool:
            rows = await store.query("SELECT count() AS open FROM erasures FINAL WHERE finished_at = 0")
            return int(str(rows[0]["open"])) == 0

        await eventually(done, "all erasures are done")
        left = await store.query("SELECT campaign, payload FROM dead_letters ORDER BY campaign")
        assert [(row["campaign"], row["payload"]) for row in left] == [
            ("618", '{"userId":"other"}'),
            ("other-campaign", bodies[0]),
        ]
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await store.close()
