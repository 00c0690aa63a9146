"""The real nginx serves what was fetched from a real Git server."""

import gzip
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest
from tests.git_server import GitServer
from tests.unit.content.repositories import Repository
from tests.unit.content.web_server import NGINX, PATIENCE, Site, running

from flywheel.release.content.fetch import Order, fetch
from flywheel.release.content.serve import ServeOptions, has_ipv6, nginx_config

PAGE = "<h1>优购网 618</h1>\n" * 200
SCRIPT = "console.log(618);\n" * 200
HASHED = "app.3f9ac2d1.js"
TREE = {
    "index.html": PAGE,
    "404.html": "<h1>nowhere</h1>\n",
    "docs/index.html": "<h1>docs</h1>\n",
    "docs/guide.html": "guide\n",
    "empty/readme.txt": "text\n",
    "plain.js": SCRIPT,
    HASHED: SCRIPT,
    "chunk-0a1b2c3d4e5f.css": "a{}\n",
    "report-20270618.pdf": "%PDF",
    "photo.webp": "RIFF",
    "data.json": "{}",
    "font.woff2": "wOF2",
    "app.wasm": b"\0asm",
    "module.mjs": "export {}\n",
    "odd.xyz": "x",
    "page.0123abcd.html": "<h1>hashed</h1>\n",
    ".well-known/security.txt": "Contact: x\n",
}


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two commits as two pods fetch them: the second changes only plain.js."""
    directory = tmp_path_factory.mktemp("fetched")
    repository = Repository(directory / "repositories")
    first = repository.commit(TREE)
    second = repository.commit({"plain.js": SCRIPT.upper()})
    with GitServer(directory / "repositories") as server:
        order = Order(server.url(repository.name), first, allow_loopback=True)
        fetch(order, directory / "one")
        fetch(replace(order, commit=second), directory / "two")
    return directory / "one/site", directory / "two/site"


@pytest.fixture(scope="module")
def site(fetched: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(fetched[0], tmp_path_factory.mktemp("nginx")) as (site, _):
        yield site


@pytest.fixture(scope="module")
def spa(fetched: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(fetched[0], tmp_path_factory.mktemp("spa"), spa_fallback=True) as (site, _):
        yield site


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("from_git", [False, True])
def test_nginx_takes_the_configuration(fallback: bool, from_git: bool, tmp_path: Path) -> None:
    options = ServeOptions(
        root=str(tmp_path),
        port=8080,
        revision="a" * 40,
        spa_fallback=fallback,
        from_git=from_git,
        cache_seconds=0,
        ipv6=has_ipv6(),
        temporary=str(tmp_path),
    )
    config = tmp_path / "nginx.conf"
    config.write_text(nginx_config(options))
    ended = subprocess.run([NGINX, "-t", "-e", "stderr", "-c", config], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "[warn]" not in ended.stderr.replace('the "user" directive', ""), ended.stderr


@pytest.mark.parametrize("bad", ["/srv/a b", "/srv;", "srv", "/srv/../etc", "/srv/${x}", "/srv\n"])
def test_a_path_that_means_something_to_nginx_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="no path"):
        nginx_config(ServeOptions(root=bad, port=8080, revision="a"))


@pytest.mark.parametrize("bad", ["", "a b", "a;", 'a"', "$host", "a\n"])
def test_a_revision_that_means_something_to_nginx_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="no revision"):
        nginx_config(ServeOptions(root="/srv", port=8080, revision=bad))


class TestPages:
    def test_a_page_says_what_it_is(self, site: Site) -> None:
        answer = site.ask("/")
        assert (answer.status, answer.body) == (200, PAGE.encode())
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-content-revision"] == "c" * 40
        assert answer.headers["server"] == "nginx"
        assert "last-modified" not in answer.headers

    def test_head_says_the_same_without_a_body(self, site: Site) -> None:
        head, get = site.ask("/", "HEAD"), site.ask("/")
        for each in (head, get):
            each.headers.pop("date")
        assert head.headers == get.headers
        assert head.body == b""

    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("/plain.js", "text/javascript; charset=utf-8"),
            ("/module.mjs", "text/javascript; charset=utf-8"),
            ("/data.json", "application/json; charset=utf-8"),
            ("/photo.webp", "image/webp"),
            ("/font.woff2", "font/woff2"),
            ("/app.wasm", "application/wasm"),
            ("/odd.xyz", "application/octet-stream"),
        ],
    )
    def test_types(self, path: str, kind: str, site: Site) -> None:
        assert site.ask(path).headers["content-type"] == kind

    def test_a_directory_is_its_index_under_an_address_with_a_slash(self, site: Site) -> None:
        answer = site.ask("/docs?utm_source=baidu")
        assert answer.status == 301
        assert answer.headers["location"] == "/docs/?utm_source=baidu"
        assert site.ask("/docs/").body == b"<h1>docs</h1>\n"
        assert site.ask("/docs/").headers["cache-control"] == "no-cache"

    @pytest.mark.parametrize("path", ["/nowhere", "/nowhere.js", "/empty/", "/empty", "/docs/guide.html/x"])
    def test_what_is_not_there(self, path: str, site: Site) -> None:
        answer = site.ask(path)
        assert (answer.status, answer.body) == (404, b"<h1>nowhere</h1>\n")
        assert answer.headers["cache-control"] == "no-cache"

    def test_the_probe(self, site: Site) -> None:
        answer = site.ask("/.flywheel/healthz")
        assert (answer.status, answer.body) == (200, b"ok\n")
        assert answer.headers["cache-control"] == "no-store"

    def test_a_part_of_a_file(self, site: Site) -> None:
        answer = site.ask("/plain.js", Range="bytes=0-6")
        assert (answer.status, answer.body) == (206, b"console")


class TestCaches:
    @pytest.mark.parametrize(
        ("path", "kept"),
        [
            (f"/{HASHED}", "public, max-age=31536000, immutable"),
            ("/chunk-0a1b2c3d4e5f.css", "public, max-age=31536000, immutable"),
            ("/plain.js", "public, max-age=60"),
            ("/photo.webp", "public, max-age=60"),
            ("/report-20270618.pdf", "public, max-age=60"),
            ("/page.0123abcd.html", "no-cache"),
            ("/nowhere.3f9ac2d1.js", "no-cache"),
        ],
    )
    def test_how_long_it_is_kept(self, path: str, kept: str, site: Site) -> None:
        assert site.ask(path).headers["cache-control"] == kept

    def test_no_time_at_all(self, fetched: tuple[Path, Path], tmp_path: Path) -> None:
        with running(fetched[0], tmp_path, cache_seconds=0) as (site, _):
            assert site.ask("/plain.js").headers["cache-control"] == "no-cache"
            assert "immutable" in site.ask(f"/{HASHED}").headers["cache-control"]

    @pytest.mark.parametrize("packed", ["", "gzip"])
    def test_tags_are_the_same_in_every_pod_and_for_every_commit_with_the_same_file(
        self, packed: str, site: Site, fetched: tuple[Path, Path], tmp_path: Path
    ) -> None:
        with running(fetched[1], tmp_path) as (other, _):
            for path in ("/", f"/{HASHED}", "/docs/", "/photo.webp"):
                tags = [each.ask(path, Accept_Encoding=packed).headers["etag"] for each in (site, other)]
                assert tags[0] == tags[1], path
                answer = other.ask(path, Accept_Encoding=packed, If_None_Match=tags[0])
                assert (answer.status, answer.body) == (304, b"")
                assert "cache-control" in answer.headers
            changed = site.ask("/plain.js", Accept_Encoding=packed).headers["etag"]
            answer = other.ask("/plain.js", Accept_Encoding=packed, If_None_Match=changed)
            assert answer.status == 200, "a changed file of the same size is another"

    def test_times_decide_nothing(self, site: Site) -> None:
        """A file's time is a hash; compared as a time it would hide changes."""
        written = (Path(site.options.root) / "plain.js").stat().st_mtime
        for moment in (written, 4_102_444_800):
            assert site.ask("/plain.js", If_Modified_Since=formatdate(moment, usegmt=True)).status == 200

    def test_texts_are_sent_packed_to_who_takes_that(self, site: Site) -> None:
        answer = site.ask("/plain.js", Accept_Encoding="br, gzip")
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert gzip.decompress(answer.body) == SCRIPT.encode()
        plain = site.ask("/plain.js")
        assert "content-encoding" not in plain.headers
        assert plain.headers["vary"] == "Accept-Encoding"
        assert plain.headers["etag"] != answer.headers["etag"]


class TestHardened:
    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "TRACE", "BREW"])
    def test_only_reading(self, method: str, site: Site) -> None:
        for path in ("/", "/.flywheel/healthz", "/.env"):
            answer = site.ask(path, method)
            assert answer.status == 405
            if method != "TRACE":
                assert answer.headers["allow"] == "GET, HEAD"

    def test_no_body_is_taken(self, site: Site) -> None:
        assert site.ask("/", "POST", b"x" * 100).status in (405, 413)
        assert site.ask("/", "GET", b"x" * 100).status == 413

    def test_dotfiles_are_not_there_but_well_known_ones_are(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        for path in (".env", ".git/config", "a/.htaccess", ".well-known/security.txt", ".well-knownx/y", "index.html"):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text("x")
        with running(root, tmp_path) as (site, _):
            assert site.ask("/.well-known/security.txt").status == 200
            for path in (
                "/.env",
                "/.git/config",
                "/a/.htaccess",
                "/.well-knownx/y",
                "/%2egit/config",
                "/a/%2Ehtaccess",
            ):
                assert site.ask(path).status == 404, path

    @pytest.mark.parametrize(
        "path",
        [
            "/../x",
            "/..%2fx",
            "/%2e%2e/x",
            "/docs/../../x",
            "/docs%2f..%2f..%2fx",
            "/..;/x",
            "/%00",
            "/docs/..%5c..%5cx",
        ],
    )
    def test_nothing_outside_is_reached(self, path: str, site: Site) -> None:
        outside = Path(site.options.root).parent / "x"
        outside.write_text("secret")
        answer = site.say(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert answer.split()[1] in (b"400", b"404")
        assert b"secret" not in answer

    def test_links_are_not_followed(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        root.mkdir()
        (root / "index.html").write_text("x")
        (tmp_path / "secret.txt").write_text("secret")
        (root / "leak.txt").symlink_to("../secret.txt")
        (root / "outside").symlink_to("..")
        with running(root, tmp_path) as (site, _):
            assert site.ask("/leak.txt").status == 404
            assert site.ask("/outside/secret.txt").status == 404

    def test_versions_are_nobodys_business(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        root.mkdir()
        with running(root, tmp_path) as (site, _):
            answer = site.ask("/nowhere")
        assert answer.status == 404
        assert b"nginx/" not in answer.body
        assert "/" not in answer.headers["server"]

    def test_an_answer_under_way_is_finished_when_the_end_is_asked_for(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        root.mkdir()
        size = 32 << 20
        with (root / "large.bin").open("wb") as large:
            large.truncate(size)
        with (
            running(root, tmp_path) as (site, process),
            socket.create_connection(("127.0.0.1", site.options.port), 10) as connection,
        ):
            connection.sendall(b"GET /large.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            got = len(connection.recv(1000))
            process.send_signal(signal.SIGQUIT)
            while piece := connection.recv(1 << 20):
                got += len(piece)
            assert got > size
            assert process.wait(PATIENCE) == 0


class TestApplication:
    """With spaFallback: unknown paths are pages of an application that routes in the browser."""

    @pytest.mark.parametrize("path", ["/cart", "/product/618", "/product/618/", "/empty/", "/v1.2/notes?x=a.b"])
    def test_an_unknown_path_is_the_application(self, path: str, spa: Site) -> None:
        answer = spa.ask(path)
        assert (answer.status, answer.body) == (200, PAGE.encode())
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"

    @pytest.mark.parametrize("path", ["/gone.js", "/product/gone.3f9ac2d1.css", "/.env"])
    def test_a_missing_file_is_missing(self, path: str, spa: Site) -> None:
        assert spa.ask(path).status == 404

    def test_what_is_there_goes_before(self, spa: Site) -> None:
        assert spa.ask("/docs/").body == b"<h1>docs</h1>\n"
        assert spa.ask("/plain.js").status == 200

    def test_the_application_is_sent_packed_and_with_its_tag(self, spa: Site) -> None:
        page, route = (spa.ask(path, Accept_Encoding="gzip") for path in ("/", "/cart"))
        assert page.headers["etag"] == route.headers["etag"]
        assert route.headers["content-encoding"] == "gzip"
        assert spa.ask("/cart", Accept_Encoding="gzip", If_None_Match=page.headers["etag"]).status == 304


def test_an_image_has_no_tags_and_is_packed_as_it_is_sent(tmp_path: Path) -> None:
    """Builders give all files of an image one time, so time and size say nothing of the content."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "plain.js").write_text(SCRIPT)
    with running(root, tmp_path, from_git=False) as (site, _):
        answer = site.ask("/plain.js", Accept_Encoding="gzip")
        assert "etag" not in answer.headers
        assert "last-modified" not in answer.headers
        assert gzip.decompress(answer.body) == SCRIPT.encode()
        assert site.ask("/plain.js").headers["cache-control"] == "public, max-age=60"
