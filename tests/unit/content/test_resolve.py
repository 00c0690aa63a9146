"""What a ref means now, asked of real Git servers and of bad ones."""

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.git_server import GitServer
from tests.patience import PATIENCE
from tests.unit.content.hostile import GIT_HEAD, hostile, packet, say, say_for_ever
from tests.unit.content.repositories import Repository

from flywheel.release.content.resolve import Resolved, Resolver, candidates, choose
from flywheel.release.content.source import ContentProblem, Credentials, GitSource

COMMIT = "a" * 40
LOGIN = Credentials("shop", "s3cret")


def source(url: str, ref: str = "main") -> GitSource:
    return GitSource("spring", url, ref)


async def resolve(url: str, ref: str = "main", credentials: Credentials | None = None) -> Resolved:
    return await Resolver(seconds=PATIENCE, allow_loopback=True).resolve(source(url, ref), credentials or Credentials())


async def refusal(url: str, ref: str = "main", credentials: Credentials | None = None) -> ContentProblem:
    with pytest.raises(ContentProblem) as caught:
        await resolve(url, ref, credentials)
    return caught.value


@pytest.mark.parametrize("protocol", ["server", "old_server"])
class TestRefs:
    """With both versions of the protocol."""

    @pytest.fixture
    def url(self, protocol: str, request: pytest.FixtureRequest, repository: Repository) -> str:
        server: GitServer = request.getfixturevalue(protocol)
        return server.url(repository.name)

    async def test_a_branch_is_its_newest_commit(self, url: str, repository: Repository) -> None:
        first = repository.commit({"index.html": "one"})
        assert await resolve(url) == Resolved(first, "refs/heads/main")
        second = repository.commit({"index.html": "two"})
        assert await resolve(url) == Resolved(second, "refs/heads/main")

    async def test_a_forced_push_is_followed_back(self, url: str, repository: Repository) -> None:
        first = repository.commit({"index.html": "one"})
        repository.commit({"index.html": "two"})
        repository.git("reset", "--quiet", "--hard", first)
        repository.push()
        assert (await resolve(url)).commit == first

    async def test_an_annotated_tag_is_the_commit_that_it_points_to(self, url: str, repository: Repository) -> None:
        commit = repository.commit({"index.html": "one"})
        repository.git("tag", "--annotate", "--message", "release", "v1")
        repository.git("tag", "light")
        repository.git("push", "--quiet", "origin", "v1", "light")
        assert await resolve(url, "v1") == Resolved(commit, "refs/tags/v1")
        assert await resolve(url, "light") == Resolved(commit, "refs/tags/light")

    async def test_a_branch_goes_before_a_tag_of_the_same_name(self, url: str, repository: Repository) -> None:
        tagged = repository.commit({"index.html": "one"})
        repository.git("tag", "spring")
        repository.git("push", "--quiet", "origin", "refs/tags/spring")
        branch = repository.commit({"index.html": "two"}, ref="spring")
        assert await resolve(url, "spring") == Resolved(branch, "refs/heads/spring")
        assert await resolve(url, "refs/tags/spring") == Resolved(tagged, "refs/tags/spring")

    async def test_a_name_that_only_begins_alike_is_another(self, url: str, repository: Repository) -> None:
        repository.commit({"index.html": "one"}, ref="main-2")
        assert (await refusal(url)).reason == "RefNotFound"

    async def test_a_commit_that_is_cut_short_is_explained(self, url: str, repository: Repository) -> None:
        commit = repository.commit({"index.html": "one"})
        problem = await refusal(url, commit[:10])
        assert problem.reason == "RefNotFound"
        assert "all of its 40 digits" in problem.message

    async def test_an_empty_repository_has_no_branch(self, url: str) -> None:
        assert (await refusal(url)).reason == "RefNotFound"

    async def test_a_repository_that_is_not_there_is_no_missing_ref(self, url: str) -> None:
        assert (await refusal(url.replace("landing", "lending"))).reason == "RepositoryNotFound"


async def test_a_whole_commit_needs_no_call() -> None:
    assert await resolve("http://git.invalid/landing.git", COMMIT) == Resolved(COMMIT, COMMIT)


async def test_a_private_repository_needs_credentials(root: Path, repository: Repository) -> None:
    commit = repository.commit({"index.html": "one"})
    with GitServer(root, credentials=("shop", "s3cret")) as server:
        url = server.url(repository.name)
        assert (await resolve(url, credentials=LOGIN)).commit == commit
        for wrong in (Credentials(), Credentials("shop", "wrong-pass")):
            problem = await refusal(url, credentials=wrong)
            assert problem.reason == "Unauthorized"
            assert "wrong-pass" not in problem.message


async def test_a_redirect_on_the_same_host_is_followed(root: Path, repository: Repository) -> None:
    commit = repository.commit({"index.html": "one"})
    with GitServer(root, redirects={"/old/": "/"}) as server:
        assert (await resolve(server.url("old/landing.git"))).commit == commit


async def test_a_redirect_to_another_host_is_not_followed(root: Path, repository: Repository) -> None:
    repository.commit({"index.html": "one"})
    with GitServer(root) as other, GitServer(root) as server:
        server.redirects = {"/": other.url("")}
        problem = await refusal(server.url(repository.name), credentials=LOGIN)
        assert problem.reason == "Refused"
        assert "another host" in problem.message
        assert other.requests == []


async def test_redirects_in_circles_come_to_an_end(root: Path) -> None:
    with GitServer(root, redirects={"/": "/"}) as server:
        assert (await refusal(server.url("landing.git"))).reason == "BadAnswer"
        assert len(server.requests) < 10


async def test_an_endless_advertisement_is_cut_off() -> None:
    line = packet(COMMIT.encode() + b" refs/heads/" + b"x" * 60_000 + b"\n")
    head = GIT_HEAD + packet(b"# service=git-upload-pack\n") + b"0000"
    with hostile(say_for_ever(head, line)) as url:
        problem = await refusal(url)
    assert problem.reason == "TooLarge"


async def test_an_answer_that_never_ends_is_left_when_time_is_up() -> None:
    with hostile(say_for_ever(GIT_HEAD, b"0", 0.02)) as url, pytest.raises(ContentProblem) as caught:
        await Resolver(seconds=0.5, allow_loopback=True).resolve(source(url))
    assert caught.value.reason in ("Unreachable", "BadAnswer")


async def test_a_server_that_says_nothing_is_left_when_time_is_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/landing.git"
        with pytest.raises(ContentProblem) as caught:
            await Resolver(seconds=0.5, allow_loopback=True).resolve(source(url))
    assert caught.value.reason == "Unreachable"
    assert "within 0.5 s" in caught.value.message


_NONSENSE = [
    b"",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n",
    b"garbage\r\n\r\n",
    GIT_HEAD,
    GIT_HEAD + b"zzzz",
    GIT_HEAD + b"0003",
    GIT_HEAD + b"-fff",
    GIT_HEAD + b"ffff" + b"x",
    GIT_HEAD + b"0000",
    GIT_HEAD + packet(b"version 2\n"),
    GIT_HEAD + packet(b"version 9\n") + b"0000",
    GIT_HEAD + packet(b"# service=git-upload-pack\n") + b"0000" + packet(b"x"),
    GIT_HEAD + packet(b"# service=git-upload-pack\n") + b"0000" + packet(b"zz refs/heads/main\0caps\n") + b"0000",
    GIT_HEAD + packet(b"# service=git-upload-pack\n") + b"0000" + packet(b"\xff\xfe \xff\0\xff\n") + b"0000",
    GIT_HEAD + packet(b"# service=git-receive-pack\n") + b"0000",
    GIT_HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n") + b"\x1f\x8b",
]


@pytest.mark.parametrize("answer", _NONSENSE)
async def test_nonsense_is_a_bad_answer_and_no_crash(answer: bytes) -> None:
    with hostile(say(answer)) as url:
        problem = await refusal(url)
    assert problem.reason in ("BadAnswer", "Unreachable", "RefNotFound")
    assert problem.message.isprintable()


async def test_a_server_is_known_by_the_authority_in_the_secret(
    root: Path, repository: Repository, tmp_path: Path
) -> None:
    commit = repository.commit({"index.html": "one"})
    certificate, key = _certificate(tmp_path)
    with GitServer(root, tls=(certificate, key)) as server:
        url = server.url(repository.name)
        problem = await refusal(url)
        assert problem.reason == "Unreachable"
        assert "ca.crt" in problem.message
        trusting = Credentials(authorities=certificate.read_text())
        assert (await resolve(url, credentials=trusting)).commit == commit
        assert (await refusal(url, credentials=Credentials(authorities="nonsense"))).reason == "BadCredentials"


def _certificate(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "tls.crt", directory / "tls.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


async def test_metadata_and_loopback_are_refused_by_the_operator_as_it_runs() -> None:
    for url in ("http://169.254.169.254/landing.git", "http://127.0.0.1:8080/landing.git", "http://[::1]/x.git"):
        with pytest.raises(ContentProblem) as caught:
            await Resolver().resolve(source(url))
        assert caught.value.reason == "Refused"


async def test_many_questions_are_asked_at_once_and_not_too_many(root: Path, repository: Repository) -> None:
    commit = repository.commit({"index.html": "one"})
    with GitServer(root) as server:
        resolver = Resolver(at_once=4, allow_loopback=True)
        url = server.url(repository.name)
        found = await asyncio.gather(*(resolver.resolve(source(url)) for _ in range(20)))
    assert {each.commit for each in found} == {commit}


def test_head_and_whole_names_stand_for_themselves() -> None:
    assert candidates("HEAD") == ("HEAD",)
    assert candidates("refs/tags/v1") == ("refs/tags/v1",)
    assert candidates("v1") == ("refs/heads/v1", "refs/tags/v1")


def test_what_is_no_commit_is_not_chosen() -> None:
    assert choose({b"refs/heads/main": None}, "main") is None
    assert choose({b"refs/heads/main": b"\xff" * 40}, "main") is None
    assert choose({b"refs/heads/main": b"b" * 64}, "main") is None
