"""Files of the spool: what is there after any end of the process."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.events.segments import CURSOR, Segments

ROWS, BYTES = 5_000, 4 << 20


class Clock:
    now = 1_000_000

    def __call__(self) -> int:
        self.now += 1
        return self.now


def opened(directory: Path, size: int = 1 << 20) -> Segments:
    return Segments("events", directory, size, Clock())


def line(number: int, text: str = "x") -> bytes:
    return b'{"ingest_time":%d,"id":%d,"text":"%s"}\n' % (1_000 + number, number, text.encode())


def drained(segments: Segments, rows: int = ROWS) -> list[bytes]:
    found = []
    while batch := segments.next_batch(rows, BYTES):
        found += batch.lines.splitlines(keepends=True)
        segments.commit(batch)
    return found


def test_rows_come_out_as_they_went_in(tmp_path):
    segments = opened(tmp_path, 200)
    wanted = [line(number) for number in range(100)]
    for each in wanted:
        segments.append(each)
    assert len(segments.names()) > 10
    assert segments.size == sum(map(len, wanted))
    assert drained(segments, 7) == wanted
    assert segments.is_empty
    assert (segments.size, segments.oldest) == (0, 0)
    assert list(tmp_path.glob("*.ndjson")) == []


def test_a_batch_is_the_same_until_it_is_committed(tmp_path):
    segments = opened(tmp_path)
    segments.append(line(1) + line(2))
    first = segments.next_batch(ROWS, BYTES)
    segments.append(line(3))
    assert segments.next_batch(ROWS, BYTES) == first
    segments.commit(first)
    second = segments.next_batch(ROWS, BYTES)
    assert second.lines == line(3)
    assert second.id != first.id


def test_a_batch_that_may_be_on_its_way_is_the_same_after_a_restart(tmp_path):
    segments = opened(tmp_path)
    segments.append(line(1) + line(2))
    first = segments.next_batch(1, BYTES)
    segments.append(line(3))
    again = opened(tmp_path)
    assert again.next_batch(ROWS, BYTES) == first
    again.commit(first)
    assert again.next_batch(ROWS, BYTES).lines == line(2) + line(3)


def test_a_torn_last_line_is_cut_off(tmp_path):
    segments = opened(tmp_path)
    segments.append(line(1))
    with (tmp_path / f"{segments.names()[0]}.ndjson").open("ab") as file:
        file.write(line(2)[:-5])
    again = opened(tmp_path)
    assert again.torn == 1
    again.append(line(3))
    assert drained(again) == [line(1), line(3)]


def test_a_file_of_nothing_whole_goes(tmp_path):
    segments = opened(tmp_path)
    segments.append(line(1))
    path = tmp_path / f"{segments.names()[0]}.ndjson"
    path.write_bytes(b"{" * 200_000)
    assert opened(tmp_path).is_empty
    assert not path.exists()


def test_damaged_lines_are_left_out_and_counted(tmp_path):
    segments = opened(tmp_path)
    segments.append(line(1) + b"\0\0\0\n" + line(2) + b"     \n")
    assert drained(segments) == [line(1), line(2)]
    assert segments.torn == 1


@pytest.mark.parametrize(
    "cursor", ["", "{", "[]", '{"segment":"x"}', '{"segment":"%s","delivered":999999,"sending":0}']
)
def test_a_damaged_cursor_sends_again_instead_of_losing(tmp_path, cursor):
    segments = opened(tmp_path)
    segments.append(line(1))
    (tmp_path / CURSOR).write_text(cursor.replace("%s", segments.names()[0]))
    assert drained(opened(tmp_path)) == [line(1)]


def test_a_write_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    segments = opened(tmp_path)
    segments.append(line(1))
    write = os.write
    calls = iter([9])

    def full(file: int, data: memoryview) -> int:
        for size in calls:
            return write(file, data[:size])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        segments.append(line(2))
    monkeypatch.undo()
    segments.append(line(3))
    assert drained(segments) == [line(1), line(3)]
    assert segments.torn == 0


def test_a_disk_that_takes_no_note_lets_rows_leave(tmp_path, monkeypatch):
    segments = opened(tmp_path)
    segments.append(line(1) + line(2))

    def full(_path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert drained(segments, 1) == [line(1), line(2)]
    assert segments.is_empty


def test_the_oldest_file_can_be_given_up_but_not_one_on_its_way(tmp_path):
    segments = opened(tmp_path, 100)
    for number in range(9):
        segments.append(line(number))
    sending = segments.next_batch(1, BYTES)
    names = segments.names()
    assert segments.drop_oldest() == 2
    assert segments.names() == [names[0], *names[2:]]
    segments.commit(sending)
    assert drained(segments) == [line(number) for number in range(1, 9) if number not in (2, 3)]
    assert segments.drop_oldest() is None


def test_erased_lines_are_gone_and_all_others_stay(tmp_path):
    segments = opened(tmp_path, 300)
    rows = [line(number, "me" if number % 3 == 0 else "you") for number in range(20)]
    for each in rows:
        segments.append(each)
    first = segments.next_batch(2, BYTES)
    erased = sum(segments.blank(name, (b"me",), lambda each: b'"me"' in each) for name in segments.names())
    assert erased == 7
    segments.commit(first)
    kept = [each for each in rows if b'"me"' not in each]
    assert drained(segments) == kept[1:]
    assert b"me" not in b"".join(path.read_bytes().replace(b"ingest_time", b"") for path in tmp_path.glob("*.ndjson"))


steps = st.lists(
    st.tuples(st.sampled_from(["append", "send", "commit", "kill", "tear", "drop"]), st.integers(1, 5)), max_size=40
)


@given(steps)
def test_whatever_happens_rows_are_delivered_in_order_and_none_is_lost(tmp_path_factory, steps):
    """A model: what was appended and not given up is delivered, in order; only a batch on its way may come twice."""
    directory = tmp_path_factory.mktemp("spool")
    segments, sending = opened(directory, 150), None
    appended, delivered, dropped, number = [], [], 0, 0
    for step, count in steps:
        if step == "append":
            rows = [line(number + each) for each in range(count)]
            number += count
            segments.append(b"".join(rows))
            appended += rows
        elif step == "send":
            sending = segments.next_batch(count, BYTES)
        elif step == "commit" and sending:
            segments.commit(sending)
            delivered += sending.lines.splitlines(keepends=True)
            sending = None
        elif step == "kill":
            # The store has the batch, and nobody has noted it.
            delivered += sending.lines.splitlines(keepends=True) if sending else []
            segments, sending = opened(directory, 150), None
        elif step == "tear" and segments.names():
            with (directory / f"{segments.names()[-1]}.ndjson").open("ab") as file:
                file.write(b'{"torn')
            segments, sending = opened(directory, 150), None
        elif step == "drop" and sending is None:
            dropped += segments.drop_oldest() or 0
    delivered += drained(segments, 3)
    once = list(dict.fromkeys(delivered))
    assert len(once) + dropped >= len(appended)
    assert dropped or once == appended
    assert set(once) <= set(appended)
    assert once == sorted(once, key=appended.index)
