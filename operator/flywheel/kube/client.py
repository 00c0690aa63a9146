"""One HTTP call to the API server: credentials, deadline, retry, the leader's fence, and a count for the metrics."""

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from flywheel.kube.errors import UNREACHABLE, ApiError, LoginError, NotLeader, error_from_status
from flywheel.kube.login import find_configuration

log = logging.getLogger(__name__)

JSON = "application/json"
CALL_TIMEOUT = 15.0
CONNECT_TIMEOUT = 5.0
ATTEMPTS = 3
LONGEST_RETRY_AFTER = 5.0
RELOGIN_INTERVAL = 10.0

Query = Sequence[tuple[str, str]]
CallObserver = Callable[[str, str], None]
"""Told the verb and the result of every call."""


def _ignore(_verb: str, _result: str) -> None:
    pass


class Client:
    """Connections to one API server. Every change passes the fence as the last thing before its bytes leave."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        fence: Callable[[], None] | None = None,
        observe: CallObserver = _ignore,
        connections: int = 16,
        call_timeout: float = CALL_TIMEOUT,
    ) -> None:
        self._configuration = configuration
        self._fence = fence
        self._observe = observe
        self._connections = connections
        self._call_timeout = call_timeout
        self._last_login = time.monotonic()
        self._unanswered_since: float | None = time.monotonic()
        self._random = random.Random()  # noqa: S311 - spreads retries, protects nothing
        self._open()

    @classmethod
    async def connect(cls, **options: Any) -> "Client":
        """Find the credentials and make a client; `options` as in the constructor.

        Raises:
            LoginError: When there are no credentials.
        """
        return cls(await find_configuration(), **options)

    def _open(self) -> None:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(self._pass_fence)
        trace.on_request_chunk_sent.append(self._pass_fence)
        self._configuration.trace_configs = [trace]
        # Else aiohttp reads ~/.netrc and the environment anew for each call, in a thread: a third of our CPU time.
        self._configuration.client_session_kwargs = {"trust_env": False}
        self._configuration.connection_pool_maxsize = self._connections
        self._calls = ApiClient(self._configuration)
        # Watches live for minutes. In the same pool they would starve the calls.
        self._streams = ApiClient(self._configuration)
        self._streams.rest_client.maxsize = 0

    async def _pass_fence(
        self,
        _session: object,
        _context: object,
        sent: aiohttp.TraceRequestHeadersSentParams | aiohttp.TraceRequestChunkSentParams,
    ) -> None:
        # aiohttp calls this first when a connection is at hand, and again as the last thing before it hands headers
        # and body to the socket together, which is a turn of the event loop later. A process that was frozen while it
        # waited for either is caught here.
        if self._fence is not None and sent.method != "GET":
            self._fence()

    @property
    def unanswered_for(self) -> float:
        """Seconds since the first of the calls that have all been in vain; 0 while the API server answers.

        That nothing is asked, as often while nothing changes, is no sign of trouble.
        """
        return time.monotonic() - self._unanswered_since if self._unanswered_since is not None else 0.0

    def _note_silence(self) -> None:
        if self._unanswered_since is None:
            self._unanswered_since = time.monotonic()

    async def close(self) -> None:
        """Close all connections."""
        await self._calls.close()  # type: ignore[no-untyped-call]
        await self._streams.close()  # type: ignore[no-untyped-call]

    async def call(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: object = None,
        content_type: str = JSON,
        accept: str = JSON,
        attempts: int = ATTEMPTS,
        timeout: float | None = None,  # noqa: ASYNC109 - of one attempt, not of the call
    ) -> dict[str, Any]:
        """Make one call that may be repeated safely, and repeat it a few times where that can help.

        Args:
            verb: What it is called in the metrics.
            method: The HTTP method.
            path: The path below the server's address.
            query: Query parameters.
            body: A JSON value to send.
            content_type: The kind of body.
            accept: The kind of answer.
            attempts: How often it is tried at most.
            timeout: Seconds for each attempt.

        Raises:
            ApiError: The server refused, failed, or could not be reached.
            NotLeader: The fence closed before the bytes left.
        """
        attempt = 1
        while True:
            try:
                return await self._once(verb, method, path, query, body, content_type, accept, timeout)
            except ApiError as error:
                if error.status == 401 and await self._login_again():
                    continue
                if attempt >= attempts or error.is_conflict or not error.is_retryable:
                    raise
                await asyncio.sleep(self._pause(attempt, error.retry_after))
                attempt += 1

    def _pause(self, attempt: int, retry_after: float | None) -> float:
        backoff = 0.1 * 2.0**attempt * self._random.uniform(0.5, 1.5)
        return max(backoff, min(retry_after or 0.0, LONGEST_RETRY_AFTER))

    async def _once(
        self,
        verb: str,
        method: str,
        path: str,
        query: Query,
        body: object,
        content_type: str,
        accept: str,
        timeout: float | None,  # noqa: ASYNC109
    ) -> dict[str, Any]:
        limit = aiohttp.ClientTimeout(total=timeout or self._call_timeout, sock_connect=CONNECT_TIMEOUT)
        result = "ok"
        try:
            response = await self._send(self._calls, method, path, query, body, content_type, accept, limit)
            try:
                raw = await response.read()
            finally:
                response.release()
            return _parse(response, raw)
        except ApiError as error:
            result = error.result
            raise
        except NotLeader:
            result = "fenced"
            raise
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if isinstance(error.__cause__, NotLeader):
                # Raised while the body was being written: aiohttp takes it for trouble with the connection.
                result = "fenced"
                raise error.__cause__ from None
            result = "unreachable"
            self._note_silence()
            raise _unreachable(error, self._configuration.host) from error
        except asyncio.CancelledError:
            result = "cancelled"
            raise
        finally:
            self._observe(verb, result)

    async def _send(
        self,
        client: ApiClient,
        method: str,
        path: str,
        query: Query,
        body: object,
        content_type: str,
        accept: str,
        limit: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": accept, "Content-Type": content_type}
        request = await client.param_serialize(
            method, path, query_params=list(query), header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        answer = await client.call_api(*request, _request_timeout=limit)
        self._unanswered_since = None
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _login_again(self) -> bool:
        """Read the credentials anew, as tokens and certificates are rotated; False if that was done just now."""
        if time.monotonic() - self._last_login < RELOGIN_INTERVAL:
            return False
        self._last_login = time.monotonic()
        old = (self._calls, self._streams)
        try:
            self._configuration = await find_configuration()
        except LoginError as error:
            log.warning("The credentials were refused and cannot be read anew: %s", error)
            return False
        self._open()
        for client in old:
            await client.close()  # type: ignore[no-untyped-call]
        return True

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Query, inactivity: float
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Open a stream of JSON lines, as of a watch. It ends with an error after `inactivity` seconds of silence.

        Raises:
            ApiError: The server refused, or the stream broke or fell silent.
        """
        limit = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=inactivity)
        result = "ok"
        response: aiohttp.ClientResponse | None = None
        try:
            response = await self._send(self._streams, "GET", path, query, None, JSON, JSON, limit)
            if response.status != 200:
                _parse(response, await response.read())
            yield _lines(response)
        except ApiError as error:
            result = error.result
            if error.status == 401:
                await self._login_again()
            raise
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            result = "unreachable"
            self._note_silence()
            raise _unreachable(error, self._configuration.host) from error
        finally:
            self._observe("watch", result)
            if response is not None:
                response.close()


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield json.loads(line)


def _parse(response: aiohttp.ClientResponse, raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw) if raw else {}
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    if response.status >= 300:
        raise error_from_status(response.status, response.reason or "", body, response.headers.get("Retry-After"))
    return body


def _unreachable(error: BaseException, host: str) -> ApiError:
    if isinstance(error, TimeoutError):
        return ApiError(UNREACHABLE, "Timeout", f"The API server at {host} did not answer in time.")
    said = str(error) or type(error).__name__
    return ApiError(UNREACHABLE, "Unreachable", f"The API server at {host} cannot be reached: {said}")
