"""The coupon service in three versions: as the demo begins, mended, and broken in another way; the page's branches."""

import copy
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]
COUPON, CODE = "coupon", "VIP618"
PAGE = "landing"


@dataclass(frozen=True, slots=True)
class Version:
    """What its pods are told by their environment."""

    name: str
    rules: str


TOO_LITTLE = Version("1.0.0", "WELCOME=200-20 VIP618=300-3")
"""The mistake with which the demo begins: whoever has the text message gets ¥3 instead of ¥30."""
TOO_MUCH = Version("1.0.2", "WELCOME=200-20 VIP618=300-300")
"""One zero too many: an order of ¥300 for nothing."""


def version_of(campaign: Manifest) -> Version:
    """Read the version that a campaign asks for."""
    values = {each["name"]: each.get("value", "") for each in _coupon(campaign)["env"]}
    return Version(values["SHOP_VERSION"], values["COUPON_RULES"])


def with_version(campaign: Manifest, version: Version) -> Manifest:
    """Return `campaign` with another version of the coupon service, and nothing else changed."""
    made = copy.deepcopy(campaign)
    for variable in _coupon(made)["env"]:
        if variable["name"] == "SHOP_VERSION":
            variable["value"] = version.name
        elif variable["name"] == "COUPON_RULES":
            variable["value"] = version.rules
    return made


def branch_of(campaign: Manifest) -> str:
    """Read the branch that a campaign has its page from."""
    ref: str = _service(campaign, PAGE)["content"]["git"]["ref"]
    return ref


def with_branch(campaign: Manifest, branch: str) -> Manifest:
    """Return `campaign` with its page from another branch, and nothing else changed."""
    made = copy.deepcopy(campaign)
    _service(made, PAGE)["content"]["git"]["ref"] = branch
    return made


def _coupon(campaign: Manifest) -> Manifest:
    return _service(campaign, COUPON)


def _service(campaign: Manifest, name: str) -> Manifest:
    found: Manifest = next(each for each in campaign["spec"]["services"] if each["name"] == name)
    return found
