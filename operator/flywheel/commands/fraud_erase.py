"""The part of `flywheel erase` that reaches the fraud workers of a namespace."""

import time
from collections.abc import Iterator, Sequence

import click

from flywheel.commands.forward import Target, replicas_of
from flywheel.commands.fraud_access import JUDGE, Worker, worker
from flywheel.fraud.naming import ADMIN_PORT, WORKER

AT_ONCE = 1_000
"""Names in one request."""
LOOK = 0.5
"""Seconds between two looks at whether it is done."""
Names = Sequence[tuple[str, str]]
"""Kind and id: visitor, user or address."""


def erase_at_workers(
    namespace: str, urls: Sequence[str], campaign: str, names: Names, *, wait: bool, timeout: float
) -> None:
    """Erase people at all fraud workers of a namespace; say so.

    Args:
        namespace: Where they are.
        urls: Their admin ports, where they are forwarded already; else they are looked up and forwarded.
        campaign: Whose events the people sent.
        names: Who they are.
        wait: Whether to wait until nothing names them.
        timeout: Seconds for that, at each worker.

    Raises:
        click.ClickException: One cannot be reached, refuses, or needs longer; the message says what to do.
    """
    count = len(urls) or replicas_of(namespace, WORKER, JUDGE)
    for number in range(count):
        target = Target(JUDGE.name, f"{WORKER}-{number}", ADMIN_PORT, JUDGE.needs)
        with worker(namespace, urls[number] if urls else None, target) as asked:
            receipts = [asked.post("/erase", body) for body in _bodies(campaign, names)]
            told = ", ".join(each["receipt"] for each in receipts)
            click.echo(f"Receipt {told} of the fraud worker {urls[number] if urls else target.pod}.")
            if wait:
                _wait(asked, [each["receipt"] for each in receipts if not each["gone"]], timeout)
                click.echo("Nothing of the fraud worker's volume names them any more.")


def _bodies(campaign: str, names: Names) -> Iterator[dict[str, object]]:
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        body: dict[str, object] = {"campaign": campaign}
        for kind, field in (("visitor", "visitors"), ("user", "users"), ("address", "addresses")):
            body[field] = [value for each, value in some if each == kind]
        yield body


def _wait(asked: Worker, receipts: Sequence[str], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    for receipt in receipts:
        while not asked.get(f"/erase/{receipt}")["gone"]:
            if time.monotonic() > deadline:
                raise click.ClickException(
                    f"The fraud worker is not done after {timeout:g} s. It goes on; its log says what is in its way."
                )
            time.sleep(LOOK)
