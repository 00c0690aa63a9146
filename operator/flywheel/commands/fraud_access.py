"""Reaching the fraud workers of a namespace, all of them, and how their refusals read to people."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from flywheel.commands.forward import Target, replicas_of, worker_address, worker_addresses
from flywheel.commands.release_options import Name
from flywheel.fraud.naming import ADMIN_PORT, WORKER, worker_name

if TYPE_CHECKING:
    import httpx

TIMEOUT = 30.0
CONNECT_TIMEOUT = 10.0
JUDGE = Target("fraud worker", f"{WORKER}-0", ADMIN_PORT, "a FraudRule with an open Campaign")
Command = TypeVar("Command", bound=Callable[..., Any])


def place_options(command: Command) -> Command:
    """Add the options that say where, and of which campaign."""
    name = Name()
    command = click.option(
        "--url",
        "urls",
        multiple=True,
        help="Address of the worker's admin port, where it is forwarded already; again for each of several workers.",
    )(command)
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


class Workers:
    """All fraud workers of a namespace: each knows its own keys, and what is said has to be said to each."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._workers)

    def get(self, path: str, **query: str | int | list[str]) -> list[Any]:
        """Ask each for something; give what each says.

        Raises:
            click.ClickException: One of them refuses, or does not answer; the message says why.
        """
        return [each.get(path, **query) for each in self._workers]

    def post(self, path: str, body: object) -> list[Any]:
        """Tell each something; give what each says.

        Raises:
            click.ClickException: One of them refuses, or does not answer, after all others were told.
        """
        said, failures = [], []
        for each in self._workers:
            try:
                said.append(each.post(path, body))
            except click.ClickException as error:
                failures.append(error.message)
        if failures:
            others = "\nThe other workers have done it: do it again once this one is back." if said else ""
            raise click.ClickException("\n".join(dict.fromkeys(failures)) + others)
        return said


@contextmanager
def worker(namespace: str, url: str | None, target: Target = JUDGE) -> Iterator[Worker]:
    """Reach a worker, for as long as the context lasts.

    Raises:
        click.ClickException: There is no way; the message says why and what to do.
    """
    with worker_address(namespace, url, target) as address, _client(address) as client:
        yield Worker(client, address)


@contextmanager
def workers(namespace: str, urls: Sequence[str]) -> Iterator[Workers]:
    """Reach all workers, for as long as the context lasts.

    Args:
        namespace: Where they are.
        urls: Their addresses, where somebody else sees to the forwarding.

    Raises:
        click.ClickException: There is no way; the message says why and what to do.
    """
    with ExitStack() as stack:
        addresses = tuple(each.rstrip("/") for each in urls)
        if not addresses:
            # Where there is none, forwarding to the first says why.
            numbers = range(replicas_of(namespace, WORKER, JUDGE) or 1)
            targets = [replace(JUDGE, pod=worker_name(number)) for number in numbers]
            addresses = stack.enter_context(worker_addresses(namespace, targets))
        yield Workers([Worker(stack.enter_context(_client(each)), each) for each in addresses])


def _client(address: str) -> "httpx.Client":
    import httpx

    return httpx.Client(base_url=address, timeout=httpx.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT), trust_env=False)


def _in_words(message: str) -> str:
    """Say with which option a refusal is mended."""
    if message.startswith("campaign: "):
        return f"{message} Name it with --campaign."
    return message
