"""The pieces of a pod that serves content, and that they fit the commands that run in it."""

from typing import Any

import click
import pytest

from flywheel.api.content import Content
from flywheel.commands.content import content_fetch, content_serve
from flywheel.release.content.manifests import LEAVE_SECONDS, ContentParts, content_parts
from flywheel.release.content.serve import KEPT_SECONDS

COMMIT = "a" * 40
IMAGE = "registry.example/flywheel-content@sha256:" + "b" * 64
FILES = "registry.example/shop/landing@sha256:" + "c" * 64
GIT = {"url": "https://git.example/shop/landing.git", "path": "/dist", "secretName": "git-login"}


def parts(**content: Any) -> ContentParts:
    return content_parts("landing", Content.model_validate(content), COMMIT, IMAGE, 8080)


def containers(made: ContentParts) -> list[dict[str, Any]]:
    return [*made.init_containers, made.container]


def understood(command: click.Command, container: dict[str, Any]) -> dict[str, Any]:
    """What a command makes of its arguments; it fails if it does not understand one."""
    name, arguments = container["command"][1], list(container["args"])
    return command.make_context(name, arguments).params


@pytest.mark.parametrize("content", [{"git": GIT}, {"image": FILES}])
def test_everything_runs_with_the_least_that_it_needs(content: dict[str, Any]) -> None:
    for container in containers(parts(**content)):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 65532)
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}


@pytest.mark.parametrize("content", [{"git": GIT}, {"git": {"url": GIT["url"]}}, {"image": FILES}])
def test_every_mount_has_its_volume_and_every_volume_its_mount(content: dict[str, Any]) -> None:
    made = parts(**content)
    mounted = {mount["name"] for container in containers(made) for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in made.volumes}


def test_the_commit_and_nothing_else_is_fetched_before_it_is_served() -> None:
    made = parts(git=GIT, limits={"maxSize": "512Mi", "maxFiles": 500})
    fetched = understood(content_fetch, made.init_containers[0])
    assert (fetched["url"], fetched["commit"], fetched["path"]) == (GIT["url"], COMMIT, "/dist")
    assert (fetched["max_bytes"], fetched["max_files"]) == (512 << 20, 500)
    assert not fetched["allow_loopback"]
    served = understood(content_serve, made.container)
    assert (served["revision"], served["port"], served["cache"]) == (COMMIT, 8080, 60)
    assert served["root"] == fetched["into"] / "site"
    assert not served["from_image"]


def test_only_the_fetch_can_write_and_only_the_fetch_sees_credentials() -> None:
    made = parts(git=GIT)
    [fetch] = made.init_containers
    assert [mount.get("readOnly", False) for mount in fetch["volumeMounts"]] == [False, False, True]
    mounts = {mount["name"]: mount.get("readOnly", False) for mount in made.container["volumeMounts"]}
    assert mounts == {"flywheel-content": True, "flywheel-content-temporary": False}
    secret = made.volumes[2]["secret"]
    assert secret["secretName"] == "git-login"
    assert {item["key"] for item in secret["items"]} == {"username", "password", "token", "ca.crt"}


def test_an_image_is_mounted_and_nothing_is_fetched() -> None:
    made = parts(image=FILES, spaFallback=True, cache="5m")
    assert made.init_containers == []
    assert made.volumes[0]["image"] == {"reference": FILES, "pullPolicy": "IfNotPresent"}
    served = understood(content_serve, made.container)
    assert (served["from_image"], served["spa_fallback"], served["cache"]) == (True, True, 300)
    assert served["revision"] == "sha256:" + "c" * 64
    assert made.container["volumeMounts"][0]["mountPath"] == str(served["root"])


def test_a_pod_that_goes_serves_on_until_it_is_known() -> None:
    assert parts(git=GIT).container["lifecycle"]["preStop"] == {"exec": {"command": ["sleep", "5"]}}


def test_every_client_that_keeps_asking_is_sent_away_before_a_pod_ends() -> None:
    # A second for every node to know that the pod goes, so that no connection begins later; one to spare.
    assert KEPT_SECONDS + 1 < LEAVE_SECONDS
