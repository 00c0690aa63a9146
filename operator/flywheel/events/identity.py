"""Who sends: the sidecar's ServiceAccount token, checked against the cluster's public keys without asking for each."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import jwt

from flywheel.edge.naming import edge_name
from flywheel.events.naming import AUDIENCE
from flywheel.kube.client import Client
from flywheel.kube.errors import ApiError, LoginError

log = logging.getLogger(__name__)

DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/openid/v1/jwks"
ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"]
REFRESH_INTERVAL = 15.0
"""Seconds between two looks for keys, however many unknown ones are shown to us."""
KEYS_FOR = 3600.0
"""Seconds after which keys are looked up anew, as clusters rotate them."""
LEEWAY = 30
LONGEST_TOKEN = 16_384
_SUFFIX = edge_name("")
_SCHEME = "bearer "
_CAMPAIGN = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")

Fetch = Callable[[str], Awaitable[dict[str, Any]]]
"""Gets a JSON document from the API server."""


class NotIdentified(Exception):  # noqa: N818 - of a sender
    """The token is missing or not believed. The text says why, and can be told to the sender."""


class NotAllowed(Exception):  # noqa: N818 - of a sender
    """The token is genuine, and its owner no sidecar of this namespace."""


class KeysUnavailable(Exception):  # noqa: N818 - a state
    """The cluster's keys cannot be read at present, so nobody can be identified."""


@dataclass(frozen=True, slots=True)
class _Keys:
    issuer: str
    by_id: dict[str, jwt.PyJWK]
    read_at: float


class Identity:
    """Tells which campaign's sidecar a token belongs to."""

    def __init__(self, namespace: str, fetch: Fetch, *, refresh_interval: float = REFRESH_INTERVAL) -> None:
        self._namespace = namespace
        self._fetch = fetch
        self._interval = refresh_interval
        self._keys: _Keys | None = None
        self._asked_at = float("-inf")
        self._failure = "they have not been read yet"
        self._refreshing = asyncio.Lock()

    async def campaign(self, authorization: str | None) -> str:
        """Give the name of the campaign whose sidecar sends this header.

        Raises:
            NotIdentified: The header is missing, or its token not genuine, not for us, or out of date.
            NotAllowed: It belongs to somebody else.
            KeysUnavailable: That cannot be told now.
        """
        token = _bearer(authorization)
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise NotIdentified(f"The bearer token is no JSON Web Token: {error}") from None
        keys, key = await self._key(str(header.get("kid") or ""))
        try:
            claims = jwt.decode(
                token,
                key=key,
                algorithms=ALGORITHMS,
                audience=AUDIENCE,
                issuer=keys.issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise NotIdentified(f"The token is not accepted: {error}") from None
        return self._campaign_of(str(claims["sub"]))

    def _campaign_of(self, subject: str) -> str:
        kind, _, rest = subject.rpartition("serviceaccount:")
        namespace, _, account = rest.partition(":")
        if kind != "system:" or not account:
            raise NotAllowed(f"{subject!r} is no ServiceAccount.")
        if namespace != self._namespace:
            raise NotAllowed(f"{subject!r} is of another namespace; this store serves {self._namespace!r}.")
        if not account.endswith(_SUFFIX) or account == _SUFFIX:
            raise NotAllowed(f"{subject!r} is no edge: its name would be <campaign>{_SUFFIX}.")
        campaign = account.removesuffix(_SUFFIX)
        if not _CAMPAIGN.fullmatch(campaign):
            # It becomes a part of paths and rows; a cluster that signs such a name is not as it should be.
            raise NotAllowed(f"{subject!r} is of no Campaign: {campaign!r} cannot be the name of one.")
        return campaign

    async def _key(self, key_id: str) -> tuple[_Keys, jwt.PyJWK]:
        keys = self._keys
        if keys is None or key_id not in keys.by_id or time.monotonic() - keys.read_at > KEYS_FOR:
            await self._refresh(key_id)
            keys = self._keys
        if keys is None:
            raise KeysUnavailable(f"The cluster's keys for tokens cannot be read: {self._failure}")
        found = keys.by_id.get(key_id)
        if found is None:
            raise NotIdentified(f"The token is signed with the key {key_id[:100]!r}, which this cluster does not have.")
        return keys, found

    async def _refresh(self, key_id: str) -> None:
        async with self._refreshing:
            keys, now = self._keys, time.monotonic()
            if keys and key_id in keys.by_id and now - keys.read_at <= KEYS_FOR:
                return
            if now - self._asked_at < self._interval:
                return
            self._asked_at = now
            try:
                self._keys = await self._read()
            except (ApiError, LoginError, ValueError, KeyError, TypeError) as error:
                self._failure = str(error)
                log.warning("The cluster's keys for tokens cannot be read: %s", error)

    async def _read(self) -> _Keys:
        discovery = await self._fetch(DISCOVERY)
        documents = (await self._fetch(KEYS))["keys"]
        by_id = {}
        for document in documents:
            try:
                by_id[str(document.get("kid") or "")] = jwt.PyJWK(document)
            except jwt.PyJWTError as error:
                log.warning("A key of the cluster is of a kind that we do not know: %s", error)
        if not by_id:
            raise ValueError("The API server names no key that we can use.")
        return _Keys(str(discovery["issuer"]), by_id, time.monotonic())


def _bearer(authorization: str | None) -> str:
    if not authorization:
        raise NotIdentified("The header Authorization with the ServiceAccount's token is missing.")
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        raise NotIdentified("The header Authorization is not of the form `Bearer <token>`.")
    if len(authorization) > LONGEST_TOKEN:
        raise NotIdentified("The token is too long.")
    if not authorization.isascii():
        raise NotIdentified("The token has characters that no token has.")
    return authorization[len(_SCHEME) :].strip()


class ApiServerKeys:
    """Reads documents from the API server, and connects when first asked."""

    def __init__(self) -> None:
        self._client: Client | None = None

    async def __call__(self, path: str) -> dict[str, Any]:
        """Get one document.

        Raises:
            ApiError: The API server refuses or does not answer.
            LoginError: There are no credentials for it.
        """
        if self._client is None:
            self._client = await Client.connect(connections=2)
        return await self._client.call("get", "GET", path, accept="*/*")

    async def close(self) -> None:
        """Close the connection."""
        if self._client:
            await self._client.close()
