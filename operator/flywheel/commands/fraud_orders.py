"""`flywheel fraud unblock|allow`: letting people go, now and for a while."""

import getpass
import ipaddress
import time
from typing import Any

import click

from flywheel.commands import fraud_added
from flywheel.commands.fraud_access import place_options, workers
from flywheel.commands.fraud_views import moment, plain
from flywheel.commands.options import Duration
from flywheel.commands.release_options import Name

KINDS = ("address", "visitor", "user", "device")
LONGEST_BY = 128
_of = click.option("--of", "kind", type=click.Choice(KINDS), help="What it is; addresses are known by their form.")


@click.command()
@click.argument("who", required=False, default="")
@place_options
@_of
@click.option("--rule", type=Name(), default="", help="End everything that this rule decided.")
@click.option("--decision", default="", help="End one decision, by its id in `list -o json`.")
def unblock(
    who: str, namespace: str, campaign: str, urls: tuple[str, ...], *, kind: str | None, rule: str, decision: str
) -> None:
    """End what holds about WHO, or all of a rule. Whoever breaks the rule again is blocked again: see `allow`."""
    if sum(map(bool, (who, rule, decision))) != 1:
        raise click.UsageError("Say what is to end: exactly one of WHO, --rule and --decision.")
    body: dict[str, Any] = {"campaign": campaign, "rule": rule, "decision": decision}
    if who:
        body |= {"kind": kind or kind_of(who), "value": who}
    with workers(namespace, urls) as asked:
        ended = fraud_added.ended(asked.post("/unblock", body))
    for each in ended:
        subject = f"{each['kind']} {plain(each['value'])}"
        click.echo(f"Ended: {each.get('action', 'Block')} of {subject} by {each.get('rule', '')}.")
    if not ended:
        hint = "flywheel fraud list shows what does" if who or decision else "its name may be another one"
        raise click.ClickException(f"Nothing of that holds: {hint}.")


@click.command()
@click.argument("who")
@place_options
@_of
@click.option("--for", "lasts", type=Duration(), default="24h", show_default=True, help="For how long; 90d at most.")
@click.option("--rule", type=Name(), default="", help="By this rule only; by all of them otherwise.")
@click.option("--reason", default="", help="Why, for whoever finds it later.")
@click.option("--by", default="", help="Who says so; by default who you are on this machine.")
@click.option("--end", is_flag=True, help="Take it back.")
def allow(
    who: str,
    namespace: str,
    campaign: str,
    urls: tuple[str, ...],
    *,
    kind: str | None,
    lasts: float,
    rule: str,
    reason: str,
    by: str,
    end: bool,
) -> None:
    """Leave WHO alone for a while, whatever the rules find. What holds about them ends at once."""
    if not end and not reason.strip():
        raise click.UsageError("Say why with --reason, for whoever finds it later.")
    until = 0 if end else int((time.time() + lasts) * 1000)
    kind = kind or kind_of(who)
    body = {"kind": kind, "value": who, "until": until, "rule": rule, "reason": reason, "by": by or myself()}
    with workers(namespace, urls) as asked:
        said = asked.post("/allow", {"campaign": campaign, **body})
    done = said[0] | {"ended": sum(each["ended"] for each in said)}
    by_whom = f"by {rule}" if rule else "by all rules"
    if end:
        click.echo(f"The {kind} {plain(done['value'])} is no longer left alone {by_whom}.")
        return
    told = f"The {kind} {plain(done['value'])} is left alone {by_whom} until {moment(until)}."
    click.echo(f"{told} {_ended(done['ended'])}")


def _ended(count: int) -> str:
    return f"{count} decision{'s' if count != 1 else ''} about it ended." if count else "Nothing held about it."


def kind_of(who: str) -> str:
    """Say what somebody is named by, where the form tells.

    Raises:
        click.UsageError: It does not.
    """
    try:
        ipaddress.ip_network(who, strict=False)
    except ValueError:
        raise click.UsageError(f"Say what {who!r} is: --of visitor, --of user or --of device.") from None
    return "address"


def myself() -> str:
    """Name who runs this command; empty where the machine does not know."""
    try:
        return getpass.getuser()[:LONGEST_BY]
    except (KeyError, OSError):
        return ""
