"""Git over HTTP: the protocol by Dulwich, the calls by us. Bounded, to checked addresses only, to one origin only.

Only the smart protocol is spoken: a "dumb" server is a tree of files of any size. Packs that a server would like to
have fetched somewhere else are not. Redirects are followed while references are asked for, as Git does, but stay on the
host.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3
from dulwich.client import AbstractHttpGitClient
from dulwich.errors import GitProtocolError, NotGitRepository
from dulwich.protocol import CAPABILITY_PACKFILE_URIS

from flywheel.net import AddressRefusedError, CheckedPools, tls_context
from flywheel.release.content.source import ContentProblem, Credentials

MOST_REDIRECTS = 3
_PIECE = 1 << 16
_LONGEST_SILENCE = 60.0  # a server may have to think before it sends the first byte of a pack
_REDIRECTS = frozenset([301, 302, 303, 307, 308])
_DEFAULT_PORTS = {"http": 80, "https": 443}
_AGENT = "git/flywheel"  # some servers speak Git only with what calls itself so
# All that a hostile server can make a parser trip over; none of it is our own fault.
_NONSENSE = (GitProtocolError, NotGitRepository, ArithmeticError, AssertionError, LookupError, TypeError, ValueError)


class GitClient(AbstractHttpGitClient):
    """Speaks with one repository."""

    def __init__(self, url: str, pools: CheckedPools, credentials: Credentials, most: int) -> None:
        """Make a client.

        Args:
            url: The repository.
            pools: What connects.
            credentials: Sent to the origin of `url` only.
            most: Bytes that all answers together may have.
        """
        super().__init__(url, thin_packs=False)
        self._fetch_capabilities.discard(CAPABILITY_PACKFILE_URIS)
        self._pools = pools
        self._origin = urlsplit(url)
        self._left = most
        self._most = most
        self._headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity", "Pragma": "no-cache"}
        if credentials.username:
            pair = f"{credentials.username}:{credentials.password}"
            self._headers |= urllib3.util.make_headers(basic_auth=pair)

    def _http_request(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        data: bytes | Iterator[bytes] | None = None,
        raise_for_status: bool = True,
    ) -> tuple[Any, Callable[..., bytes]]:
        asked = url
        for _ in range(MOST_REDIRECTS + 1):
            response: Any = self._call(asked, headers or {}, data)
            where = response.headers.get("Location")
            if response.status not in _REDIRECTS or data is not None or not where:
                break
            response.close()
            asked = urljoin(asked, where)
        else:
            raise ContentProblem("BadAnswer", f"{self._host} redirects more than {MOST_REDIRECTS} times")
        self._check(response)
        response.content_type = response.headers.get("Content-Type")
        response.redirect_location = asked if asked != url else ""
        return response, self._reader(response)

    def _call(self, url: str, headers: dict[str, str], data: Any) -> urllib3.BaseHTTPResponse:
        if not same_host(self._origin, urlsplit(url)):
            raise ContentProblem(
                "Refused", f"{self._host} redirects to another host, or away from https: write the new address as url"
            )
        try:
            return self._pools.urlopen(
                "GET" if data is None else "POST",
                url,
                redirect=False,
                headers={**self._headers, **headers},
                body=data,
                preload_content=False,
                decode_content=False,
            )
        except AddressRefusedError as error:
            raise ContentProblem("Refused", str(error)) from error
        except urllib3.exceptions.HTTPError as error:
            raise unreachable(self._host, error) from error

    def _check(self, response: urllib3.BaseHTTPResponse) -> None:
        problem = _problem(response.status, self._host)
        if problem is None and not response.headers.get("Content-Type", "").startswith("application/x-git-"):
            problem = ContentProblem("BadAnswer", f"{self._host} does not speak Git over HTTP there: correct the url")
        if problem is None and response.headers.get("Content-Encoding", "identity") != "identity":
            problem = ContentProblem("BadAnswer", f"{self._host} packs its answer although it was not asked to")
        if problem is not None:
            response.close()
            raise problem

    def _reader(self, response: urllib3.BaseHTTPResponse) -> Callable[..., bytes]:
        held = bytearray()

        def read(size: int | None = None) -> bytes:
            # Lines of the protocol are short, and each call of the library costs more than what it brings.
            while not held or (size is not None and len(held) < size):
                piece = self._piece(response)
                held.extend(piece)
                if not piece:
                    break
            taken = bytes(held[:size])
            del held[:size]
            return taken

        return read

    def _piece(self, response: urllib3.BaseHTTPResponse) -> bytes:
        try:
            piece = response.read(_PIECE, decode_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise unreachable(self._host, error) from error
        self._left -= len(piece)
        if self._left < 0:
            raise ContentProblem("TooLarge", f"{self._host} sends more than {self._most >> 20} MiB")
        return piece

    @property
    def _host(self) -> str:
        return self._origin.netloc


def same_host(origin: SplitResult, target: SplitResult) -> bool:
    """Whether `target` is on the host of `origin`, and no less safe: http may lead to https, never back."""
    if origin.hostname != target.hostname or target.username or target.password:
        return False
    ports = [each.port or _DEFAULT_PORTS.get(each.scheme) for each in (origin, target)]
    if origin.scheme == target.scheme:
        return ports[0] == ports[1]
    return (origin.scheme, target.scheme) == ("http", "https") and ports == [80, 443]


def _problem(status: int, host: str) -> ContentProblem | None:
    if status in (401, 403):
        return ContentProblem(
            "Unauthorized", f"{host} answers {status}: name a Secret with valid credentials in secretName"
        )
    if status in (404, 410):
        return ContentProblem(
            "RepositoryNotFound",
            f"{host} knows no such repository, or does not show it without credentials: correct url, or name a Secret",
        )
    if status == 429 or status >= 500:
        return ContentProblem("Unreachable", f"{host} answers {status}; it is asked again")
    if status != 200:
        return ContentProblem("BadAnswer", f"{host} answers {status} instead of what Git servers answer")
    return None


def unreachable(host: str, error: Exception) -> ContentProblem:
    """Say why a host cannot be reached, without its library's prose."""
    if "certificate" in str(error).lower():
        return ContentProblem(
            "Unreachable", f"{host} does not prove who it is: add its authority as ca.crt to the Secret of secretName"
        )
    if isinstance(error, urllib3.exceptions.SSLError):
        return ContentProblem("Unreachable", f"{host} does not speak TLS there: correct scheme and port of the url")
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return ContentProblem("Unreachable", f"{host} cannot be reached: {str(error).rpartition(': ')[2]}")
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return ContentProblem("Unreachable", f"{host} does not answer in time")
    return ContentProblem("Unreachable", f"the connection to {host} broke off")


@contextlib.contextmanager
def conversation(
    url: str, credentials: Credentials, *, seconds: float, most: int, allow_loopback: bool = False
) -> Iterator[tuple[GitClient, CheckedPools]]:
    """Speak with a repository for at most `seconds`; then the connection is cut, whatever the server does.

    Whatever is wrong with an answer becomes a `ContentProblem`.

    Args:
        url: The repository.
        credentials: For it.
        seconds: For the whole conversation.
        most: Bytes that all answers together may have.
        allow_loopback: Call this machine itself, too.
    """
    try:
        verify = tls_context(credentials.authorities)
    except ValueError as error:
        raise ContentProblem("BadCredentials", f"Key ca.crt of the Secret is not usable: {error}") from error
    pools = CheckedPools(
        deadline=time.monotonic() + seconds,
        quiet=min(seconds, _LONGEST_SILENCE),
        verify=verify,
        allow_loopback=allow_loopback,
    )
    watchdog = threading.Timer(seconds, pools.abort)
    watchdog.daemon = True
    watchdog.start()
    host = urlsplit(url).netloc
    try:
        yield GitClient(url, pools, credentials, most), pools
    except (*_NONSENSE, ContentProblem) as error:
        if pools.aborted:
            raise ContentProblem("Unreachable", f"{host} does not come to an end within {seconds:g} s") from error
        if isinstance(error, ContentProblem):
            raise
        raise ContentProblem("BadAnswer", f"{host} does not answer as Git servers do: {error}") from error
    finally:
        watchdog.cancel()
        pools.close()
