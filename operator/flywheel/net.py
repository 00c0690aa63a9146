"""Calls to hosts that a Campaign names: never to the cloud's metadata, link-local addresses or this machine itself.

A name is resolved once, every address it has is checked, and the connection is made to one of the checked addresses. So
there is no second look-up that could answer something else (DNS rebinding). Whoever may write a Campaign decides where
the operator calls; what is refused here would give away credentials of the node or reach what listens on loopback only.
Private addresses are allowed: Git servers and Prometheus are usually in the cluster.
"""

import asyncio
import contextlib
import functools
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore
import httpx
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.connection import create_connection

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST_ADDRESSES = 16
"""Addresses of one name that are tried."""
_METADATA_NAMES = frozenset(
    [
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.azure.internal",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.platformequinix.com",
        "metadata.tencentyun.com",
    ]
)
_METADATA = frozenset(
    ipaddress.ip_address(each)
    for each in (
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure's wire server
        "192.0.0.192",  # Oracle
        "fd00:42::42",  # Scaleway
        "fd00:ec2::23",  # EKS Pod Identity
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google
    )
)
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_TRANSLATED = tuple(ipaddress.ip_network(each) for each in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96"))
_LOW_32_BITS = 0xFFFF_FFFF


class AddressRefusedError(Exception):
    """A host that is not called. Its text is for people and holds no more than the host and the address."""


def refuse_name(host: str) -> None:
    """Refuse a name that stands for a metadata service.

    Raises:
        AddressRefusedError: It is such a name.
    """
    if host.rstrip(".").lower() in _METADATA_NAMES:
        raise AddressRefusedError(
            f"{host} is the metadata service of a cloud, which is never called: name another host"
        )


def refuse_address(host: str, address: str, *, allow_loopback: bool = False) -> None:
    """Refuse an address that is never called, whichever way it is spelled or wrapped.

    Args:
        host: The name that has the address, for the message.
        address: An IPv4 or IPv6 address, with or without a zone.
        allow_loopback: Do not refuse this machine itself: for tests and tools of developers.

    Raises:
        AddressRefusedError: It is such an address.
    """
    for each in _meanings(ipaddress.ip_address(address.partition("%")[0])):
        kind = _refused_kind(each, allow_loopback=allow_loopback)
        if kind:
            shown = host if host == address else f"{host} ({address})"
            raise AddressRefusedError(f"{shown} is {kind}, never called: name another host")


def _meanings(address: Address) -> Iterator[Address]:
    """Yield the address, and the IPv4 addresses that an IPv6 address may lead to."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped:
        yield address.ipv4_mapped
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
    if any(address in network for network in _TRANSLATED) and int(address) > 1:
        yield ipaddress.IPv4Address(int(address) & _LOW_32_BITS)


def _refused_kind(address: Address, *, allow_loopback: bool) -> str | None:
    if address in _METADATA:
        return "the metadata service of a cloud"
    if address.is_loopback:
        return None if allow_loopback else "this machine itself"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    if address.is_unspecified or address in _THIS_NETWORK:
        return "no address of a host"
    if isinstance(address, ipaddress.IPv4Address) and address.is_reserved:
        return "a reserved address"
    return None


def resolve(host: str, port: int, *, allow_loopback: bool = False) -> list[str]:
    """Resolve a host to addresses that may be called, in the order in which to try them. It blocks.

    One refused address refuses the host: what has a public and a link-local address means no good.

    Raises:
        AddressRefusedError: The host, or one of its addresses, is never called.
        OSError: The host is not known.
    """
    refuse_name(host)
    return _checked(host, socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), allow_loopback=allow_loopback)


async def resolve_async(host: str, port: int, *, allow_loopback: bool = False) -> list[str]:
    """Resolve a host as `resolve` does, without blocking the loop.

    Raises:
        AddressRefusedError: The host, or one of its addresses, is never called.
        OSError: The host is not known.
    """
    refuse_name(host)
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return _checked(host, found, allow_loopback=allow_loopback)


def _checked(host: str, found: Iterable[tuple[Any, ...]], *, allow_loopback: bool) -> list[str]:
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    for address in addresses:
        refuse_address(host, address, allow_loopback=allow_loopback)
    if not addresses:
        raise OSError(f"{host} has no address")
    return addresses[:MOST_ADDRESSES]


def tls_context(authorities: str | None = None) -> ssl.SSLContext:
    """Make the context in which servers are verified, always.

    Args:
        authorities: Certificates (PEM) that are trusted beside the public ones.

    Raises:
        ValueError: They are no certificates.
    """
    if authorities is None:
        return _public_tls_context()
    context = httpx.create_ssl_context()
    try:
        context.load_verify_locations(cadata=authorities)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError("it holds no certificates in PEM form") from error
    return context


@functools.cache
def _public_tls_context() -> ssl.SSLContext:
    """Made once: reading all public authorities takes longer than a call."""
    return httpx.create_ssl_context()


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, *, allow_loopback: bool) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._allow_loopback = allow_loopback

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of httpcore
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await resolve_async(host, port, allow_loopback=self._allow_loopback)
                for address in addresses[:-1]:
                    with contextlib.suppress(httpcore.ConnectError):
                        return await self._inner.connect_tcp(address, port, None, local_address, socket_options)
                return await self._inner.connect_tcp(addresses[-1], port, None, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"no connection to {host} within {timeout:g} s") from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse."""
        raise AddressRefusedError("sockets of this machine are never called")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class CheckedTransport(httpx.AsyncHTTPTransport):
    """A transport of httpx that connects to checked addresses only, and through no proxy.

    Requests raise `AddressRefusedError` besides the errors of httpx.
    """

    def __init__(
        self, *, verify: ssl.SSLContext | None = None, most_connections: int = 32, allow_loopback: bool = False
    ) -> None:
        """Make a transport.

        Args:
            verify: How servers are verified; by default against the public authorities.
            most_connections: Connections at once.
            allow_loopback: Call this machine itself, too.
        """
        context = verify or tls_context()
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=most_connections,
            max_keepalive_connections=most_connections // 2,
            keepalive_expiry=15,
            network_backend=_CheckedBackend(allow_loopback=allow_loopback),
        )


def http_client(
    *,
    timeout: float = 10,
    verify: ssl.SSLContext | None = None,
    most_connections: int = 32,
    allow_loopback: bool = False,
) -> httpx.AsyncClient:
    """Make a client for calls to hosts that a Campaign names: no proxy, no cookies from outside, no redirects.

    A redirect is an answer like any other, so it leads nowhere. Read what is large or not trusted with `read_bounded`.

    Args:
        timeout: Seconds for connecting, and between two pieces of an answer; bound the whole call with asyncio.timeout.
        verify: How servers are verified; by default against the public authorities.
        most_connections: Connections at once.
        allow_loopback: Call this machine itself, too.
    """
    transport = CheckedTransport(verify=verify, most_connections=most_connections, allow_loopback=allow_loopback)
    return httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False, follow_redirects=False)


async def read_bounded(response: httpx.Response, most: int) -> bytes:
    """Read the body of a streamed answer.

    Raises:
        ValueError: It has more than `most` bytes; the rest is not read.
    """
    content = bytearray()
    async for piece in response.aiter_bytes(1 << 16):
        content += piece
        if len(content) > most:
            raise ValueError(f"the answer has more than {most} bytes")
    return bytes(content)


class CheckedPools(urllib3.PoolManager):
    """Connections of urllib3 to checked addresses only; for one piece of work in a thread.

    `abort` ends the work at once from another thread, whatever the server does: timeouts of sockets are for each piece
    of an answer, so a server that sends a byte now and then could hold a thread for ever. Redirects are not followed.
    """

    def __init__(
        self,
        *,
        deadline: float,
        quiet: float = 10,
        verify: ssl.SSLContext | None = None,
        allow_loopback: bool = False,
    ) -> None:
        """Make a pool.

        Args:
            deadline: Time of `time.monotonic` after which no connection is made.
            quiet: Seconds that a server may take between two pieces of an answer.
            verify: How servers are verified; by default against the public authorities.
            allow_loopback: Call this machine itself, too.
        """
        super().__init__(
            num_pools=4,
            ssl_context=verify or tls_context(),
            retries=False,
            timeout=urllib3.Timeout(connect=5, read=quiet),
        )
        self._deadline = deadline
        self._allow_loopback = allow_loopback
        self.aborted = False
        """Whether `abort` was called: then an error says nothing of the server."""
        self._open: list[socket.socket] = []
        self.pool_classes_by_scheme = {"http": self._pool_class(http=True), "https": self._pool_class(http=False)}

    def _pool_class(self, *, http: bool) -> Any:
        pools = self

        class PlainConnection(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return pools.connect(self)

        class TlsConnection(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return pools.connect(self)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = PlainConnection

        class TlsPool(HTTPSConnectionPool):
            ConnectionCls = TlsConnection

        return PlainPool if http else TlsPool

    def urlopen(self, method: str, url: str, redirect: bool = False, **kw: Any) -> urllib3.BaseHTTPResponse:  # type: ignore[override]
        """Make a call. What leads elsewhere is an answer like any other, whatever `redirect` says."""
        return super().urlopen(method, url, redirect=False, **kw)

    def connect(self, connection: HTTPConnection) -> socket.socket:
        """Connect to the first address that answers.

        Raises:
            AddressRefusedError: The host is never called.
            urllib3.exceptions.NewConnectionError: The host is not known, or nobody answers.
        """
        try:
            addresses = resolve(connection.host.strip("[]"), connection.port, allow_loopback=self._allow_loopback)
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(connection, f"{connection.host} is not known") from error
        failure: OSError | None = None
        for address in addresses:
            seconds = min(5.0, self._deadline - time.monotonic())
            if self.aborted or seconds <= 0:
                failure = TimeoutError("there was no time left")
                break
            try:
                return self._noted(
                    create_connection(
                        (address, connection.port), seconds, socket_options=list(connection.socket_options or ())
                    )
                )
            except OSError as error:
                failure = error
        raise urllib3.exceptions.NewConnectionError(connection, f"no connection: {failure}") from failure

    def _noted(self, connected: socket.socket) -> socket.socket:
        # A second handle of the same connection: TLS takes the first one over and leaves nothing that could be shut.
        self._open.append(connected.dup())
        return connected

    def abort(self) -> None:
        """End all connections; may be called from any thread, and any number of times."""
        self.aborted = True
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give everything back; for the thread that did the work."""
        self.clear()
        while self._open:
            self._open.pop().close()
