"""Decisions of several workers in one edge: what moves from one to another holds until whoever has it lifts it."""

import asyncio
import base64
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.edge.stand import Edge, document, edge
from tests.unit.fraud_worker.test_enforcing import SCRIPT, ask, decision

from flywheel.edge.document import EdgeDocument, Fraud
from flywheel.edge.fraudmaps import FraudMaps
from flywheel.edge.fraudrules import ADDRESSES
from flywheel.fraud.blocks import Decision
from flywheel.fraud.feed import Line

WORKERS = ("http://worker-0", "http://worker-1", "http://worker-2")
LATER = 4_102_444_800_000
KEY = base64.b64encode(b"k" * 32).decode()
VOLUMES = ("0123456789abcdef", "fedcba9876543210")


def block(number: int) -> Decision:
    return Decision(id=f"d-{number}", kind="address", value=f"192.0.2.{number}", until=LATER)


orders = st.tuples(
    st.sampled_from(["put", "gone", "whole", "leave"]), st.sampled_from(WORKERS), st.sets(st.integers(1, 4))
)


@given(st.lists(orders, max_size=30))
def test_a_subject_is_free_when_nobody_who_could_lift_its_block_holds_it(given_orders: Sequence[tuple]) -> None:
    maps, held, left = FraudMaps(), {each: set[int]() for each in WORKERS}, set[int]()
    for now, (what, worker, numbers) in enumerate(given_orders, 1):
        if what == "leave":
            maps.leave(worker, now)
            others = set[int]().union(*(each for name, each in held.items() if name != worker))
            left |= held[worker] - others
            held[worker] = set()
        elif what == "gone":
            maps.apply(worker, (), [f"d-{each}" for each in numbers], whole=False, now=now)
            held[worker] -= numbers
        else:
            new = numbers - held[worker]
            maps.apply(worker, [block(each) for each in numbers], (), whole=what == "whole", now=now)
            held[worker] = numbers if what == "whole" else held[worker] | numbers
            left -= new
        blocked = left.union(*held.values())
        assert set(maps.maps[ADDRESSES]) == {f"192.0.2.{each}/32" for each in blocked}
    maps.expire(LATER)
    assert len(maps) == 0
    assert not any(maps.maps.values()), "nothing of it is left"


def shop() -> EdgeDocument:
    return document(fraud=Fraud(workers=WORKERS))


async def tell(stand: Edge, worker: int, *decisions: Decision, volume: str = VOLUMES[0], **fields: object) -> None:
    assert stand.enforcer
    line = Line(epoch=f"{volume}{worker:016x}", version=1, put=decisions, **fields)  # type: ignore[arg-type]
    await stand.enforcer.take(WORKERS[worker], line)


async def test_a_key_that_moves_takes_no_block_with_it(tmp_path: Path):
    async with edge(tmp_path, shop()) as stand:
        assert stand.enforcer
        await tell(stand, 0, decision(), whole=True, keys={"k": KEY})
        # The key moves: the new worker has been told of the block, and the old one forgets it at last.
        await tell(stand, 1, decision(), whole=True, keys={"k": KEY})
        await tell(stand, 0, whole=True, keys={"k": KEY})
        assert (await ask(stand)).status == 403
        # It moves back, and the worker that goes takes nothing away.
        await tell(stand, 0, decision())
        await stand.enforcer.keep_to(WORKERS[:1])
        assert (await ask(stand)).status == 403
        await tell(stand, 0, gone=(f"rule/{SCRIPT}",))
        assert (await ask(stand)).status == 200, "the one who has it has lifted it"


async def test_what_a_worker_that_goes_alone_has_told_holds_to_its_end_or_until_another_has_it(tmp_path: Path):
    async with edge(tmp_path, shop()) as stand:
        assert stand.enforcer
        await tell(stand, 1, decision(), decision("127.0.0.8"), whole=True, keys={"k": KEY})
        await stand.enforcer.keep_to(WORKERS[:1])
        assert [(await ask(stand, source=each)).status for each in (SCRIPT, "127.0.0.8")] == [403, 403]
        await tell(stand, 0, decision())
        await tell(stand, 0, gone=(f"rule/{SCRIPT}", "rule/127.0.0.8"))
        assert (await ask(stand)).status == 200
        assert (await ask(stand, source="127.0.0.8")).status == 403, "nobody who was asked knew of it"


async def test_a_worker_is_known_by_its_volume_where_all_share_one_key(tmp_path: Path):
    async with edge(tmp_path, shop()) as stand:
        assert stand.enforcer
        await tell(stand, 1, decision(), whole=True, keys={"k": KEY})
        keeping = asyncio.create_task(stand.enforcer.run())
        await tell(stand, 1, whole=True, keys={"k": KEY}, volume=VOLUMES[1])
        assert (await ask(stand)).status == 403, "who begins anew has not decided otherwise"
        await tell(stand, 1, decision(), keys={"k": KEY}, volume=VOLUMES[1])
        await tell(stand, 1, whole=True, keys={"k": KEY}, volume=VOLUMES[1])
        assert (await ask(stand)).status == 200, "and may lift what it has decided itself"
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
