"""Arguments and options that the release commands share."""

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from flywheel.commands.release_seen import Place

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class Name(click.ParamType[str]):
    """A name as Kubernetes takes it: it becomes part of an address."""

    name = "name"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check a name."""
        text = str(value)
        if text and not _NAME.fullmatch(text):
            self.fail(f"{text!r} is no name: lowercase letters, digits, '-' and '.'.", param, ctx)
        return text


campaign_argument = click.argument("campaign", type=Name())
service_argument = click.argument("service", type=Name(), default="")
namespace_option = click.option(
    "--namespace", "-n", type=Name(), default="default", show_default=True, help="Where the campaign is."
)


def place_of(campaign: str, namespace: str) -> "Place":
    """Say which Campaign is meant, and in the words by which this program was called."""
    from flywheel.commands.release_seen import Place

    if not campaign:
        raise click.UsageError("Say which campaign.")
    called = click.get_current_context().find_root().info_name or ""
    program = "kubectl flywheel" if called.startswith("kubectl-") else "flywheel"
    return Place(campaign, namespace or "default", program)
