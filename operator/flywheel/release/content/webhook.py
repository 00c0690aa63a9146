"""Where Git servers tell of a push, so that nobody waits for the next poll. It starts only with a secret.

Only the replica that leads follows sources. One that stands by passes a call on to it, signed anew: GitLab's token is
the secret itself, and is told to nobody.

A call says which repository changed and nothing else: the commit is asked for as always. So the worst that a stolen
secret does is that a repository is asked sooner.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import aiohttp
from aiohttp import web

PATH = "/hooks/git"
LARGEST_BODY = 1 << 20
PER_SECOND = 10.0
BURST = 50
MOST_URLS = 16
LONGEST_URL = 2048
BODY_TIMEOUT = 10.0
PASS_ON_TIMEOUT = 5.0
PASSED_ON = "X-Flywheel-Passed-On"
_LONGEST_ANSWER = 4096
_LARGEST_SECRET = 4096
# GitHub, Gitea and Bitbucket say repository, GitLab says project, too.
_PLACES = ("repository", "project")
_NAMES = ("clone_url", "git_http_url", "http_url", "html_url", "web_url", "homepage", "url", "git_url", "svn_url")

Refresh = Callable[[str], int]
Leader = Callable[[], str | None]
"""Gives the address of the replica that leads: empty where it is not known, None where it is this one."""


def leads_itself() -> str | None:
    """Say that this replica leads."""
    return None


class TokenBucket:
    """Lets through so many a second on average, and some more at once."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Make a bucket that is full."""
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled = clock()

    def take(self) -> bool:
        """Take a token, if there is one."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._per_second)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def is_signed(secret: bytes, body: bytes, signature: str) -> bool:
    """Whether `signature` is GitHub's and Gitea's of this body: sha256=<hexadecimal HMAC>."""
    return hmac.compare_digest(_signature(secret, body).encode(), signature.encode("utf-8", "replace"))


def _signature(secret: bytes, body: bytes) -> str:
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def is_token(secret: bytes, token: str) -> bool:
    """Whether `token` is the secret itself, as GitLab sends it."""
    return hmac.compare_digest(secret, token.encode("utf-8", "replace"))


def repository_urls(body: bytes, content_type: str) -> list[str]:
    """Read which repository a call is about: all http addresses of it that the payload holds; none from nonsense."""
    try:
        if content_type == "application/x-www-form-urlencoded":
            body = parse_qs(body.decode("utf-8"), max_num_fields=16)["payload"][0].encode()
        payload = json.loads(body)
    except (ValueError, LookupError, RecursionError):
        return []
    return list(dict.fromkeys(_urls(payload)))[:MOST_URLS]


def _urls(payload: Any) -> Iterable[str]:
    for place in _PLACES:
        repository = payload.get(place) if isinstance(payload, dict) else None
        if not isinstance(repository, dict):
            continue
        for url in map(repository.get, _NAMES):
            if isinstance(url, str) and len(url) <= LONGEST_URL and url.lower().startswith(("http://", "https://")):
                yield url


def webhook_app(
    secret_file: Path,
    refresh: Refresh,
    bucket: TokenBucket | None = None,
    *,
    leader: Leader = leads_itself,
    leader_port: int = 8082,
) -> web.Application:
    """Make the application.

    Args:
        secret_file: What signs calls; read anew for each call, so a new one holds at once.
        refresh: Asks for all sources of a repository at once, and says how many there are.
        bucket: How many calls are looked at.
        leader: Which replica follows sources: another one is passed the call.
        leader_port: Where that one listens.
    """
    tokens = bucket or TokenBucket(PER_SECOND, BURST)

    async def push(request: web.Request) -> web.Response:
        if not tokens.take():
            return web.Response(status=429, text="Too many calls.\n", headers={"Retry-After": "5"})
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                body = await request.read()
        except TimeoutError:
            return web.Response(status=408, text="The body did not come in time.\n")
        secret = _secret(secret_file)
        if not _is_verified(secret, body, request):
            return web.Response(status=401, text="The signature or token is not the expected one.\n")
        elsewhere = leader()
        if elsewhere is not None:
            return await _pass_on(request, secret, body, elsewhere, leader_port)
        found = sum(refresh(url) for url in repository_urls(body, request.content_type))
        return web.json_response({"sources": found}, status=202)

    application = web.Application(client_max_size=LARGEST_BODY)
    application.router.add_post(PATH, push)
    return application


async def _pass_on(request: web.Request, secret: bytes, body: bytes, address: str, port: int) -> web.Response:
    """Hand a call to the replica that leads, once: what was passed on already goes no further."""
    if PASSED_ON in request.headers or not _is_address(address):
        return _nobody("No replica leads right now.")
    host = f"[{address}]" if ":" in address else address
    headers = {
        "Content-Type": request.headers.get("Content-Type", "application/json"),
        "X-Hub-Signature-256": _signature(secret, body),
        PASSED_ON: "1",
    }
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PASS_ON_TIMEOUT)) as session,
            session.post(f"http://{host}:{port}{PATH}", data=body, headers=headers, allow_redirects=False) as answer,
        ):
            text = (await answer.content.read(_LONGEST_ANSWER)).decode("utf-8", "replace")
            return web.Response(status=answer.status, text=text, content_type=answer.content_type)
    except (aiohttp.ClientError, TimeoutError):
        return _nobody("The replica that leads does not answer.")


def _nobody(why: str) -> web.Response:
    return web.Response(status=503, text=f"{why} The push is found at the next look.\n", headers={"Retry-After": "15"})


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_verified(secret: bytes, body: bytes, request: web.Request) -> bool:
    if not secret:
        return False
    signature = request.headers.get("X-Hub-Signature-256", "")
    token = request.headers.get("X-Gitlab-Token", "")
    return (bool(signature) and is_signed(secret, body, signature)) or (bool(token) and is_token(secret, token))


def _secret(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_SECRET).strip()
    except OSError:
        return b""


class Webhook:
    """The port that Git servers call."""

    def __init__(
        self,
        secret_file: Path,
        refresh: Refresh,
        *,
        leader: Leader = leads_itself,
        host: str | None = None,
        port: int = 8082,
    ) -> None:
        """Make the server.

        Args:
            secret_file: What signs calls.
            refresh: Asks for all sources of a repository at once.
            leader: Which replica follows sources.
            host: Where to listen; None for all addresses.
            port: 0 takes any that is free.
        """
        application = webhook_app(secret_file, refresh, leader=leader, leader_port=port)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=5)
        self._host = host
        self.port = port

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The port is taken.
        """
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()
