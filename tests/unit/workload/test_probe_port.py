"""A probe or hook that names no port asks the service's first one; what is written stays."""

from typing import Any

from flywheel.api.load import load_campaign
from flywheel.workload.template import pod_template


def container(**service: Any) -> dict[str, Any]:
    manifest = {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "Campaign",
        "metadata": {"name": "sale"},
        "spec": {"services": [{"name": "web", "image": "shop/web:1", **service}]},
    }
    (made,) = pod_template("sale", load_campaign(manifest).spec.services[0], "sale-web")["spec"]["containers"]
    return dict(made)


def test_the_containers_own_port_is_asked() -> None:
    made = container(
        ports=[{"name": "http", "port": 80, "targetPort": 8080}, {"name": "metrics", "port": 9090}],
        readinessProbe={"httpGet": {"path": "/healthz"}, "periodSeconds": 5},
        livenessProbe={"tcpSocket": {}},
        startupProbe={"grpc": {"port": 9090}},
        lifecycle={"preStop": {"httpGet": {"path": "/stop"}}, "postStart": {"sleep": {"seconds": 1}}},
    )
    assert made["readinessProbe"] == {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 5}
    assert made["livenessProbe"] == {"tcpSocket": {"port": 8080}}
    assert made["startupProbe"] == {"grpc": {"port": 9090}}
    assert made["lifecycle"] == {
        "preStop": {"httpGet": {"path": "/stop", "port": 8080}},
        "postStart": {"sleep": {"seconds": 1}},
    }


def test_without_ports_everything_stays_as_written() -> None:
    probe = {"exec": {"command": ["true"]}}
    assert container(readinessProbe=probe)["readinessProbe"] == probe
