"""What serves content in a pod, as plain manifests."""

from dataclasses import dataclass

from flywheel.api.content import Content, GitContent
from flywheel.plan import Manifest
from flywheel.release.content.serve import HEALTH_PATH
from flywheel.release.content.source import CREDENTIAL_KEYS
from flywheel.workload.template import CONTAINER_SECURITY

USER = 65532
CONTENT_DIRECTORY = "/srv/content"
SITE_DIRECTORY = f"{CONTENT_DIRECTORY}/site"
CREDENTIALS_DIRECTORY = "/etc/flywheel/git"
TEMPORARY_DIRECTORY = "/tmp"  # noqa: S108 - a volume of the pod's own
TERMINATION_LOG = "/dev/termination-log"
FETCH_CONTAINER = "content"
"""Its termination message says as JSON why content cannot be fetched: {reason, message}."""
LEAVE_SECONDS = 5
"""How long a pod that goes serves on, until every proxy knows that it goes."""
FETCH_RESOURCES = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
SERVE_RESOURCES = {"requests": {"cpu": "20m", "memory": "32Mi"}}
_VOLUME = "flywheel-content"
_CREDENTIALS = "flywheel-content-credentials"
_TEMPORARY = "flywheel-content-temporary"


@dataclass(frozen=True, slots=True)
class ContentParts:
    """The pieces of a pod that serves content."""

    init_containers: list[Manifest]
    container: Manifest
    volumes: list[Manifest]


def content_parts(name: str, content: Content, commit: str, image: str, port: int) -> ContentParts:
    """Build the pieces of a pod that serves content.

    Args:
        name: The service; its container is called so.
        content: What is served.
        commit: With Git: exactly this commit, 40 hexadecimal digits.
        image: The image of the Dockerfile's target `content`.
        port: Where the container listens.

    Raises:
        ValueError: It is neither from Git nor from an image.
    """
    temporary: Manifest = {"name": _TEMPORARY, "emptyDir": {"sizeLimit": "64Mi"}}
    if content.git is not None:
        container = _server(name, content, commit, image, port)
        volumes = [_content_volume(content), temporary, *_credential_volumes(content.git)]
        return ContentParts([_fetcher(content, content.git, commit, image)], container, volumes)
    if content.image is not None:
        source = {"reference": content.image, "pullPolicy": "IfNotPresent"}
        container = _server(name, content, content.image.rpartition("@")[2], image, port)
        return ContentParts([], container, [{"name": _VOLUME, "image": source}, temporary])
    raise ValueError("content must be from Git or from an image")


def _fetcher(content: Content, git: GitContent, commit: str, image: str) -> Manifest:
    credentials = {"name": _CREDENTIALS, "mountPath": CREDENTIALS_DIRECTORY, "readOnly": True}
    return {
        "name": FETCH_CONTAINER,
        "image": image,
        "command": ["flywheel", "content-fetch"],
        "args": [
            f"--url={git.url}",
            f"--commit={commit}",
            f"--ref={git.ref}",
            f"--path={git.path}",
            f"--into={CONTENT_DIRECTORY}",
            f"--max-bytes={content.limits.max_size}",
            f"--max-files={content.limits.max_files}",
            f"--termination-log={TERMINATION_LOG}",
            *([f"--credentials={CREDENTIALS_DIRECTORY}"] if git.secret_name else []),
        ],
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": FETCH_RESOURCES,
        "securityContext": _security(),
        "volumeMounts": [
            {"name": _VOLUME, "mountPath": CONTENT_DIRECTORY},
            {"name": _TEMPORARY, "mountPath": TEMPORARY_DIRECTORY},
            *([credentials] if git.secret_name else []),
        ],
    }


def _server(name: str, content: Content, revision: str, image: str, port: int) -> Manifest:
    probe = {"httpGet": {"path": HEALTH_PATH, "port": port}}
    return {
        "name": name,
        "image": image,
        "command": ["flywheel", "content-serve"],
        "args": [
            f"--root={SITE_DIRECTORY}",
            f"--port={port}",
            f"--revision={revision}",
            f"--cache={int(content.cache.total_seconds())}s",
            *(["--spa-fallback"] if content.spa_fallback else []),
            *([] if content.git else ["--from-image"]),
        ],
        "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}],
        "resources": SERVE_RESOURCES,
        "securityContext": _security(),
        "readinessProbe": {**probe, "periodSeconds": 1, "failureThreshold": 4},
        "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 3},
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(LEAVE_SECONDS)]}}},
        "volumeMounts": [
            # An image's files are the site itself; a fetched site is a directory beside the work that made it.
            {"name": _VOLUME, "mountPath": CONTENT_DIRECTORY if content.git else SITE_DIRECTORY, "readOnly": True},
            {"name": _TEMPORARY, "mountPath": TEMPORARY_DIRECTORY},
        ],
    }


def _content_volume(content: Content) -> Manifest:
    # The pack, what it unpacks to, and packed copies of texts; the limits of the fetch are met first.
    size = 4 * content.limits.max_size + (64 << 20)
    return {"name": _VOLUME, "emptyDir": {"sizeLimit": str(size)}}


def _credential_volumes(git: GitContent) -> list[Manifest]:
    """Mount the keys that are of use and no others; the fetch says it when they are not there."""
    if git.secret_name is None:
        return []
    items = [{"key": key, "path": key} for key in CREDENTIAL_KEYS]
    secret = {"secretName": git.secret_name, "items": items, "optional": True, "defaultMode": 0o444}
    return [{"name": _CREDENTIALS, "secret": secret}]


def _security() -> Manifest:
    return {**CONTAINER_SECURITY, "readOnlyRootFilesystem": True, "runAsUser": USER, "runAsGroup": USER}
