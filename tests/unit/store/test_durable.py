"""A file is replaced whole or not at all, and what a power cut may lose is not told as written."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from flywheel import durable
from flywheel.durable import UNFINISHED, write_durably


def test_the_parts_become_one_file_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old and longer")
    write_durably(path, b"new", b"", b" one")
    assert path.read_bytes() == b"new one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_takes_a_little_at_a_time_gets_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(durable.os, "write", lambda handle, data: write(handle, data[:3]))
    write_durably(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


@pytest.mark.parametrize("fails", ["write", "fsync"])
def test_a_disk_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable.os, fails, fail)
    with pytest.raises(OSError, match="No space left"):
        write_durably(path, b"new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert {each.name for each in tmp_path.iterdir()} == {"file", f"file{UNFINISHED}"}
    write_durably(path, b"new")
    assert path.read_text() == "new"


def test_the_content_is_on_the_disk_before_the_name_and_both_before_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    sync, replace = os.fsync, Path.replace

    def note_sync(handle: int) -> None:
        opened = Path(f"/proc/self/fd/{handle}").readlink()
        happened.append(f"sync {opened.name}")
        sync(handle)

    def note_replace(path: Path, target: Path) -> Path:
        happened.append(f"rename {path.name} to {target.name}")
        return replace(path, target)

    monkeypatch.setattr(durable.os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_replace)
    write_durably(tmp_path / "file", b"new")
    assert happened == ["sync file.new", "rename file.new to file", f"sync {tmp_path.name}"]
