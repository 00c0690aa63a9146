"""Finding the API server and the credentials for it: a service account inside a cluster, a kubeconfig outside."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import incluster_config, kube_config
from kubernetes.aio.config.config_exception import ConfigException

from flywheel.kube.errors import LoginError

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What another HTTP client in this process needs to reach the same API server. Never printed."""

    server: str
    ca_path: str | None
    insecure: bool
    token: str | None
    certificate_path: str | None
    private_key_path: str | None
    proxy_url: str | None


def own_namespace(default: str = "default") -> str:
    """Give the namespace this process runs in: of its service account, or `default` outside a cluster."""
    return NAMESPACE_FILE.read_text().strip() if NAMESPACE_FILE.is_file() else default


async def find_configuration() -> Configuration:
    """Read the credentials: KUBECONFIG if set, else the pod's service account, else ~/.kube/config.

    A service account's token is read again from its file as it is rotated. A proxy that the kubeconfig does not name
    is taken from the environment.

    Raises:
        LoginError: When none of them is there or usable.
    """
    configuration = Configuration()
    await _load(configuration)
    configuration.proxy = configuration.proxy or _environment_proxy(configuration.host)
    return configuration


def _environment_proxy(server: str) -> str | None:
    address = urlsplit(server)
    if not address.hostname or proxy_bypass(address.hostname):
        return None
    return getproxies().get(address.scheme)


async def _load(configuration: Configuration) -> None:
    given = os.environ.get("KUBECONFIG")
    if not given and os.environ.get("KUBERNETES_SERVICE_HOST"):
        try:
            incluster_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError) as error:
            raise LoginError(
                f"This pod has no usable service account token ({error}). Mount one, or set KUBECONFIG."
            ) from error
        return
    path = given or "~/.kube/config"
    if not _any_file(path):
        raise LoginError(
            f"No way to reach a cluster: there is no file {path}, and this is no pod with a service account. "
            "Set KUBECONFIG to the path of a kubeconfig."
        )
    try:
        await kube_config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=path, client_configuration=configuration, persist_config=False
        )
    except (ConfigException, OSError, ValueError, TypeError, AttributeError) as error:
        raise LoginError(f"The kubeconfig {path} cannot be used: {error}") from error


def _any_file(paths: str) -> bool:
    return any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep) if path)


async def find_credentials() -> Credentials:
    """Read the credentials anew, for a client that is not ours."""
    configuration = await find_configuration()
    token = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
    return Credentials(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        token=token.split(" ", 1)[-1].strip() if token else None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )
