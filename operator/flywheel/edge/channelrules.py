"""Where a visitor comes from, in HAProxy's words: the first declared rule that fits, else what is built in."""

from collections.abc import Iterator

from flywheel.edge.document import ChannelRule, EdgeDocument
from flywheel.edge.naming import CHANNEL_COOKIE, CHANNELS_BUILT_IN
from flywheel.edge.quoting import acl_lines, host_name, name_token, parameter_name

UTM = {"us": "utm_source", "um": "utm_medium", "uc": "utm_campaign", "uo": "utm_content", "ut": "utm_term"}
"""Variable, which is also the key in the access log -> parameter of the query."""
KNOWN_CHANNELS = "channels.map"
DIRECT = CHANNELS_BUILT_IN[0]


def agreement(document: EdgeDocument) -> str:
    """Give the condition that a visitor has consented, with a space behind it; nothing where nobody is asked."""
    return "{ var(txn.cns) -m found } " if document.visitor.consent is not None else ""


def if_agreed(document: EdgeDocument) -> str:
    """Give the end of a rule that holds for those who have consented."""
    return f" if {agreement(document).strip()}" if document.visitor.consent is not None else ""


def known_channels(document: EdgeDocument) -> dict[str, str]:
    """Give the entries of the map of all channels: a cookie with another one was not set here."""
    names = [name_token(rule.name, f"channels[{index}].name") for index, rule in enumerate(document.channels)]
    return {name: name for name in (*names, *CHANNELS_BUILT_IN)}


def remembered(document: EdgeDocument, directory: str) -> Iterator[str]:
    """Give the rules that read where a visitor came from the last time, and from which page they come now."""
    # What is taken is what was judged: there may be several cookies.
    cookie = f"req.cook({CHANNEL_COOKIE}),map_str({directory}/{KNOWN_CHANNELS})"
    yield f"http-request set-var(txn.ch) {cookie}{if_agreed(document)}"
    yield "http-request set-var(txn.ref) req.fhdr(referer),field(3,/),host_only"
    yield from _outside(document)


def arrivals(document: EdgeDocument) -> Iterator[str]:
    """Give the rules that find the channel of a request which may bring somebody anew.

    UTM or another site's page does; else the cookie of the last time counts; else it is direct.
    """
    yield "acl has_utm query -m sub utm_"
    for variable, parameter in UTM.items():
        yield f"http-request set-var(txn.{variable}) url_param({parameter}),url_dec(1),lower if has_utm"
    yield "acl arrives url -m sub ?"
    yield "acl arrives var(txn.out) -m found"
    for index, rule in enumerate(document.channels):
        conditions = list(_acls(rule, index))
        yield from conditions
        if conditions:
            yield (
                f"http-request set-var(txn.came) str({name_token(rule.name, f'channels[{index}].name')}) "
                f"if arrives !{{ var(txn.came) -m found }} channel{index}"
            )
    nowhere = "!{ var(txn.came) -m found }"
    for variable in ("us", "um", "uc"):
        yield f"http-request set-var(txn.came) str(other) if has_utm {nowhere} {{ var(txn.{variable}) -m len gt 0 }}"
    yield f"http-request set-var(txn.came) str(referral) if {{ var(txn.out) -m found }} {nowhere}"
    yield "http-request set-var(txn.ch) var(txn.came)"
    yield (
        f"http-request set-var(txn.newch) int(1) if {{ var(txn.came) -m found }} {agreement(document)}!collect "
        f"!{{ req.cook({CHANNEL_COOKIE}),strcmp(txn.came) eq 0 }}"
    )


def _outside(document: EdgeDocument) -> Iterator[str]:
    """A page of the campaign itself brings nobody anew."""
    own = sorted({host for route in document.routes for host in route.hosts})
    ends = [host[1:] for host in own if host.startswith("*.")]
    exact = [host for host in own if not host.startswith("*.")]
    if document.visitor.domain:
        domain = document.visitor.domain.lstrip(".").lower()
        exact.append(domain)
        ends.append(f".{domain}")
    yield "acl own_page var(txn.ref),strcmp(txn.host) eq 0"
    yield from acl_lines("own_page", "var(txn.ref)", "str", exact, "routes.hosts")
    yield from acl_lines("own_page", "var(txn.ref)", "end", ends, "routes.hosts")
    yield "http-request set-var(txn.out) var(txn.ref) if { var(txn.ref) -m len gt 0 } !own_page"


def _acls(rule: ChannelRule, index: int) -> Iterator[str]:
    acl, path = f"channel{index}", f"channels[{index}]"
    yield from acl_lines(acl, "var(txn.us)", "str", rule.utm_source, f"{path}.utmSource")
    yield from acl_lines(acl, "var(txn.um)", "str", rule.utm_medium, f"{path}.utmMedium")
    yield from acl_lines(acl, "var(txn.uc)", "str", rule.utm_campaign, f"{path}.utmCampaign")
    hosts = [host_name(host, f"{path}.referrers") for host in rule.referrers]
    yield from acl_lines(acl, "var(txn.out)", "str", hosts, f"{path}.referrers")
    yield from acl_lines(acl, "var(txn.out)", "end", [f".{host}" for host in hosts], f"{path}.referrers")
    for number, name in enumerate(rule.parameters):
        yield f"acl {acl} url_param({parameter_name(name, f'{path}.parameters[{number}]')}) -m found"
