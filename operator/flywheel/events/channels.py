"""Where a visitor comes from: rules over UTM parameters, the referring host and parameters such as gclid.

HAProxy decides it for the first page of a visit and remembers it in a cookie; here it is decided for events that come
without one, by the same rules: the first rule of which any part fits wins.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from flywheel.edge.document import ChannelRule
from flywheel.edge.naming import CHANNELS_BUILT_IN

DIRECT, REFERRAL, OTHER = CHANNELS_BUILT_IN
LONGEST_URL = 2_048
LONGEST_PARAMETER = 256
_MOST_PARAMETERS = 100


class Utm(NamedTuple):
    """The parameters of a campaign, in lower case."""

    source: str = ""
    medium: str = ""
    campaign: str = ""
    content: str = ""
    term: str = ""


class Address(NamedTuple):
    """A page's address, taken apart."""

    url: str = ""
    """Without query and fragment."""
    host: str = ""
    path: str = ""
    utm: Utm = Utm()
    parameters: frozenset[str] = frozenset()
    """Names of the parameters of the query."""


@lru_cache(maxsize=4_096)
def take_apart(url: str) -> Address:
    """Take an address apart; one that is none gives an empty one."""
    try:
        parts = urlsplit(url[:LONGEST_URL])
        host = (parts.hostname or "").lower()
        pairs = parse_qsl(parts.query, max_num_fields=_MOST_PARAMETERS) if parts.query else []
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return Address()
    named = {name.lower(): value[:LONGEST_PARAMETER].lower() for name, value in reversed(pairs)}
    # Rebuilt from its parts: what may stand before the host is a name and a password.
    plain = f"{parts.scheme}://{host}{port}{parts.path}" if host and parts.scheme else parts.path
    utm = Utm(*(named.get(f"utm_{name}", "") for name in Utm._fields))
    return Address(plain, host, parts.path or ("/" if host else ""), utm, frozenset(named))


def classify(
    rules: Sequence[ChannelRule], utm: Utm, referrer: str, parameters: Collection[str] = (), own: Collection[str] = ()
) -> str:
    """Name the channel.

    Args:
        rules: The campaign's rules, in order.
        utm: Parameters of the campaign.
        referrer: Host name of the referring page, in lower case.
        parameters: Names of the query's parameters, in lower case.
        own: Hosts of the site itself: coming from there is no referral.
    """
    if referrer in own:
        referrer = ""
    for rule in rules:
        if _fits(rule, utm, referrer, parameters):
            return rule.name
    if any(utm):
        return OTHER
    return REFERRAL if referrer else DIRECT


def _fits(rule: ChannelRule, utm: Utm, referrer: str, parameters: Collection[str]) -> bool:
    return (
        (utm.source != "" and utm.source in rule.utm_source)
        or (utm.medium != "" and utm.medium in rule.utm_medium)
        or (utm.campaign != "" and utm.campaign in rule.utm_campaign)
        or (referrer != "" and any(_is_below(referrer, each) for each in rule.referrers))
        or any(each in parameters for each in rule.parameters)
    )


def _is_below(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")
