"""When keys may move, what of the journal is kept for that, and how workers come by their secret."""

import os
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.unit.fraud_worker.small_engine import SmallEngine
from tests.unit.fraud_worker.world import CAMPAIGN

from flywheel.fraud import naming, pass_key
from flywheel.fraud.batch import pack
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.journal import Journal, Retained
from flywheel.fraud.judging import Judging
from flywheel.fraud.kin import shared_key
from flywheel.fraud.moving import exhaust
from flywheel.fraud.peers import Peers
from flywheel.fraud.records import Events
from flywheel.fraud.rulings import ALONE, Shard
from flywheel.fraud.serving import HEARD, Serving
from flywheel.fraud.snapshots import Snapshots
from flywheel.fraud.words import Event

EVENT = Event(id="m", time=1_795_453_200_000, arrived=1_795_453_200_000)


def test_keys_move_once_all_who_were_heard_lately_serve_so_many_workers() -> None:
    now = 100.0
    book = Casebook(SmallEngine, ALONE)
    serving = Serving(book, lambda: now)

    def send(sender: str, number: int, workers: int) -> None:
        serving.hear(sender)
        exhaust(book.apply(Events(CAMPAIGN, sender, number, pack([EVENT]), 0, workers)))

    assert serving.behind(2) == (), "nobody has sent anything"
    send("a", 1, 1)
    send("b", 1, 2)
    assert serving.behind(2) == ("a",)
    send("a", 2, 2)
    assert serving.behind(2) == ()
    assert set(serving.behind(3)) == {"a", "b"}
    serving.hear("c")
    assert serving.behind(2) == ("c",), "what it has sent is not judged yet"
    now += HEARD
    assert serving.behind(9) == (), "whoever is silent is waited for no more"
    again = Serving(book, lambda: now)
    again.hear_known()
    assert set(again.behind(3)) == {"a", "b"}, "after a restart they may have something that waits"


def test_the_journal_goes_back_as_far_as_keys_may_need_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=100)
    for _ in range(10):
        journal.append([b"x" * 100])
    segments = sorted(tmp_path.iterdir())
    for each in segments[:4]:
        os.utime(each, (1_000_000_000, 1_000_000_000))
    assert journal.forget(10, Retained(seconds=1e9 / 2, bytes=1 << 20)) == 4, "those of long ago go"
    assert journal.first == 4
    assert journal.forget(10, Retained(seconds=1e9, bytes=350)) == 2, "the others as far as there is room"
    assert journal.forget(7, Retained()) == 1
    assert journal.forget(10) == 2
    assert journal.first == 9


@pytest.mark.parametrize("snapshots", [False, True])
def test_a_worker_knows_after_any_end_how_the_keys_were_shared(tmp_path: Path, snapshots: bool) -> None:
    def judging(of: int) -> Judging:
        book = Casebook(SmallEngine, Shard(0, of))
        return Judging(book, Journal(tmp_path / "journal"), Snapshots(tmp_path / "snapshots"), lambda _: None)

    if snapshots:
        judging(3).recover()
    # Else a version that wrote none at the beginning, and knew one shard alone.
    Journal(tmp_path / "journal").append([])
    journal = Journal(tmp_path / "journal")
    journal.append([b"\x92\xa5rules\xc4\x02{}"])
    journal.close()
    again = judging(5)
    again.recover()
    assert again.casebook.shard.of == (3 if snapshots else 1)


async def test_the_first_worker_makes_the_secret_and_has_it_back_from_others_when_its_volume_is_lost(
    tmp_path: Path,
) -> None:
    (tmp_path / "token").write_text("t")
    key = ("abc", b"0123456789abcdef")

    async def tell(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer t"
        return web.Response(text=pass_key.written(key))

    application = web.Application()
    application.router.add_get(naming.KIN, tell)
    async with TestServer(application) as server:
        nobody, other = "http://127.0.0.1:1", str(server.make_url("")).rstrip("/")
        peers = Peers((nobody, nobody, other), tmp_path / "token")
        made = await shared_key(tmp_path / "first", 0, 2, peers)
        assert made != key, "nobody has one"
        assert await shared_key(tmp_path / "first", 0, 3, peers) == made, "an existing volume keeps its own"
        assert await shared_key(tmp_path / "lost", 0, 3, peers) == key
        of_first = Peers((other,), tmp_path / "token")
        assert await shared_key(tmp_path / "second", 1, 2, of_first) == key
        for each in (peers, of_first):
            await each.close()
    assert pass_key.load(tmp_path / "second") == key
    assert (tmp_path / "second").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"name": "a"}', '{"name": "a", "key": "x"}', '{"name": "", "key": "00"}']
)
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(ValueError, match="holds no key"):
        pass_key.load(tmp_path / "key")
