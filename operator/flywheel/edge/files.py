"""What an edge pod keeps in its shared volume, written so that any process may die at any moment.

The pod that this needs, for whoever writes its manifest:

- `/run/flywheel` (`RUN_DIRECTORY`): a memory `emptyDir` (sizeLimit 64Mi), mounted in both containers. Here are
  `haproxy.cfg`, one directory `structure-<digest>` with maps for each configuration that is or was just in use,
  `edge.pem`, `endpoints.json`, and HAProxy's `stats.sock` and `master.sock`. Both containers run as the same user.
- `/etc/flywheel/edge` (`DOCUMENT_DIRECTORY`): the ConfigMap `<campaign>-edge`, in the sidecar, `optional: true`.
- `/etc/flywheel/tls` (`TLS_DIRECTORY`): the Secret, in the sidecar only, `optional: true`; whole, not by subPath, or
  else a new certificate would not arrive.
- container `haproxy`: `haproxy -W -S /run/flywheel/master.sock,mode,600 -f /run/flywheel/haproxy.cfg`. It needs the
  file, so the sidecar's startup probe must be `Agent.started`. Liveness `GET :8404/healthz`, readiness
  `GET :8404/readyz`, `preStop` exec `flywheel edge-drain --run-directory=/run/flywheel --for=<drainFor>`
  (`flywheel.edge.drain.drain`), `terminationGracePeriodSeconds` at least drainFor + 75, STOPSIGNAL SIGUSR1.
  No readiness probe on the sidecar: while HAProxy serves, its trouble must not take the pod out.
- the sidecar's ServiceAccount: get, list, watch on the ConfigMap `<campaign>-edge` (by resourceNames, which is enough:
  it is watched by a field selector) and on EndpointSlices; get and patch on the ConfigMap `<campaign>-edge-applied`.
"""

import asyncio
import json
import os
import shutil
import socket
import ssl
import tempfile
from pathlib import Path

from flywheel.edge.endpoints import Endpoints, Server
from flywheel.edge.render import Layout, Rendered, map_text

CHECK_TIMEOUT = 20.0
STATE_MAP = "state"
DRAINING = "draining"
"""Entry of the state map: seconds since 1970 until which the pod is about to stop."""


class ConfigurationRefused(Exception):  # noqa: N818 - a fact about the configuration
    """`haproxy -c` does not take a configuration. The text is what it says."""


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file in one step: whoever reads it has the old or the new one, never a part."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_if_changed(path: Path, text: str) -> bool:
    """Replace a file whose text is another; give whether it was."""
    try:
        if path.read_text("utf-8") == text:
            return False
    except (OSError, UnicodeDecodeError):
        pass
    write_atomically(path, text)
    return True


def write_structure(rendered: Rendered) -> Path:
    """Write all files of a configuration into its directory; give the file to check and to start with."""
    directory = Path(rendered.directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in rendered.files.items():
        write_if_changed(directory / name, text)
    state = directory / f"{STATE_MAP}.map"
    if not state.exists():
        write_atomically(state, _state_of_others(directory))
    write_maps(rendered)
    for name in rendered.decided:
        # HAProxy wants all of its maps to be there. Who keeps these fills them.
        if not (decisions := Path(rendered.map_path(name))).exists():
            write_atomically(decisions, "")
    path = directory / "haproxy.cfg"
    write_if_changed(path, rendered.config)
    return path


def _state_of_others(directory: Path) -> str:
    """A pod that is about to stop stays so when it gets a new configuration in its last seconds."""
    for other in directory.parent.glob(f"structure-*/{STATE_MAP}.map"):
        try:
            if text := other.read_text("utf-8"):
                return text
        except OSError:
            continue
    return ""


def write_maps(rendered: Rendered) -> None:
    """Write the live maps, so that a HAProxy that starts anew has them."""
    for name, entries in rendered.maps.items():
        write_if_changed(Path(rendered.map_path(name)), map_text(entries))


def take_structure(rendered: Rendered, layout: Layout) -> None:
    """Make a configuration that was checked the one that HAProxy starts with."""
    write_if_changed(Path(layout.configuration), rendered.config)


def forget_structures(layout: Layout, keep: str) -> None:
    """Remove the directories of configurations that nothing starts with any more."""
    for directory in Path(layout.run_directory).glob("structure-*"):
        if directory != Path(layout.directory(keep)):
            shutil.rmtree(directory, ignore_errors=True)


async def check(path: Path, program: str = "haproxy") -> None:
    """Let HAProxy itself judge a configuration.

    Raises:
        ConfigurationRefused: It does not take it.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            program, "-c", "-f", str(path), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except OSError as error:
        raise ConfigurationRefused(f"haproxy -c cannot be run: {error}") from error
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            said, _ = await process.communicate()
    except TimeoutError:
        raise ConfigurationRefused(f"haproxy -c has not ended within {CHECK_TIMEOUT:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        alerts = [line for line in said.decode(errors="replace").splitlines() if "[ALERT]" in line]
        raise ConfigurationRefused(" ".join(alerts)[:800] or f"haproxy -c ended with {process.returncode}")


def read_certificate(directory: Path, scratch: Path) -> str | None:
    """Read a Secret's certificate and key as one PEM text; None where there is none.

    Raises:
        ValueError: They are none, or do not belong together.
    """
    try:
        certificate = (directory / "tls.crt").read_text("ascii").strip()
        key = (directory / "tls.key").read_text("ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"tls.crt or tls.key in {directory} cannot be read: {error}") from error
    if not certificate and not key:
        return None
    text = f"{certificate}\n{key}\n"
    probe = scratch / ".probe.pem"
    write_atomically(probe, text)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(probe, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ValueError(f"tls.crt and tls.key are no certificate with its key: {error}") from error
    finally:
        probe.unlink(missing_ok=True)
    return text


def _no_password() -> str:
    raise ValueError("the key is encrypted; give it without a password")


def save_endpoints(path: Path, endpoints: Endpoints) -> None:
    """Remember the pods, for a start at which the API server is away."""
    plain = {
        name: [None if each is None else [each.address, each.port, each.draining] for each in slots]
        for name, slots in endpoints.items()
    }
    write_if_changed(path, json.dumps(plain, separators=(",", ":")))


def load_endpoints(path: Path) -> dict[str, tuple[Server | None, ...]]:
    """Read what `save_endpoints` wrote; nothing where that cannot be."""
    try:
        plain = json.loads(path.read_text("utf-8"))
        return {
            str(name): tuple(
                None if each is None else Server(str(each[0]), int(each[1]), bool(each[2])) for each in slots
            )
            for name, slots in plain.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, IndexError, KeyError):
        return {}


def has_ipv6() -> bool:
    """Tell whether this machine can listen on IPv6."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener:
            listener.bind(("::1", 0))
    except OSError:
        return False
    return True
