"""Who trusts whom: the certificate that replicas share, the APIService that vouches for it, whose requests count."""

import base64
import binascii
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from flywheel.kube.errors import ApiError
from flywheel.kube.gateway import Gateway
from flywheel.metrics.certificates import Material, complaint_about, renewed
from flywheel.metrics.naming import GROUP, VERSION
from flywheel.plan import MANAGED_BY_LABEL, Manifest, ObjectKey

log = logging.getLogger(__name__)

API_SERVICE = ObjectKey("apiregistration.k8s.io", "APIService", "", f"{VERSION}.{GROUP}")
FRONT_PROXY = ObjectKey("", "ConfigMap", "kube-system", "extension-apiserver-authentication")
TURNS = 5
_KEYS = {"authorities": "ca.crt", "authority_key": "ca.key", "certificate": "tls.crt", "key": "tls.key"}


class NotTrusted(Exception):  # noqa: N818 - a state of the cluster, not of this program
    """Something that serving needs is not there; the message says what, and what to do."""


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """How the API server identifies itself when it passes a request on."""

    authority: str
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Trust:
    """All that a listening socket needs."""

    material: Material
    front_proxy: FrontProxy


class Keeper:
    """Keeps certificate and APIService in order; each replica has one, and they agree through the Secret."""

    def __init__(
        self, gateway: Gateway, namespace: str, service: str, secret: str, clock: Callable[[], datetime]
    ) -> None:
        self._gateway = gateway
        self._secret = ObjectKey("", "Secret", namespace, secret)
        self._service = service
        self._clock = clock

    async def look(self) -> Trust:
        """Renew what is about to end, and return what holds now.

        Raises:
            NotTrusted: It cannot be had; the message is for people.
            ApiError: The API server refuses, or cannot be reached.
        """
        front_proxy = await self._front_proxy()
        material = await self._material()
        await self._vouch(material)
        return Trust(material, front_proxy)

    async def _front_proxy(self) -> FrontProxy:
        found = await self._gateway.get(FRONT_PROXY)
        data = (found or {}).get("data") or {}
        authority = data.get("requestheader-client-ca-file")
        if not authority:
            raise NotTrusted(
                f"{FRONT_PROXY} has no requestheader-client-ca-file: the API server's aggregation layer is switched "
                "off. Start it with --requestheader-client-ca-file, or install with externalMetrics.enabled=false."
            )
        try:
            names = json.loads(data.get("requestheader-allowed-names") or "[]")
        except json.JSONDecodeError as error:
            raise NotTrusted(f"{FRONT_PROXY}: requestheader-allowed-names is no list of names: {error}") from error
        return FrontProxy(authority, frozenset(names))

    async def _material(self) -> Material:
        name = f"{self._service}.{self._secret.namespace}.svc"
        for _ in range(TURNS):
            found = await self._gateway.get(self._secret)
            present = _read(found) if found else None
            complaint = complaint_about(present, name, self._clock()) if present else "it holds no certificate"
            if complaint is None and present is not None:
                return present
            if found:
                log.info("The certificate in %s is renewed: %s.", self._secret, complaint)
            try:
                await self._write(renewed(present, name, self._clock()), found)
            except ApiError as error:
                # Another replica was faster: what it has written is as good.
                if not error.is_conflict:
                    raise
        raise NotTrusted(f"{self._secret} is written by somebody else all the time, and never as a valid certificate.")

    async def _write(self, material: Material, found: Manifest | None) -> None:
        data = {key: base64.b64encode(getattr(material, field)).decode() for field, key in _KEYS.items()}
        if found is not None:
            version = found["metadata"]["resourceVersion"]
            await self._gateway.merge_patch(self._secret, {"metadata": {"resourceVersion": version}, "data": data})
            return
        labels = {MANAGED_BY_LABEL: "flywheel", "app.kubernetes.io/component": "external-metrics"}
        metadata = {"name": self._secret.name, "namespace": self._secret.namespace, "labels": labels}
        await self._gateway.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})

    async def _vouch(self, material: Material) -> None:
        """Tell the API server which authority signs our certificate."""
        found = await self._gateway.get(API_SERVICE)
        if found is None:
            raise NotTrusted(f"There is no {API_SERVICE}; it comes with the chart. Run helm upgrade again.")
        ours = {"namespace": self._secret.namespace, "name": self._service}
        served = found["spec"].get("service") or {}
        if {key: served.get(key) for key in ours} != ours:
            raise NotTrusted(
                f"{API_SERVICE} leads to {served.get('namespace')}/{served.get('name')}, another program that serves "
                "metrics. Install with externalMetrics.enabled=false and name it in externalMetrics.adapter."
            )
        bundle = base64.b64encode(material.authorities).decode()
        if found["spec"].get("caBundle") != bundle:
            patch = {
                "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
                "spec": {"caBundle": bundle, "insecureSkipTLSVerify": None},
            }
            try:
                await self._gateway.merge_patch(API_SERVICE, patch)
            except ApiError as error:
                # Another replica, or the API server with the status; the next look finds what is left to do.
                if not error.is_conflict:
                    raise


def _read(secret: Manifest) -> Material | None:
    data = secret.get("data") or {}
    try:
        return Material(**{field: base64.b64decode(data[key], validate=True) for field, key in _KEYS.items()})
    except (KeyError, binascii.Error):
        return None
