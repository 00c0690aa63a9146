"""Reaching the fraud worker of a namespace, and how its refusals read to people."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from flywheel.commands.forward import Target, worker_address
from flywheel.commands.release_options import Name
from flywheel.fraud.naming import ADMIN_PORT, WORKER

if TYPE_CHECKING:
    import httpx

TIMEOUT = 30.0
CONNECT_TIMEOUT = 10.0
JUDGE = Target("fraud worker", f"{WORKER}-0", ADMIN_PORT, "a FraudRule with an open Campaign")
Command = TypeVar("Command", bound=Callable[..., Any])


def place_options(command: Command) -> Command:
    """Add the options that say where, and of which campaign."""
    name = Name()
    command = click.option("--url", help="Address of the worker's admin port, where it is forwarded already.")(command)
    command = click.option("--campaign", type=name, default="", help="Which one, where there are several.")(command)
    where = click.option(
        "--namespace", "-n", type=name, default="default", show_default=True, help="Where the campaigns are."
    )
    return where(command)


class Worker:
    """A fraud worker that answers."""

    def __init__(self, client: "httpx.Client", address: str) -> None:
        self._client, self._address = client, address

    def get(self, path: str, **query: str | int | list[str]) -> Any:
        """Ask for something.

        Raises:
            click.ClickException: It refuses, or does not answer; the message says why.
        """
        return self._called("GET", path, params={key: value for key, value in query.items() if value != ""})

    def post(self, path: str, body: object) -> Any:
        """Tell something. Errors as of `get`."""
        return self._called("POST", path, json=body)

    def _called(self, method: str, path: str, **options: Any) -> Any:
        import httpx

        try:
            answer = self._client.request(method, path, **options)
            content = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise click.ClickException(f"The fraud worker at {self._address} does not answer: {error}") from error
        if answer.is_error:
            message = content.get("message") if isinstance(content, dict) else None
            raise click.ClickException(_in_words(message or f"The fraud worker answered {answer.status_code}."))
        return content


@contextmanager
def worker(namespace: str, url: str | None, target: Target = JUDGE) -> Iterator[Worker]:
    """Reach a worker, for as long as the context lasts.

    Raises:
        click.ClickException: There is no way; the message says why and what to do.
    """
    import httpx

    with worker_address(namespace, url, target) as address:
        timeout = httpx.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT)
        with httpx.Client(base_url=address, timeout=timeout, trust_env=False) as client:
            yield Worker(client, address)


def _in_words(message: str) -> str:
    """Say with which option a refusal is mended."""
    if message.startswith("campaign: "):
        return f"{message} Name it with --campaign."
    return message
