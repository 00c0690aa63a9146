"""One commit becomes files: from real servers, with everything that must not become one."""

import gzip
import json
import os
import re
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.git_server import GitServer
from tests.unit.content.fetching import PAGE, files, refusal
from tests.unit.content.hostile import hostile, packet, say_for_ever
from tests.unit.content.repositories import Repository

from flywheel.release.content.fetch import Order, fetch

MEBI = 1 << 20


@pytest.mark.parametrize("protocol", ["server", "old_server"])
def test_exactly_the_commit_that_was_asked_for(
    protocol: str, repository: Repository, into: Path, request: pytest.FixtureRequest
) -> None:
    server: GitServer = request.getfixturevalue(protocol)
    commits = [repository.commit({"index.html": f"{number}", "css/a.css": "a{}"}) for number in range(5)]
    for number, commit in enumerate(commits):
        assert fetch(Order(server.url("landing.git"), commit, allow_loopback=True), into) == 2
        assert files(into) == {"index.html": f"{number}".encode(), "css/a.css": b"a{}"}


def test_only_the_commit_is_fetched_and_not_its_history(order: Order, repository: Repository, into: Path) -> None:
    repository.commit({"old.bin": os.urandom(2 * MEBI)})
    commit = repository.commit({"old.bin": None, "index.html": PAGE})
    assert fetch(replace(order, commit=commit, max_bytes=MEBI), into) == 1


@pytest.mark.parametrize("setting", [None, "uploadpack.allowReachableSHA1InWant", "uploadpack.allowAnySHA1InWant"])
def test_an_older_commit_of_a_server_that_speaks_only_the_old_protocol(
    setting: str | None, old_server: GitServer, repository: Repository, into: Path
) -> None:
    """Such a server gives commits by name only if it is configured to; else its refs are looked through."""
    commit = repository.commit({"index.html": "one"})
    for number in range(3):
        repository.commit({"index.html": f"later {number}"})
    repository.configure("protocol.version", "0")
    if setting:
        repository.configure(setting, "true")
    fetch(Order(old_server.url("landing.git"), commit, "main", allow_loopback=True), into)
    assert files(into) == {"index.html": b"one"}


def test_a_commit_that_a_forced_push_left_is_served_while_the_server_has_it(
    order: Order, repository: Repository, into: Path
) -> None:
    first = repository.commit({"index.html": "one"})
    second = repository.commit({"index.html": "two"})
    repository.git("reset", "--quiet", "--hard", first)
    repository.push()
    fetch(replace(order, commit=second), into)
    assert files(into) == {"index.html": b"two"}
    repository.collect_garbage()
    problem = refusal(order, into, second)
    assert problem.reason == "CommitNotFound"
    assert "forced push" in problem.message


def test_a_second_try_replaces_what_the_first_one_left(order: Order, repository: Repository, into: Path) -> None:
    first = repository.commit({"index.html": "one", "old.css": "a{}"})
    fetch(replace(order, commit=first), into)
    (into / ".work" / "half").mkdir(parents=True)
    second = repository.commit({"index.html": "two", "old.css": None})
    fetch(replace(order, commit=second), into)
    assert files(into) == {"index.html": b"two"}
    assert [each.name for each in into.iterdir()] == ["site"]


def test_a_directory_of_the_repository(order: Order, repository: Repository, into: Path) -> None:
    commit = repository.commit({"README.md": "x", "web/dist/index.html": PAGE, "web/dist/js/a.js": "1"})
    for path in ("/web/dist", "web/dist/", "web//dist"):
        fetch(replace(order, commit=commit, path=path), into)
        assert set(files(into)) == {"index.html", "js/a.js"}


@pytest.mark.parametrize("path", ["/dist", "/web/index.html", "/web/empty"])
def test_a_directory_that_is_not_there(path: str, order: Order, repository: Repository, into: Path) -> None:
    commit = repository.commit({"web/index.html": PAGE, "web/empty/.gitkeep": ""})
    problem = refusal(order, into, commit, path=path)
    assert problem.reason == "PathNotFound"
    assert path in problem.message


def test_hidden_files_are_not_published_but_well_known_ones_are(
    order: Order, repository: Repository, into: Path
) -> None:
    hidden = {".env": "SECRET=1", ".github/workflows/ci.yaml": "x", "js/.eslintrc": "x", ".gitattributes": "x"}
    commit = repository.commit({"index.html": PAGE, ".well-known/security.txt": "mail", **hidden})
    fetch(replace(order, commit=commit), into)
    assert set(files(into)) == {"index.html", ".well-known/security.txt"}


class TestSameContentSameTag:
    """A web server's ETag is made of time and size."""

    def test_time_depends_on_the_content_alone(self, order: Order, repository: Repository, tmp_path: Path) -> None:
        first = repository.commit({"index.html": PAGE, "a.css": "a{}"})
        second = repository.commit({"a.css": "b{}", "copy/index.html": PAGE})
        times = []
        for number, commit in enumerate([first, second]):
            fetch(replace(order, commit=commit), tmp_path / str(number))
            site = tmp_path / str(number) / "site"
            times.append({str(each.relative_to(site)): each.stat().st_mtime for each in site.rglob("*.*")})
        assert times[0]["index.html"] == times[1]["index.html"] == times[1]["copy/index.html"]
        assert times[0]["index.html.gz"] == times[1]["index.html.gz"]
        assert times[0]["a.css"] != times[1]["a.css"]
        assert all(0 <= each < 1 << 31 for each in times[1].values())

    def test_packed_copies_are_the_same_in_every_pod(
        self, order: Order, repository: Repository, tmp_path: Path
    ) -> None:
        commit = repository.commit({"index.html": PAGE})
        for number in range(2):
            fetch(replace(order, commit=commit), tmp_path / str(number))
        packed = [(tmp_path / str(number) / "site/index.html.gz").read_bytes() for number in range(2)]
        assert packed[0] == packed[1]
        assert gzip.decompress(packed[0]) == PAGE.encode()


def test_texts_have_packed_copies_where_that_is_worth_it(order: Order, repository: Repository, into: Path) -> None:
    commit = repository.commit(
        {
            "index.html": PAGE,
            "short.css": "a{}",
            "photo.jpg": b"x" * 5000,
            "noise.js": os.urandom(5000),
            "own.js": "x" * 5000,
            "own.js.gz": gzip.compress(b"y"),
        }
    )
    fetch(replace(order, commit=commit), into)
    packed = {each.name for each in (into / "site").glob("*.gz")}
    assert packed == {"index.html.gz", "own.js.gz"}
    assert gzip.decompress((into / "site/own.js.gz").read_bytes()) == b"y", "the author's own copy stays"


def test_published_files_can_be_read_by_all_and_written_by_nobody(
    order: Order, repository: Repository, into: Path
) -> None:
    repository.write({"run.sh": "#!/bin/sh\n", "index.html": PAGE})
    (repository.work / "run.sh").chmod(0o755)
    fetch(replace(order, commit=repository.commit()), into)
    modes = {each.stat().st_mode & 0o777 for each in (into / "site").iterdir()}
    assert modes == {0o444}


class TestTooLarge:
    def test_too_many_files(self, order: Order, repository: Repository, into: Path) -> None:
        commit = repository.commit({f"{number}.txt": f"{number}" for number in range(11)})
        problem = refusal(order, into, commit, max_files=10)
        assert problem.reason == "TooLarge"
        assert "limits.maxFiles" in problem.message
        assert fetch(replace(order, commit=commit, max_files=11), into) == 11

    def test_files_that_are_too_large_together(self, order: Order, repository: Repository, into: Path) -> None:
        commit = repository.commit({f"{number}.bin": bytes([number]) * MEBI for number in range(3)})
        problem = refusal(order, into, commit, max_bytes=2 * MEBI)
        assert problem.reason == "TooLarge"
        assert "limits.maxSize" in problem.message
        assert fetch(replace(order, commit=commit, max_bytes=3 * MEBI), into) == 3

    def test_nothing_that_packs_well_is_inflated_beyond_the_limit(
        self, order: Order, repository: Repository, into: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Thirty-two mebibytes of zeros are thirty-two kibibytes on the wire."""
        commit = repository.commit({"bomb.txt": bytes(32 * MEBI)})
        inflated = 0
        made = zlib.decompressobj

        class Counting:
            def __init__(self) -> None:
                self._inner = made()

            def __getattr__(self, name: str) -> Any:
                return getattr(self._inner, name)

            def decompress(self, data: bytes, most: int) -> bytes:
                nonlocal inflated
                found = self._inner.decompress(data, most)
                inflated += len(found)
                return found

        monkeypatch.setattr(zlib, "decompressobj", Counting)
        assert refusal(order, into, commit, max_bytes=4 * MEBI).reason == "TooLarge"
        assert inflated < MEBI

    def test_a_download_without_end_is_cut_off(self, into: Path) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\n"
        with hostile(say_for_ever(head, packet(b"x" * 60_000))) as url:
            order = Order(url, "a" * 40, max_bytes=4 * MEBI, allow_loopback=True)
            assert refusal(order, into, "a" * 40).reason in ("TooLarge", "BadAnswer")

    def test_a_download_that_takes_too_long_is_cut_off(self, into: Path) -> None:
        with hostile(say_for_ever(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.05)) as url:
            assert refusal(Order(url, "", seconds=0.5, allow_loopback=True), into, "a" * 40).reason == "Unreachable"


def test_the_command_says_why_it_failed_where_kubernetes_reads_it(
    server: GitServer, repository: Repository, tmp_path: Path
) -> None:
    commit = repository.commit({"index.html": PAGE})
    told = tmp_path / "termination-log"
    ended = _command(server.url("landing.git"), commit, tmp_path, f"--termination-log={told}", "--path=/dist")
    assert ended.returncode == 1
    assert json.loads(told.read_text()) == {
        "reason": "PathNotFound",
        "message": "The commit has no directory /dist: correct path",
    }


def test_the_command_publishes_with_the_credentials_of_a_mounted_secret(
    root: Path, repository: Repository, tmp_path: Path
) -> None:
    commit = repository.commit({"index.html": PAGE})
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "token").write_text("t0ken\n")
    with GitServer(root, credentials=("x-access-token", "t0ken")) as server:
        ended = _command(server.url("landing.git"), commit, tmp_path, f"--credentials={secret}")
    assert ended.returncode == 0, ended.stderr
    assert "t0ken" not in ended.stdout + ended.stderr
    assert files(tmp_path / "into") == {"index.html": PAGE.encode()}


def test_memory_does_not_grow_with_the_content(server: GitServer, repository: Repository, tmp_path: Path) -> None:
    """Two large files that rest on each other, and a page."""
    large = os.urandom(16 * MEBI)
    commit = repository.commit({"a.bin": large, "b.bin": large[:-10] + b"0123456789", "index.html": PAGE})
    repository.git_bare("repack", "-adfq", "--window-memory=0")
    assert "chain length" in repository.git_bare("verify-pack", "-v", _pack_of(repository)), "no delta was made"
    ended = _command(server.url("landing.git"), commit, tmp_path)
    assert ended.returncode == 0, ended.stderr
    peak = int(re.findall(r"VmHWM:\s+(\d+)", ended.stderr)[0]) >> 10
    assert peak < 75, f"{peak} MiB"


def _pack_of(repository: Repository) -> str:
    return str(next((repository.bare / "objects/pack").glob("*.idx")))


def _command(url: str, commit: str, tmp_path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the command; stderr says how much memory it had at its peak."""
    script = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(open('/proc/self/status').read(), file=sys.stderr))\n"
        "from flywheel.commands.content import content_fetch\n"
        "content_fetch()\n"
    )
    given = [f"--url={url}", f"--commit={commit}", f"--into={tmp_path / 'into'}", "--allow-loopback", *more]
    return subprocess.run(
        [sys.executable, "-c", script, *given],
        env={**os.environ, "PYTHONPATH": "operator"},
        capture_output=True,
        text=True,
        check=False,
    )
