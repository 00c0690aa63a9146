"""Links that show one variant to whoever opens them. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from flywheel.commands.abtest_seen import SeenTest, clean
from flywheel.experiment.preview import token
from flywheel.plan import Manifest

PARAMETER = "fw_variant"
FORWARDED = "localhost:8080"
"""Where `kubectl port-forward` of the edge is suggested."""


@dataclass(frozen=True, slots=True)
class Link:
    """One link."""

    variant: str
    address: str


def links_of(seen: SeenTest, campaign: Manifest) -> Iterator[Link]:
    """Give the links of each variant, control first, on each host name of the campaign.

    Args:
        seen: The test.
        campaign: Its Campaign as the API server has it.
    """
    path = path_of(seen, campaign)
    for variant in (seen.control, *seen.challengers):
        for host in hosts_of(campaign):
            yield Link(variant, f"{host}{path}?{PARAMETER}={token(seen.uid, variant)}")


def hosts_of(campaign: Manifest) -> tuple[str, ...]:
    """Give where the campaign is reached: scheme and host. Without a route, where its edge is forwarded to."""
    hosts = ((campaign.get("spec") or {}).get("route") or {}).get("hostnames") or ()
    # No link leads to a wildcard.
    named = tuple(f"https://{clean(str(each))}" for each in hosts if not str(each).startswith("*"))
    return named or (f"http://{FORWARDED}",)


def path_of(seen: SeenTest, campaign: Manifest) -> str:
    """Give a path that leads to the service: where the test is entered, or else the shortest that the edge knows."""
    for each in (seen.spec.get("targeting") or {}).get("paths") or ():
        return clean(str(each).removesuffix("*")) or "/"
    routes = ((campaign.get("spec") or {}).get("edge") or {}).get("routes") or ()
    own = sorted((str(each.get("path") or "/") for each in routes if each.get("service") == seen.service), key=len)
    return clean(own[0]) if own else "/"
