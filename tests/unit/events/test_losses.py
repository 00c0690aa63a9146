from hypothesis import given
from hypothesis import strategies as st

from flywheel.events.losses import LASTING, Losses, WorkerCount


def compared(losses: Losses, requests: int, connections: int = 0, pid: int = 8) -> int:
    return sum(losses.compare({pid: WorkerCount(requests, connections)}) for _ in range(LASTING))


def test_what_came_is_not_lost():
    losses = Losses()
    losses.add({8: 100})
    assert compared(losses, 100) == 0


def test_what_never_came_is_lost_and_told_once():
    losses = Losses()
    losses.add({8: 90})
    assert compared(losses, 100) == 10
    assert compared(losses, 100) == 0
    losses.add({8: 50})
    assert compared(losses, 153) == 3


def test_requests_under_way_are_not_lost():
    losses = Losses()
    losses.add({8: 90})
    assert compared(losses, 100, connections=10) == 0


def test_what_comes_late_is_not_lost():
    losses = Losses()
    for requests in range(0, 1_000, 100):
        assert losses.compare({8: WorkerCount(requests, 0)}) == 0
        losses.add({8: 100})


def test_after_a_reload_each_process_is_counted_on_its_own():
    losses = Losses()
    losses.add({8: 100})
    assert compared(losses, 100) == 0
    losses.add({9: 5, 8: 20})
    assert compared(losses, 5, pid=9) == 0
    assert compared(losses, 120) == 0


def test_another_process_under_the_same_id_begins_anew():
    losses = Losses()
    losses.add({8: 100})
    assert compared(losses, 100) == 0
    assert losses.compare({8: WorkerCount(3, 0)}) == 0
    losses.add({8: 10})
    assert compared(losses, 13) == 3


def test_it_goes_on_where_an_earlier_process_of_ours_was(tmp_path):
    losses = Losses()
    losses.add({8: 100})
    compared(losses, 104)
    losses.write(tmp_path / "state")
    again = Losses.read(tmp_path / "state")
    again.add({8: 50})
    assert compared(again, 161) == 7, "what came while nobody listened is lost"
    (tmp_path / "state").write_text("nonsense")
    assert compared(Losses.read(tmp_path / "state"), 0) == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=30))
def test_it_never_tells_more_than_is_missing(turns):
    losses, requests, came, told = Losses(), 0, 0, 0
    for more, lost in turns:
        requests += more
        came += max(0, more - lost)
        losses.add({8: max(0, more - lost)})
        told += compared(losses, requests)
        assert told == requests - came
