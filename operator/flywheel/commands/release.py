"""`flywheel release`: releases of services with two slots, as people look at them and decide on them."""

import click

from flywheel.commands import release_orders, release_views


@click.group()
def release() -> None:
    """See how releases stand, and decide on them.

    As a plugin of kubectl: kubectl flywheel release status CAMPAIGN
    """


release.add_command(release_views.status)
release.add_command(release_orders.promote)
release.add_command(release_orders.abort)
release.add_command(release_orders.rollback)
release.add_command(release_orders.retry)
release.add_command(release_views.history)
release.add_command(release_views.pictures)
