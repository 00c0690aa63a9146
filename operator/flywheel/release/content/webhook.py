"""Where Git servers tell of a push, so that nobody waits for the next poll. It starts only with a secret.

A call says which repository changed and nothing else: the commit is asked for as always. So the worst that a stolen
secret does is that a repository is asked sooner.
"""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

PATH = "/hooks/git"
LARGEST_BODY = 1 << 20
PER_SECOND = 10.0
BURST = 50
MOST_URLS = 16
LONGEST_URL = 2048
BODY_TIMEOUT = 10.0
_LARGEST_SECRET = 4096
# GitHub, Gitea and Bitbucket say repository, GitLab says project, too.
_PLACES = ("repository", "project")
_NAMES = ("clone_url", "git_http_url", "http_url", "html_url", "web_url", "homepage", "url", "git_url", "svn_url")

Refresh = Callable[[str], int]


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
    expected = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))


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


def webhook_app(secret_file: Path, refresh: Refresh, bucket: TokenBucket | None = None) -> web.Application:
    """Make the application.

    Args:
        secret_file: What signs calls; read anew for each call, so a new one holds at once.
        refresh: Asks for all sources of a repository at once, and says how many there are.
        bucket: How many calls are looked at.
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
        if not _is_verified(_secret(secret_file), body, request):
            return web.Response(status=401, text="The signature or token is not the expected one.\n")
        found = sum(refresh(url) for url in repository_urls(body, request.content_type))
        return web.json_response({"sources": found}, status=202)

    application = web.Application(client_max_size=LARGEST_BODY)
    application.router.add_post(PATH, push)
    return application


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

    def __init__(self, secret_file: Path, refresh: Refresh, *, host: str | None = None, port: int = 8082) -> None:
        """Make the server.

        Args:
            secret_file: What signs calls.
            refresh: Asks for all sources of a repository at once.
            host: Where to listen; None for all addresses.
            port: 0 takes any that is free.
        """
        self._runner = web.AppRunner(
            webhook_app(secret_file, refresh), access_log=None, handle_signals=False, shutdown_timeout=5
        )
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
