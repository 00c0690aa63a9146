"""The command lines of a lab's programs."""

import sys
from pathlib import Path

from tests.lab.cluster.paths import API_PORT, METRICS_PORT, NODE_ADDRESS, NODE_NAME, POD_RANGE, SERVICE_RANGE, Lab

Command = list[str]


def etcd(lab: Lab, programs: Path) -> Command:
    """The store. What a lab holds need not survive a power failure, so it does not wait for the disk."""
    return [
        f"{programs}/etcd",
        f"--data-dir={lab.state}/etcd",
        "--unsafe-no-fsync",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=default=http://127.0.0.1:2380",
        "--quota-backend-bytes=4294967296",
        "--log-level=warn",
    ]


def kube_apiserver(lab: Lab, programs: Path) -> Command:
    """The API server, with the aggregation layer that metrics-server needs."""
    pki = lab.pki
    return [
        f"{programs}/kube-apiserver",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--secure-port={API_PORT}",
        f"--advertise-address={NODE_ADDRESS}",
        f"--cert-dir={pki}",
        f"--tls-cert-file={pki}/kube-apiserver.crt",
        f"--tls-private-key-file={pki}/kube-apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        f"--service-account-key-file={pki}/service-accounts.crt",
        f"--kubelet-client-certificate={pki}/kubelet-client.crt",
        f"--kubelet-client-key={pki}/kubelet-client.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
        f"--proxy-client-key-file={pki}/front-proxy-client.key",
        "--enable-aggregator-routing=true",
    ]


def kube_controller_manager(lab: Lab, programs: Path) -> Command:
    """The controllers; autoscaling looks every 5 s instead of every 15 s so that nobody waits for it."""
    return [
        f"{programs}/kube-controller-manager",
        *_authenticated(lab, "kube-controller-manager"),
        f"--service-account-private-key-file={lab.pki}/service-accounts.key",
        f"--root-ca-file={lab.pki}/ca.crt",
        f"--cluster-signing-cert-file={lab.pki}/ca.crt",
        f"--cluster-signing-key-file={lab.pki}/ca.key",
        "--use-service-account-credentials",
        "--allocate-node-cidrs",
        f"--cluster-cidr={POD_RANGE}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--horizontal-pod-autoscaler-sync-period=5s",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--leader-elect=false",
    ]


def kube_scheduler(lab: Lab, programs: Path) -> Command:
    """The scheduler."""
    return [f"{programs}/kube-scheduler", *_authenticated(lab, "kube-scheduler"), "--leader-elect=false"]


def containerd(lab: Lab, programs: Path) -> Command:
    """The container runtime. It finds its shim through PATH."""
    search = f"PATH={programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return [
        "/usr/bin/env",
        search,
        f"{programs}/containerd",
        f"--config={lab.config}/containerd.toml",
        "--log-level=warn",
    ]


def kubelet(lab: Lab, programs: Path) -> Command:
    """The node's agent."""
    return [
        f"{programs}/kubelet",
        f"--config={lab.config}/kubelet.json",
        f"--kubeconfig={lab.config}/kubelet.kubeconfig",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={NODE_ADDRESS}",
        f"--root-dir={lab.state}/kubelet",
        f"--cert-dir={lab.pki}",
        "--housekeeping-interval=5s",
    ]


def kube_proxy(lab: Lab, programs: Path) -> Command:
    """What makes the addresses of Services lead to pods."""
    return [f"{programs}/kube-proxy", f"--config={lab.config}/kube-proxy.json"]


def coredns(lab: Lab, programs: Path) -> Command:
    """Names of Services."""
    return [f"{programs}/coredns", f"-conf={lab.config}/Corefile"]


def metrics_server(lab: Lab, programs: Path) -> Command:
    """CPU and memory of pods, for autoscaling and `kubectl top`."""
    return [
        f"{programs}/metrics-server",
        *_authenticated(lab, "metrics-server-user"),
        f"--secure-port={METRICS_PORT}",
        f"--tls-cert-file={lab.pki}/metrics-server.crt",
        f"--tls-private-key-file={lab.pki}/metrics-server.key",
        f"--kubelet-certificate-authority={lab.pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        "--metric-resolution=10s",
        "--kubelet-request-timeout=5s",
    ]


def volumes(lab: Lab) -> Command:
    """What gives claims their volumes."""
    return [sys.executable, "-m", "tests.lab.cluster.volumes", lab.name]


def _authenticated(lab: Lab, user: str) -> Command:
    file = lab.config / f"{user}.kubeconfig"
    return [
        f"--{purpose}={file}" for purpose in ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
    ]
