"""What a commit may hold and must not become a file of a web server."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.content.fetching import PAGE, files, refusal
from tests.unit.content.repositories import Repository

from flywheel.release.content.fetch import Order, fetch


class TestLinks:
    def test_links_within_become_copies(self, order: Order, repository: Repository, into: Path) -> None:
        repository.write({"a/page.html": PAGE, "a/b/c.css": "c{}"})
        repository.link("index.html", "a/page.html")
        repository.link("a/b/up.html", "../page.html")
        repository.link("twice.html", "index.html")
        repository.link("whole", "a")
        commit = repository.commit()
        fetch(replace(order, commit=commit), into)
        found = files(into)
        for path in ("index.html", "a/b/up.html", "twice.html", "whole/page.html", "whole/b/up.html"):
            assert found[path] == PAGE.encode(), path
        assert found["whole/b/c.css"] == b"c{}"
        assert not any(each.is_symlink() for each in (into / "site").rglob("*"))

    @pytest.mark.parametrize(
        ("target", "says"),
        [
            ("/etc/passwd", "absolute"),
            ("../../etc/passwd", "leads out"),
            ("..", "leads out"),
            ("a/../../x", "leads out"),
            ("nowhere.html", "not published"),
            (".env", "not published"),
            ("a/page.html/x", "through a file"),
            ("link.html", "more than 8 links"),
            (".git/config", "must not have the name"),
        ],
    )
    def test_links_that_lead_elsewhere_are_refused(
        self, target: str, says: str, order: Order, repository: Repository, into: Path
    ) -> None:
        repository.write({"a/page.html": PAGE, ".env": "SECRET=1"})
        repository.link("link.html", target)
        problem = refusal(order, into, repository.commit())
        assert problem.reason == "Forbidden"
        assert says in problem.message

    def test_a_link_out_of_the_published_directory_is_refused(
        self, order: Order, repository: Repository, into: Path
    ) -> None:
        repository.write({"secret.txt": "x", "dist/index.html": PAGE})
        repository.link("dist/leak.txt", "../secret.txt")
        problem = refusal(order, into, repository.commit(), path="/dist")
        assert problem.reason == "Forbidden"
        assert "leak.txt" in problem.message

    @pytest.mark.parametrize("target", [".", "a/.."])
    def test_a_link_to_a_directory_around_it_is_refused(
        self, target: str, order: Order, repository: Repository, into: Path
    ) -> None:
        repository.write({"a/page.html": PAGE})
        repository.link("self", target)
        assert refusal(order, into, repository.commit()).reason == "Forbidden"

    def test_links_count_as_the_files_that_they_become(self, order: Order, repository: Repository, into: Path) -> None:
        repository.write({f"a/{number}.txt": f"{number}" for number in range(10)})
        for number in range(10):
            repository.link(f"copy-{number}", "a")
        problem = refusal(order, into, repository.commit(), max_files=50)
        assert problem.reason == "TooLarge"


class TestForbidden:
    """What git itself would refuse to make or check out, too."""

    @pytest.mark.parametrize(
        "name", [b".git", b".GIT", b"..", b".", b"a/b", b"../x", b"a\nb", b"a\x7fb", b"\xff\xfe", b"n" * 300]
    )
    def test_names_that_no_file_may_have(self, name: bytes, order: Order, repository: Repository, into: Path) -> None:
        commit = repository.commit_tree([("100644", name, b"x")])
        problem = refusal(order, into, commit)
        assert problem.reason == "Forbidden"
        assert problem.message.isprintable()

    def test_a_directory_called_git(self, order: Order, repository: Repository, into: Path) -> None:
        repository.commit({"index.html": PAGE})
        tree = repository.git("rev-parse", "HEAD^{tree}")
        assert refusal(order, into, repository.commit_tree([("40000", b".Git", tree)])).reason == "Forbidden"

    def test_a_name_twice(self, order: Order, repository: Repository, into: Path) -> None:
        commit = repository.commit_tree([("120000", b"a", b"/etc"), ("100644", b"a", b"x")])
        assert refusal(order, into, commit).reason == "Forbidden"

    def test_a_submodule(self, order: Order, repository: Repository, into: Path) -> None:
        commit = repository.commit_tree([("100644", b"index.html", b"x"), ("160000", b"theme", "b" * 40)])
        problem = refusal(order, into, commit)
        assert problem.reason == "Forbidden"
        assert "theme is a submodule" in problem.message

    @pytest.mark.parametrize("mode", ["140000", "60000", "20000", "10000"])
    def test_what_is_neither_file_nor_directory(
        self, mode: str, order: Order, repository: Repository, into: Path
    ) -> None:
        assert refusal(order, into, repository.commit_tree([(mode, b"dev", b"x")])).reason == "Forbidden"

    def test_a_pointer_of_lfs(self, order: Order, repository: Repository, into: Path) -> None:
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 123\n"
        problem = refusal(order, into, repository.commit({"film/intro.mp4": pointer, "index.html": PAGE}))
        assert problem.reason == "Forbidden"
        assert "film/intro.mp4" in problem.message
        assert "LFS" in problem.message

    def test_a_tree_that_holds_itself_many_times_over(self, order: Order, repository: Repository, into: Path) -> None:
        """Ten directories of ten directories and so on: a few objects, and 10^20 directories."""
        tree = repository.store("tree", b"")
        for _ in range(20):
            entry = b"".join(b"40000 %d\0" % number + bytes.fromhex(tree) for number in range(10))
            tree = repository.store("tree", entry)
        problem = refusal(order, into, repository.commit_of(tree))
        assert problem.reason == "Forbidden"

    def test_a_tree_of_files_many_times_over(self, order: Order, repository: Repository, into: Path) -> None:
        blob = repository.store("blob", b"x")
        tree = repository.store("tree", b"100644 x\0" + bytes.fromhex(blob))
        for _ in range(20):
            entry = b"".join(b"40000 %d\0" % number + bytes.fromhex(tree) for number in range(10))
            tree = repository.store("tree", entry)
        assert refusal(order, into, repository.commit_of(tree)).reason == "TooLarge"

    def test_directories_without_end(self, order: Order, repository: Repository, into: Path) -> None:
        commit = repository.commit({"/".join("d" * 40) + "/x.txt": "x"})
        assert refusal(order, into, commit).reason == "Forbidden"
