"""The lab's provisioner of volumes: each claim of the class `lab` gets a directory of the node until it is deleted.

It is one of the lab's programs. It decides by what the API server holds and by nothing that it remembers, so it may be
killed at any moment.
"""

import json
import shutil
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.lab.cluster.paths import API_PORT, NODE_ADDRESS, NODE_NAME, Lab

CLASS = "lab"
PROVISIONER = "flywheel.dev/lab"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
USER = "volumes-user"

VOLUMES = "/api/v1/persistentvolumes"
CLAIMS = "/api/v1/persistentvolumeclaims"
WATCH_SECONDS = 60
REQUEST_SECONDS = 10
PAUSE_SECONDS = 1.0

Object = dict[str, Any]


class Server:
    """The few calls to the API server that this program makes."""

    def __init__(self, lab: Lab) -> None:
        self._context = ssl.create_default_context(cafile=str(lab.pki / "ca.crt"))
        self._context.load_cert_chain(lab.pki / f"{USER}.crt", lab.pki / f"{USER}.key")
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._context)
        )

    def list(self, path: str) -> Object:
        """Return all objects at `path`, with the version at which they were read."""
        with self._open("GET", path) as answer:
            found: Object = json.loads(answer.read())
            return found

    def changes(self, path: str, version: str) -> Iterator[None]:
        """Yield once for each change after `version`, for up to a minute."""
        watch = f"{path}?watch=true&resourceVersion={version}&timeoutSeconds={WATCH_SECONDS}"
        with self._open("GET", watch, seconds=WATCH_SECONDS + REQUEST_SECONDS) as answer:
            for _ in answer:
                yield

    def create(self, path: str, content: Object) -> None:
        """Create an object; one that is there already stays."""
        try:
            self._open("POST", path, content).close()
        except urllib.error.HTTPError as problem:
            if problem.code != 409:
                raise

    def delete(self, path: str, version: str) -> None:
        """Delete the object at `path` unless it has changed since `version` or is gone."""
        try:
            self._open("DELETE", path, {"preconditions": {"resourceVersion": version}}).close()
        except urllib.error.HTTPError as problem:
            if problem.code not in {404, 409}:
                raise

    def _open(self, method: str, path: str, content: Object | None = None, seconds: float = REQUEST_SECONDS) -> Any:
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(
            f"https://{NODE_ADDRESS}:{API_PORT}{path}",
            data=body,
            method=method,
            headers={"Content-Type": "application/json"},
        )
        return self._opener.open(request, timeout=seconds)


def provision(server: Server, directory: Path) -> None:
    """Make what claims ask for, and remove what nobody claims any more."""
    for claim in server.list(CLAIMS)["items"]:
        if _wants_volume(claim):
            volume = _volume(claim, directory)
            path = Path(volume["spec"]["local"]["path"])
            path.mkdir(parents=True, exist_ok=True)
            # Programs of any user may get it; a pod's fsGroup narrows it down.
            path.chmod(0o777)
            server.create(VOLUMES, volume)
            print(f"made {volume['metadata']['name']} for {claim['metadata']['namespace']}/{claim['metadata']['name']}")
    for volume in server.list(VOLUMES)["items"]:
        if _to_be_removed(volume):
            name = volume["metadata"]["name"]
            # First the data: once the object is gone, nothing would remember them.
            shutil.rmtree(directory / name, ignore_errors=True)
            server.delete(f"{VOLUMES}/{name}", volume["metadata"]["resourceVersion"])
            print(f"removed {name}")


def _wants_volume(claim: Object) -> bool:
    return bool(
        claim["spec"].get("storageClassName") == CLASS
        and not claim["spec"].get("volumeName")
        and claim["spec"].get("volumeMode", "Filesystem") == "Filesystem"
        and "deletionTimestamp" not in claim["metadata"]
    )


def _to_be_removed(volume: Object) -> bool:
    return bool(
        volume["metadata"].get("annotations", {}).get(PROVISIONED_BY) == PROVISIONER
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        and volume.get("status", {}).get("phase") == "Released"
    )


def _volume(claim: Object, directory: Path) -> Object:
    identity = {key: claim["metadata"][key] for key in ("namespace", "name", "uid")}
    name = f"pvc-{identity['uid']}"
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "storageClassName": CLASS,
            "persistentVolumeReclaimPolicy": "Delete",
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **identity},
            "local": {"path": str(directory / name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def _report_changes(server: Server, path: str, changed: threading.Event) -> None:
    while True:
        try:
            version = server.list(path)["metadata"]["resourceVersion"]
            changed.set()
            for _ in server.changes(path, version):
                changed.set()
        except (OSError, ValueError) as problem:
            print(f"{path} cannot be watched: {problem}")
            time.sleep(PAUSE_SECONDS)


def main() -> None:
    """Provide volumes to the lab named on the command line, until killed."""
    lab = Lab.named(sys.argv[1])
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    server = Server(lab)
    changed = threading.Event()
    for path in (CLAIMS, VOLUMES):
        threading.Thread(target=_report_changes, args=(server, path, changed), daemon=True).start()
    while True:
        changed.wait()
        changed.clear()
        try:
            provision(server, lab.state / "volumes")
        except (OSError, ValueError) as problem:
            print(f"volumes cannot be provided: {problem}")
            time.sleep(PAUSE_SECONDS)
            changed.set()


if __name__ == "__main__":
    main()
