"""`flywheel fraud`: rules of fraud, as people try them."""

import click

from flywheel.commands import fraud_flink


@click.group()
def fraud() -> None:
    """Try fraud rules on what was, before they judge what comes.

    As a plugin of kubectl: kubectl flywheel fraud flink FILE
    """


fraud.add_command(fraud_flink.flink)
