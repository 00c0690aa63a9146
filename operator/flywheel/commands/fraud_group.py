"""`flywheel fraud`: rules of fraud, as people try them, follow them and correct them."""

import click

from flywheel.commands import fraud_backtest, fraud_labels, fraud_orders, fraud_views


@click.group()
def fraud() -> None:
    """Try fraud rules on what was, see whom they find and why, let people go, and say who was dishonest.

    As a plugin of kubectl: kubectl flywheel fraud list
    """


fraud.add_command(fraud_backtest.backtest)
fraud.add_command(fraud_views.explain)
fraud.add_command(fraud_views.list_decisions)
fraud.add_command(fraud_orders.unblock)
fraud.add_command(fraud_orders.allow)
fraud.add_command(fraud_labels.label)
