"""A Campaign `shop` in the namespace `spring`, and the command as a person calls it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.unit.api_server import serving
from tests.unit.release.world import Service, World, release
from tests.unit.release_command.api import Api

from flywheel.cli import main

Opened = Callable[..., Api]
Called = Callable[..., Result]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Open a server for services that serve revision `one`; their `release` by name."""
    path = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr("flywheel.commands.release_orders.POLL", 0.01)
    with ExitStack() as stack:

        def open_for(**specs: dict[str, Any]) -> Api:
            world = World(*(Service(name, release(**spec)) for name, spec in specs.items()))
            world.settle()
            api = Api(world, {name: {"strategy": "BlueGreen", **spec} for name, spec in specs.items()})
            stack.enter_context(serving(api, path))
            return api

        yield open_for


@pytest.fixture
def called() -> Called:
    """Call `flywheel release ...` in the namespace of the Campaign."""

    def call(*arguments: str, program: str = "flywheel", **env: str) -> Result:
        verb, *rest = arguments
        return CliRunner(env=env).invoke(main, ["release", verb, "shop", *rest, "-n", "spring"], prog_name=program)

    return call
