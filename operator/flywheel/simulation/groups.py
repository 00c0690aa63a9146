"""Those who belong together in a behaviour file: crowds behind one address, and hunters. Each with its truth."""

import ipaddress
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from flywheel.api.model import Distinct, Model, Rule
from flywheel.api.quantities import Duration, Flag, Integer, Text
from flywheel.api.web import AddressRange

MOST_ADDRESSES = 65_536
RESERVED = ("shopper", "shoppers")
Truth = Literal["Honest", "Dishonest"]
Trait = Literal["Address", "Device", "Account", "Cookies"]


def size(network: str) -> int:
    """Give the number of addresses of a network."""
    return ipaddress.ip_network(network).num_addresses


def not_too_many() -> Rule:
    """Refuse a model whose addresses are too many."""
    return Rule(
        "true",
        lambda model: sum(size(each) for each in model.addresses or ()) <= MOST_ADDRESSES,
        f"at most {MOST_ADDRESSES} addresses in all: take smaller networks, such as 198.51.100.0/24",
        "addresses",
    )


def place_in(networks: Sequence[str], number: int) -> str:
    """Give an address of some networks by its number; after the last the first comes again."""
    number %= sum(size(each) for each in networks)
    for each in networks:
        if number < size(each):
            return str(ipaddress.ip_network(each)[number])
        number -= size(each)
    raise ValueError("networks have at least one address")


GroupName = Annotated[
    str, Text("^[a-z][a-z0-9_-]*$", "a name such as one-device: lowercase letters, digits, '-', '_'", 40)
]
Networks = Annotated[tuple[AddressRange, ...], Field(min_length=1, max_length=16), Distinct("remove one")]


class Bout(Model):
    """A while in which members of a group come, so many times in all. Times are the shoppers' own."""

    at: Duration = timedelta(0)
    length: Annotated[timedelta, Duration.__metadata__[0]] = Field(alias="for")
    visits: Annotated[Integer, Field(ge=1, le=100_000)]
    even: Flag = False
    """One after the other at equal distances, as a script with a timer; by default at random."""

    constraints = (
        Rule("true", lambda model: model.length > timedelta(0), "for must be longer than 0s: nobody could come", "for"),
    )


class Group(Model):
    """People, or the accounts of one hunter.

    What a person does not keep from one visit to the next is new at each of them: a hunter with fresh accounts keeps
    no `Account`, a telephone whose network changes its address keeps no `Address`.
    """

    name: GroupName
    truth: Truth
    """What a labels file will say of them."""
    journey: GroupName
    people: Annotated[Integer, Field(ge=1, le=10_000)] = 1
    """Those who come again and again, each on a device, with an account and cookies."""
    addresses: Networks
    """Addresses and networks from which they come. Those of one address are a crowd behind it."""
    keeps: Annotated[tuple[Trait, ...], Field(max_length=4), Distinct("remove one")] = (
        "Address",
        "Device",
        "Account",
        "Cookies",
    )
    bouts: Annotated[tuple[Bout, ...], Field(min_length=1, max_length=64)]

    constraints = (
        not_too_many(),
        Rule(
            "true",
            lambda model: model.name not in RESERVED,
            "is how those are called who belong to no group: take another name",
            "name",
        ),
    )

    def address(self, number: int) -> str:
        """Give an address of the group's by its number; after the last the first comes again."""
        return place_in(self.addresses, number)


class Stops(Model):
    """How the edge says no, by which a visit that was stopped is told from one that the shop refused."""

    statuses: Annotated[tuple[Annotated[int, Field(ge=400, le=599)], ...], Field(max_length=16)] = (403, 429)
    page: Annotated[str, Text("^/[^ ?#]*$", "a path of the campaign such as /prove", 1024)] | None = None
    """The page of a challenge: who is led there is challenged."""
