"""Who calls: a ServiceAccount's token, checked against the cluster's public keys without asking for each."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import jwt

from flywheel.edge.naming import edge_name
from flywheel.events.naming import AUDIENCE, operator_audience
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
    """The token is genuine, and its owner may not do this: no sidecar of this namespace, or not the operator."""


class KeysUnavailable(Exception):  # noqa: N818 - a state
    """The cluster's keys cannot be read at present, so nobody can be identified."""


@dataclass(frozen=True, slots=True)
class _Keys:
    issuer: str
    by_id: dict[str, jwt.PyJWK]
    read_at: float


class Identity:
    """Tells whom a token belongs to: which campaign's sidecar, or the operator."""

    def __init__(
        self, namespace: str, fetch: Fetch, *, operator: str = "", refresh_interval: float = REFRESH_INTERVAL
    ) -> None:
        """Make an identity check.

        Args:
            namespace: Whose sidecars are known.
            fetch: Gets the cluster's keys.
            operator: The operator's ServiceAccount as `namespace:name`; empty where none may ask.
            refresh_interval: Seconds between two looks for keys.
        """
        self._namespace = namespace
        self._operator = operator
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
        return self._campaign_of(await self._subject(authorization, AUDIENCE))

    async def account(self, authorization: str | None) -> str:
        """Give the name of the namespace's ServiceAccount that sends this header.

        Raises:
            NotIdentified: The header is missing, or its token not genuine, not for us, or out of date.
            NotAllowed: It belongs to another namespace.
            KeysUnavailable: That cannot be told now.
        """
        return self._account_of(await self._subject(authorization, AUDIENCE))

    async def check_operator(self, authorization: str | None) -> None:
        """Check that the operator sends this header.

        Raises:
            NotIdentified: The header is missing, or its token not genuine, not for this worker, or out of date.
            NotAllowed: It belongs to somebody else.
            KeysUnavailable: That cannot be told now.
        """
        subject = await self._subject(authorization, operator_audience(self._namespace))
        if not self._operator:
            raise NotAllowed("This worker has not been told which ServiceAccount is the operator's.")
        if subject != f"system:serviceaccount:{self._operator}":
            raise NotAllowed(f"{subject!r} is not the operator, which is the ServiceAccount {self._operator}.")

    async def _subject(self, authorization: str | None, audience: str) -> str:
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
                audience=audience,
                issuer=keys.issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise NotIdentified(f"The token is not accepted: {error}") from None
        return str(claims["sub"])

    def _account_of(self, subject: str) -> str:
        kind, _, rest = subject.rpartition("serviceaccount:")
        namespace, _, account = rest.partition(":")
        if kind != "system:" or not account:
            raise NotAllowed(f"{subject!r} is no ServiceAccount.")
        if namespace != self._namespace:
            raise NotAllowed(f"{subject!r} is of another namespace; this store serves {self._namespace!r}.")
        return account

    def _campaign_of(self, subject: str) -> str:
        account = self._account_of(subject)
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
