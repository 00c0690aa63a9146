"""`flywheel abtest`: A/B tests, as people plan them, follow them and decide on them."""

import click

from flywheel.commands import abtest_orders, abtest_plan, abtest_shown, abtest_views


@click.group()
def abtest() -> None:
    """Plan A/B tests, follow them, and say what becomes of them.

    As a plugin of kubectl: kubectl flywheel abtest watch NAME
    """


abtest.add_command(abtest_plan.plan)
abtest.add_command(abtest_views.list_tests)
abtest.add_command(abtest_views.status)
abtest.add_command(abtest_views.watch)
abtest.add_command(abtest_orders.pause)
abtest.add_command(abtest_orders.resume)
abtest.add_command(abtest_orders.stop)
abtest.add_command(abtest_orders.promote)
abtest.add_command(abtest_orders.extend)
abtest.add_command(abtest_shown.preview)
abtest.add_command(abtest_shown.adopt)
abtest.add_command(abtest_shown.report)
