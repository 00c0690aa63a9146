"""The API external.metrics.k8s.io/v1beta1, as the API server and autoscalers ask for it."""

import json
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

from aiohttp import web

from flywheel.metrics.naming import CAMPAIGN, GROUP, SUBJECTS, VERSION
from flywheel.metrics.scrape import Value
from flywheel.metrics.selector import read_selector

ROOT = f"/apis/{GROUP}/{VERSION}"
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
AGGREGATED_VERSION = re.compile(r"g=apidiscovery\.k8s\.io;v=(v2|v2beta1);as=APIGroupDiscoveryList")
LARGEST_REQUEST = 1 << 16

Named = Callable[[], Collection[str]]
"""Gives the names of client certificates from which requests are taken; none means any of the authority."""


class Source(Protocol):
    """Where the figures come from."""

    def value(self, namespace: str, campaign: str, metric: str, subject: str) -> Value | None:
        """Return a figure of a campaign, or None where it is not known."""


class MetricsApi:
    """Handlers of the API. Who may ask has been decided by the API server, and that it asks shows its certificate."""

    def __init__(self, source: Source, named: Named) -> None:
        self._source = source
        self._named = named

    def application(self) -> web.Application:
        """Make the application."""
        made = web.Application(middlewares=[self._only_for_the_api_server], client_max_size=LARGEST_REQUEST)
        made.router.add_get("/apis", _groups)
        made.router.add_get(f"/apis/{GROUP}", _group)
        made.router.add_get(ROOT, _resources)
        made.router.add_get(f"{ROOT}/namespaces/{{namespace}}/{{metric}}", self._values)
        made.router.add_get("/openapi/v2", _openapi_v2)
        made.router.add_get("/openapi/v3", _openapi_v3)
        made.router.add_get(f"/openapi/v3{ROOT}", _openapi_v3_group)
        return made

    @web.middleware
    async def _only_for_the_api_server(self, request: web.Request, handler: Any) -> web.StreamResponse:
        certificate = request.transport and request.transport.get_extra_info("peercert")
        names = self._named()
        # The handshake has checked that the authority signed it; without one there is no connection.
        if not certificate or (names and _common_name(certificate) not in names):
            return _status(403, "Forbidden", "Only the API server's aggregation layer may ask here.")
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPNotFound:
            return _status(404, "NotFound", f"There is nothing at {request.path}.")
        except web.HTTPMethodNotAllowed:
            return _status(405, "MethodNotAllowed", "Metrics can only be read.")
        return response

    async def _values(self, request: web.Request) -> web.Response:
        namespace, metric = request.match_info["namespace"], request.match_info["metric"]
        subject_label = SUBJECTS.get(metric)
        if subject_label is None or not NAMESPACE.fullmatch(namespace):
            known = ", ".join(SUBJECTS)
            return _status(404, "NotFound", f"There is no metric {metric!r} in {namespace!r}; these are: {known}.")
        try:
            labels = read_selector(request.query.get("labelSelector", ""), (CAMPAIGN, subject_label))
        except ValueError as error:
            return _status(400, "BadRequest", str(error))
        value = self._source.value(namespace, labels[CAMPAIGN], metric, labels[subject_label])
        # An autoscaler takes an empty list for what it is: not known. It then leaves the number of pods as it is.
        return _json(
            {
                "kind": "ExternalMetricValueList",
                "apiVersion": f"{GROUP}/{VERSION}",
                "metadata": {},
                "items": [] if value is None else [_item(metric, labels, value)],
            }
        )


def _item(metric: str, labels: dict[str, str], value: Value) -> dict[str, Any]:
    return {
        "metricName": metric,
        "metricLabels": labels,
        "timestamp": value.measured_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "windowSeconds": round(value.window),
        # Thousandths: a quantity has no fraction of its own.
        "value": f"{round(value.per_second * 1000)}m",
    }


def _common_name(certificate: Any) -> str:
    names: Iterable[Any] = (pair for part in certificate.get("subject", ()) for pair in part)
    return next((value for key, value in names if key == "commonName"), "")


def _json(content: dict[str, Any], content_type: str = "application/json") -> web.Response:
    return web.Response(body=json.dumps(content).encode(), headers={"Content-Type": content_type})


def _status(code: int, reason: str, message: str) -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return web.json_response({**status, "message": message, "reason": reason, "code": code}, status=code)


def _api_group() -> dict[str, Any]:
    version = {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}
    return {"name": GROUP, "versions": [version], "preferredVersion": version}


async def _groups(request: web.Request) -> web.Response:
    accepted = request.headers.get("Accept", "")
    wanted = AGGREGATED_VERSION.search(accepted)
    if wanted is None:
        return _json({"kind": "APIGroupList", "apiVersion": "v1", "groups": [_api_group()]})
    resources = [
        {
            "resource": metric,
            "responseKind": {"group": "", "version": "", "kind": "ExternalMetricValueList"},
            "scope": "Namespaced",
            "singularResource": "",
            "verbs": ["get"],
        }
        for metric in SUBJECTS
    ]
    versions = [{"version": VERSION, "resources": resources, "freshness": "Current"}]
    content = {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{wanted[1]}",
        "metadata": {},
        "items": [{"metadata": {"name": GROUP}, "versions": versions}],
    }
    return _json(content, f"application/json;{wanted[0]}")


async def _group(_request: web.Request) -> web.Response:
    return _json({"kind": "APIGroup", "apiVersion": "v1", **_api_group()})


async def _resources(_request: web.Request) -> web.Response:
    kind = {"singularName": "", "namespaced": True, "kind": "ExternalMetricValueList", "verbs": ["get"]}
    resources = [{"name": metric, **kind} for metric in SUBJECTS]
    group_version = f"{GROUP}/{VERSION}"
    return _json({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources})


async def _openapi_v2(_request: web.Request) -> web.Response:
    # The objects are described by the metrics API itself; to have nothing to add is a valid answer.
    return _json({"swagger": "2.0", "info": {"title": "Flywheel metrics", "version": VERSION}, "paths": {}})


async def _openapi_v3(_request: web.Request) -> web.Response:
    path = ROOT.removeprefix("/")
    return _json({"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"}}})


async def _openapi_v3_group(_request: web.Request) -> web.Response:
    return _json({"openapi": "3.0.0", "info": {"title": "Flywheel metrics", "version": VERSION}, "paths": {}})
