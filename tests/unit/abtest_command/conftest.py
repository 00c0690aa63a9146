"""A test `button` of a Campaign in the namespace `spring`, and the command as a person calls it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.unit.abtest_command.api import Api
from tests.unit.abtest_command.story import Story
from tests.unit.api_server import serving

from flywheel.cli import main

Called = Callable[..., Result]
Opened = Callable[..., Api]


def campaign(**spec: Any) -> dict[str, Any]:
    """The Campaign as its author wrote it."""
    return {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "Campaign",
        "metadata": {"name": "yougou-618", "namespace": "spring", "resourceVersion": "3", "uid": "u"},
        "spec": {
            "services": [
                {"name": "seckill", "image": "shop/seckill:1", "port": 8080},
                {
                    "name": "landing",
                    "image": "shop/landing:1.4",
                    "port": 8080,
                    "env": [{"name": "BUTTON", "value": "red"}, {"name": "SHOP", "value": "优购"}],
                },
            ],
            "route": {"parentRefs": [{"name": "public"}], "hostnames": ["618.example", "m.618.example"]},
            "edge": {
                "routes": [{"path": "/coupon", "service": "landing"}, {"path": "/", "service": "seckill"}],
                "events": {"declared": [{"name": "Coupon Claimed"}, {"name": "Left"}, {"name": "Order Completed"}]},
            },
            **spec,
        },
        "status": {"stage": "Live", "edge": {"url": "http://yougou-618-edge.spring.svc"}},
    }


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Open a server with tests that have come so far."""
    path = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr("flywheel.commands.abtest_views.EVERY", 0.01)
    made: list[Any] = []

    def open_with(*stories: Story, **spec: Any) -> Api:
        tests = {each.manifest["metadata"]["name"]: each.manifest for each in stories}
        api = Api(tests=tests, campaigns={"yougou-618": campaign(**spec)})
        context = serving(api, path)
        context.__enter__()
        made.append(context)
        return api

    yield open_with
    for context in made:
        context.__exit__(None, None, None)


@pytest.fixture
def called() -> Called:
    """Call `flywheel abtest ...` in the namespace of the test."""

    def call(*arguments: str, program: str = "flywheel", **env: str) -> Result:
        return CliRunner(env=env).invoke(main, ["abtest", *arguments, "-n", "spring"], prog_name=program)

    return call
