"""The keys and certificates of one lab, made anew each time it is brought up."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab.cluster.paths import CLUSTER_DOMAIN, FIRST_SERVICE_ADDRESS, NODE_ADDRESS, NODE_NAME
from tools.bootstrap.steps import run

DAYS = "3650"
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

API_SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{CLUSTER_DOMAIN}",
    "127.0.0.1",
    NODE_ADDRESS,
    FIRST_SERVICE_ADDRESS,
)
SERVERS = {
    "kube-apiserver": API_SERVER_NAMES,
    "kubelet-server": (NODE_NAME, NODE_ADDRESS),
    "metrics-server": ("metrics-server.kube-system.svc",),
}

# Program -> the user and group that the API server knows it by.
CLIENTS = {
    "admin": "/O=system:masters/CN=admin",
    "kubelet-client": "/O=system:masters/CN=kube-apiserver-kubelet-client",
    "kube-controller-manager": "/CN=system:kube-controller-manager",
    "kube-scheduler": "/CN=system:kube-scheduler",
    "kube-proxy": "/CN=system:kube-proxy",
    "kubelet": f"/O=system:nodes/CN=system:node:{NODE_NAME}",
    "coredns-user": "/CN=system:coredns",
    "metrics-server-user": "/CN=system:metrics-server",
    "volumes-user": "/CN=system:lab-volumes",
}


def make_certificates(directory: Path) -> None:
    """Fill `directory` with two authorities, a key for service accounts, and a pair for every server and client."""
    directory.mkdir(parents=True, mode=0o700)
    for authority in ("ca", "front-proxy-ca"):
        _openssl(
            directory,
            authority,
            f"/CN=flywheel-lab-{authority}",
            ["-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"],
        )
    leaves = [(name, f"/CN={names[0]}", "ca", _server_extensions(names)) for name, names in SERVERS.items()]
    leaves += [(name, subject, "ca", _CLIENT_EXTENSIONS) for name, subject in CLIENTS.items()]
    leaves += [("front-proxy-client", "/CN=front-proxy-client", "front-proxy-ca", _CLIENT_EXTENSIONS)]
    leaves += [("service-accounts", "/CN=service-accounts", "ca", [])]
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda leaf: _signed(directory, *leaf), leaves))


_CLIENT_EXTENSIONS = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=clientAuth"]


def _server_extensions(names: Sequence[str]) -> list[str]:
    alternatives = ",".join(f"{'IP' if name[0].isdigit() else 'DNS'}:{name}" for name in names)
    return [
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        "extendedKeyUsage=serverAuth",
        "-addext",
        f"subjectAltName={alternatives}",
    ]


def _signed(directory: Path, name: str, subject: str, authority: str, extensions: list[str]) -> None:
    signer = ["-CA", str(directory / f"{authority}.crt"), "-CAkey", str(directory / f"{authority}.key")]
    _openssl(directory, name, subject, signer + extensions)


def _openssl(directory: Path, name: str, subject: str, arguments: list[str]) -> None:
    files = ["-keyout", str(directory / f"{name}.key"), "-out", str(directory / f"{name}.crt")]
    run(["openssl", "req", "-x509", "-sha256", "-days", DAYS, "-subj", subject, *CURVE, *arguments, *files])
