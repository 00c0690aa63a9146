"""A real Git server with one repository, for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.git_server import GitServer
from tests.unit.content.repositories import Repository

from flywheel.release.content.fetch import Order


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the server's repositories are."""
    directory = tmp_path / "repositories"
    directory.mkdir()
    return directory


@pytest.fixture
def repository(root: Path) -> Repository:
    return Repository(root)


@pytest.fixture
def server(root: Path) -> Iterator[GitServer]:
    with GitServer(root) as running:
        yield running


@pytest.fixture
def old_server(root: Path) -> Iterator[GitServer]:
    """A server that speaks only the old protocol."""
    with GitServer(root, old_protocol=True) as running:
        yield running


@pytest.fixture
def order(server: GitServer, repository: Repository) -> Order:
    return Order(server.url(repository.name), "", allow_loopback=True)


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "content"
