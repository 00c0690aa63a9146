"""Arguments and options that the commands about tests share."""

from typing import TYPE_CHECKING

import click

from flywheel.commands.release_options import Name

if TYPE_CHECKING:
    from flywheel.commands.abtest_seen import Place

test_argument = click.argument("name", type=Name())
namespace_option = click.option(
    "--namespace", "-n", type=Name(), default="default", show_default=True, help="Where the test is."
)


def place_of(name: str, namespace: str) -> "Place":
    """Say which test is meant, and in the words by which this program was called."""
    from flywheel.commands.abtest_seen import Place

    called = click.get_current_context().find_root().info_name or ""
    program = "kubectl flywheel" if called.startswith("kubectl-") else "flywheel"
    return Place(name, namespace or "default", program)
