"""Pages straight from Git, with a real Git server, a real browser as gate, and people who keep coming all the while."""

import base64
import json
import time
import uuid
from collections.abc import Iterator

import pytest
from tests.e2e.content import Hook, Origin, Pages, files_image, landing
from tests.e2e.network import first_process
from tests.e2e.releases import moment
from tests.e2e.steps import Manifest
from tests.lab.cluster.client import Cluster

from flywheel.release.content.source import TOKEN_USER

TOKEN = "only-the-operator-knows"
STEPS: list[Manifest] = [
    {"open": "/"},
    {"click": "#claim"},
    {"expectText": "It is yours"},
    {"screenshot": "claimed"},
    {"noConsoleErrors": True},
]
GATE: Manifest = {
    "name": "claim",
    "browser": {"through": "Edge", "device": "Phone", "stepTimeout": "4s", "steps": STEPS},
}
RELEASE: Manifest = {
    "strategy": "BlueGreen",
    "deadline": "60s",
    "keepPrevious": "2s",
    "keepFailed": "0s",
    "before": [GATE],
}


@pytest.fixture(scope="module")
def hook(installed: Cluster) -> Iterator[Hook]:
    # Elsewhere nobody could call it, and an operator of somebody's own is left alone.
    first_process(installed)
    made = Hook(installed)
    made.install()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def origin(installed: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    made = Origin(installed, tmp_path_factory.mktemp("origin"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def namespace_of_pages(installed: Cluster) -> Iterator[str]:
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    installed.kubectl("create", "namespace", name)
    installed.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    installed.kubectl("delete", "campaigns", "--all", "-n", name, "--timeout=120s", check=False)
    installed.kubectl("delete", "namespace", name, "--wait=false", check=False)


def from_git(pages: Pages, origin: Origin, **release: object) -> Manifest:
    """The page of the tests: asked for by nobody but the webhook."""
    git = {"url": origin.url, "path": "/dist", "interval": "1h"}
    content = {"git": git, "cache": "5m", "limits": {"maxFiles": 50, "maxSize": "1Mi"}}
    return pages.service_of(content, release={**RELEASE, **release})


@pytest.fixture(scope="module")
def whole(installed: Cluster, hook: Hook, origin: Origin, namespace_of_pages: str) -> Pages:
    """A Campaign with a page and an edge; its first commit serves."""
    commit = origin.repository.commit(landing("red"))
    pages = Pages(installed, namespace_of_pages, "page", edge=True)
    pages.apply_page(from_git(pages, origin))
    pages.eventually(lambda: pages.condition("EdgeReady").get("status") == "True", "a ready edge", 180)
    pages.shows(commit, seconds=120)
    return pages


@pytest.fixture
def pages(whole: Pages, origin: Origin) -> Pages:
    """The page, with a commit that serves everybody and no release on its way; the one before may have failed."""
    whole.apply_page(from_git(whole, origin))

    def at_rest() -> bool:
        state = whole.state()
        resting = state["phase"] in ("Stable", "Failed")
        return resting and not any(state.get(each) for each in ("preview", "previous", "failed"))

    whole.eventually(at_rest, "a release at rest")
    assert whole.revision_seen("edge") == whole.revision_seen("app") != ""
    return whole


def push(origin: Origin, hook: Hook, colour: str, *, broken: bool = False) -> str:
    """Push a page, as people do, and let the Git server tell of it, as Git servers do."""
    commit = origin.repository.commit(landing(colour, broken=broken))
    tell(origin, hook)
    return commit


def tell(origin: Origin, hook: Hook) -> None:
    answer = hook.call(origin.url)
    assert (answer.status_code, answer.json()) == (202, {"sources": 1})


def evidence(pages: Pages) -> Manifest:
    name = pages.gate("claim")["evidence"].removeprefix("configmap/")
    return pages.objects.read("ConfigMap", name)


def test_a_page_is_served_with_what_caches_need(pages: Pages) -> None:
    for way in ("app", "edge"):
        page, script, style = (pages.ask(path, way) for path in ("/", "/app.3f9ac2d1.js", "/app.css"))
        assert [each.status_code for each in (page, script, style)] == [200, 200, 200]
        assert page.headers["Cache-Control"] == "no-cache"
        assert script.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert style.headers["Cache-Control"] == "public, max-age=300"
        assert page.headers["X-Content-Revision"] == pages.content()["commit"]
        assert pages.ask("/", way, **{"If-None-Match": page.headers["ETag"]}).status_code == 304
        assert pages.ask("/README.md", way).status_code == 404
    assert pages.said("True")["reason"] == "Resolved"


def test_a_push_goes_live_after_a_browser_has_clicked_the_button(pages: Pages, origin: Origin, hook: Hook) -> None:
    assert hook.call(origin.url, secret="somebody else's").status_code == 401
    etags = {path: pages.ask(path, "edge").headers["ETag"] for path in ("/", "/app.css")}
    with pages.used() as used, pages.visited() as visits:
        pushed = time.time()
        commit = push(origin, hook, "green")
        pages.eventually(lambda: pages.state().get("preview"), "a release")
        found = moment(pages.state()["preview"]["since"]) - pushed
        pages.eventually(lambda: visits.seen(commit), "the new page")
        live = visits.when(commit) - pushed
        pages.shows(commit)
        pages.comes_to_an_end()
    used.nobody_was_turned_away()
    gate = pages.gate("claim")
    began, ended = (moment(gate[each]) - pushed for each in ("startedAt", "finishedAt"))
    print(
        f"after the push: found {found:.1f} s, pods ready {began:.1f} s, gate passed {ended:.1f} s, live {live:.1f} s"
    )
    assert found <= 10
    assert pages.content() == {"commit": commit}
    assert "green" in pages.ask("/app.css", "edge").text
    # Clients fetch what changed and nothing else.
    assert pages.ask("/", "edge").headers["ETag"] == etags["/"]
    assert pages.ask("/app.css", "edge").headers["ETag"] != etags["/app.css"]
    kept = evidence(pages)
    picture = base64.b64decode(next(each for name, each in kept["binaryData"].items() if "claimed" in name))
    assert picture.startswith(b"\xff\xd8\xff")
    assert [each["outcome"] for each in json.loads(kept["data"]["report.json"])["steps"]] == ["Success"] * len(STEPS)


def test_every_replica_takes_a_call(pages: Pages, origin: Origin, hook: Hook) -> None:
    hook.install("--set", "replicas=2")
    try:
        pages.eventually(lambda: len(hook.replicas()) == 2, "a leader and a standby")

        def answers() -> list[str]:
            return [hook.call(origin.url, address=each).text for each in hook.replicas()]

        pages.eventually(lambda: answers() == ['{"sources": 1}'] * 2, "both know the page")
    finally:
        hook.install()
    pages.eventually(lambda: len(hook.replicas()) == 1, "one replica")


def test_a_push_that_breaks_the_page_goes_nowhere(pages: Pages, origin: Origin, hook: Hook) -> None:
    before, number = pages.revision_seen("edge"), pages.state()["number"]
    with pages.used() as used, pages.visited() as visits:
        commit = push(origin, hook, "blue", broken=True)
        failed = pages.fails(number)
    used.nobody_was_turned_away()
    assert not any(commit in each for each in visits.first.values())
    assert pages.revision_seen("edge") == before
    assert "step 3" in failed["message"]
    assert "It is yours" in failed["message"]
    picture = next(each for name, each in evidence(pages)["binaryData"].items() if name.endswith("failed.jpg"))
    assert base64.b64decode(picture).startswith(b"\xff\xd8\xff")


def test_a_forced_push_takes_the_commit_away_that_serves(pages: Pages, origin: Origin, hook: Hook) -> None:
    serving, number = pages.revision_seen("edge"), pages.state()["number"]
    with pages.used() as used:
        # Somebody rewrites history, and what comes out of it is no good either.
        origin.repository.git("checkout", "--quiet", "--orphan", "again")
        push(origin, hook, "grey", broken=True)
        pages.fails(number)
        origin.repository.collect_garbage()
        lost = pages.pods(pages.state()["active"]["slot"])[0]["metadata"]["name"]
        pages.objects.delete("Pod", lost)
        pages.eventually(
            lambda: pages.condition("ServicesReady")["reason"] == "CommitNotFound", "what is wrong with it"
        )
        print(pages.condition("ServicesReady")["message"])
        assert pages.revision_seen("edge") == pages.revision_seen("app") == serving
        commit = push(origin, hook, "white")
        pages.shows(commit)
    used.nobody_was_turned_away()


def test_a_git_server_that_gives_nothing_leaves_what_serves(pages: Pages, origin: Origin, hook: Hook) -> None:
    serving = pages.revision_seen("edge")
    with pages.used() as used:
        origin.stop()
        tell(origin, hook)
        assert "what serves stays" in pages.said("False", "Unreachable", serving)["message"]
        assert pages.content()["problem"]
        pushed = origin.repository.commit(landing("yellow"))
        origin.start()
        tell(origin, hook)
        pages.shows(pushed)
        origin.asks(("somebody", "secret"))
        tell(origin, hook)
        pages.said("False", "Unauthorized", pushed)
        origin.asks(None)
        origin.repository.git_bare("update-ref", "-d", "refs/heads/main")
        tell(origin, hook)
        pages.said("False", "RefNotFound", "main", pushed)
        assert pages.state()["phase"] == "Stable"
        origin.repository.push()
        tell(origin, hook)
        pages.said("True")
    used.nobody_was_turned_away()
    assert pages.content() == {"commit": pushed}


@pytest.mark.parametrize("kind", ["link", "submodule", "many"])
def test_what_must_not_be_published_is_not(pages: Pages, origin: Origin, hook: Hook, kind: str) -> None:
    serving, number = pages.revision_seen("edge"), pages.state()["number"]
    pages.apply_page(from_git(pages, origin, deadline="25s"))
    with pages.used() as used:
        words = hide(origin, kind)
        tell(origin, hook)
        failed = pages.fails(number)
    used.nobody_was_turned_away()
    print(failed["message"])
    assert failed["reason"] == "PreviewNotReady"
    assert all(word in failed["message"] for word in words), failed["message"]
    assert pages.revision_seen("edge") == pages.revision_seen("app") == serving


def hide(origin: Origin, kind: str) -> tuple[str, ...]:
    """Push what is refused; give words of why."""
    repository = origin.repository
    good = repository.git("rev-parse", "HEAD")
    if kind == "link":
        repository.link("dist/secrets.txt", "../../../../etc/passwd")
        repository.commit()
        words: tuple[str, ...] = ("Forbidden", "secrets.txt")
    elif kind == "submodule":
        dist = b"160000 lib\0" + bytes.fromhex(good)
        tree = b"40000 dist\0" + bytes.fromhex(repository.store("tree", dist))
        repository.commit_of(repository.store("tree", tree))
        words = ("Forbidden", "submodule")
    else:
        repository.commit({f"dist/{number}.txt": str(number) for number in range(60)})
        words = ("TooLarge", "50")
    repository.git("reset", "--quiet", "--hard", good)
    return words


@pytest.fixture(scope="module")
def private(installed: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    """A repository behind https, whose certificate only its Secret makes trusted."""
    made = Origin(installed, tmp_path_factory.mktemp("private"), credentials=(TOKEN_USER, TOKEN), private=True)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def side(installed: Cluster, hook: Hook, private: Origin, namespace_of_pages: str) -> Pages:
    """A Campaign without edge and gates: a page that is updated in place, and one from an image."""
    made = Pages(installed, namespace_of_pages, "side", edge=False)
    data = {"token": TOKEN, "ca.crt": private.authority}
    made.objects.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git"}, "stringData": data})
    commit = private.repository.commit(landing("red"))
    made.apply_page(*services_of(made, private, "one"))
    made.shows(commit, service="notes")
    return made


def services_of(side: Pages, private: Origin, files: str) -> list[Manifest]:
    git = {"url": private.url, "path": "/dist", "interval": "1h", "secretName": "git"}
    image = {"image": files_image(side.cluster, files), "spaFallback": True}
    quick = {"strategy": "BlueGreen", "deadline": "60s", "keepPrevious": "0s", "keepFailed": "0s"}
    return [side.service_of({"git": git}, "notes"), side.service_of(image, "files", release=quick)]


def test_a_private_page_without_a_release_rolls_to_the_next_commit(side: Pages, private: Origin, hook: Hook) -> None:
    with side.used("notes") as used:
        commit = private.repository.commit(landing("green"))
        tell(private, hook)
        side.shows(commit, service="notes")
        side.comes_to_an_end("notes")
        side.eventually(lambda: side.condition("Ready").get("status") == "True", "a Campaign that is ready")
    used.nobody_was_turned_away()
    assert "green" in side.ask("/app.css", "notes").text
    assert side.content("notes") == {"commit": commit}


def test_files_of_an_image_are_served_and_released(side: Pages, private: Origin) -> None:
    assert side.ask("/", "files").text == "<p>one</p>\n"
    assert side.ask("/some/page", "files").text == "<p>one</p>\n"
    assert side.ask("/app.css", "files").status_code == 404
    with side.used("files") as used:
        side.apply_page(*services_of(side, private, "two"))
        digest = files_image(side.cluster, "two").rpartition("@")[2]
        side.eventually(lambda: side.revision_seen("files") == digest, "the other image")
        side.becomes("Stable", service="files")
        side.comes_to_an_end("files")
    used.nobody_was_turned_away()
    assert side.ask("/", "files").text == "<p>two</p>\n"
