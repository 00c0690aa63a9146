"""The demo's repository: pushed as an author pushes, fetched as the campaign fetches."""

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from flywheel.release.content.fetch import Order, fetch
from flywheel.release.content.resolve import Resolver
from flywheel.release.content.source import ANONYMOUS, GitSource
from rehearsal.git_server import make
from rehearsal.landing import GREEN, MAIN, NOW, PAGE, RED, REPOSITORY, SOON, VARIANT, WorkTree, git_server


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The address of the demo's own Git server with an empty repository."""
    server = make(str(tmp_path / REPOSITORY), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/{REPOSITORY}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def tree() -> Iterator[WorkTree]:
    made = WorkTree()
    yield made
    made.close()


async def test_a_push_is_what_the_campaign_fetches(url: str, tree: WorkTree, tmp_path: Path) -> None:
    resolver = Resolver(allow_loopback=True)
    source = GitSource("default", url, "main")
    for number, colour in enumerate((RED, GREEN)):
        if number:
            tree.change("index.html", RED, colour)
        commit = tree.commit("a change")
        tree.push(url)
        assert (await resolver.resolve(source, ANONYMOUS)).commit == commit
        fetch(Order(url, commit, allow_loopback=True), tmp_path / str(number))
        site = tmp_path / str(number) / "site"
        assert colour in (site / "index.html").read_text("utf-8")
        assert {"index.html", "404.html", "icon.svg"} <= {each.name for each in site.iterdir()}


async def test_a_variant_is_a_branch_of_the_one_page(url: str, tree: WorkTree, tmp_path: Path) -> None:
    commits = {MAIN: tree.commit("red")}
    tree.switch(VARIANT)
    tree.change("index.html", RED, GREEN)
    commits[VARIANT] = tree.commit("green")
    tree.push(url)
    resolver, pages = Resolver(allow_loopback=True), {}
    for branch, commit in commits.items():
        assert (await resolver.resolve(GitSource("default", url, branch), ANONYMOUS)).commit == commit
        fetch(Order(url, commit, allow_loopback=True), tmp_path / branch)
        pages[branch] = (tmp_path / branch / "site" / "index.html").read_text("utf-8")
    assert pages[VARIANT] == pages[MAIN].replace(RED, GREEN) != pages[MAIN]
    tree.switch(MAIN)
    assert (tree.path / "index.html").read_text("utf-8") == pages[MAIN]


def test_git_itself_clones_and_pushes(url: str, tree: WorkTree, tmp_path: Path) -> None:
    first = tree.commit("the first")
    tree.push(url)
    clone = tmp_path / "clone"
    said = {"cwd": tmp_path, "check": True, "capture_output": True, "text": True}
    subprocess.run(["git", "clone", "--quiet", url, str(clone)], **said)  # type: ignore[call-overload]
    git = ["git", "-C", str(clone), "-c", "user.name=me", "-c", "user.email=me@shop.example"]
    (clone / "index.html").write_text("<title>changed</title>")
    subprocess.run([*git, "commit", "--quiet", "-am", "changed"], **said)  # type: ignore[call-overload]
    subprocess.run([*git, "push", "--quiet", "origin", "main"], **said)  # type: ignore[call-overload]
    heads = subprocess.run([*git, "ls-remote", url, "main"], **said).stdout  # type: ignore[call-overload]
    assert heads.split()[0] != first


def test_what_is_not_there_cannot_be_changed(tree: WorkTree) -> None:
    with pytest.raises(ValueError, match="has no"):
        tree.change("index.html", "no such colour", GREEN)


def test_the_page_calls_no_other_host_and_needs_no_build() -> None:
    page = (PAGE / "index.html").read_text("utf-8")
    assert "http://" not in page
    assert "https://" not in page
    assert (page.count(RED), page.count(SOON), page.count(NOW)) == (1, 1, 0)
    for needed in ('action="/coupon"', 'action="/notify"', 'href="/browse"', 'href="/seckill"', 'src="/fw.js"'):
        assert needed in page


def test_the_server_is_no_part_of_the_campaign() -> None:
    made = git_server("yougou", "flywheel:1")
    assert "flywheel.dev" not in json.dumps(made)
    assert [each["kind"] for each in made["items"]] == ["ConfigMap", "Service", "Deployment"]
