"""The events that the edge takes in: whose, which, and what is kept of them."""

from typing import Annotated, Literal

from pydantic import Field

from flywheel.api.autoscaling import EventName
from flywheel.api.model import Distinct, KeyedBy, Model, Rule
from flywheel.api.quantities import Flag, Text, read_bytes
from flywheel.api.web import Origin

PropertyName = Annotated[
    str,
    Text(
        "^[^\\x00-\\x20\\x7f]([^\\x00-\\x1f\\x7f]*[^\\x00-\\x20\\x7f])?$",
        "the name of a property such as revenue, on one line",
        128,
    ),
]
WriteKey = Annotated[str, Text("^[A-Za-z0-9._~-]+$", "letters, digits and . _ ~ - such as yougou-618", 64)]
SpoolSize = Annotated[
    int,
    Text(
        "^((1[6-9]|[2-9][0-9]|[1-9][0-9]{2,4})Mi|[1-9][0-9]{0,3}Gi)$",
        "16Mi or more, in Mi or Gi, such as 1Gi",
        7,
        3,
        read_bytes,
        True,
    ),
]


class EventProperty(Model):
    """One property of an event."""

    name: PropertyName = Field(description="Name of the property.")
    type: Literal["string", "number", "integer", "boolean", "array", "object"] = Field(
        default="string", description="JSON type of the value. Default string."
    )
    required: Flag = Field(default=False, description="Whether an event without it is refused. Default false.")


class EventDeclaration(Model):
    """One event that the campaign knows."""

    constraints = (
        Rule(
            cel="self.name != 'other'",
            holds=lambda model: model.name != "other",
            message="in metrics other stands for all events that are not declared: choose another name",
            field="name",
        ),
    )

    name: EventName = Field(description="Name of the event, such as Order Completed.")
    properties: Annotated[
        tuple[EventProperty, ...], Field(max_length=64), KeyedBy(("name",), "remove one of the two")
    ] = Field(default=(), description="Properties that are checked; others may be there too.")


class EdgeEvents(Model):
    """How events are taken in, under /v1 of the edge."""

    write_keys: Annotated[tuple[WriteKey, ...], Field(min_length=1, max_length=16), Distinct("remove one")] | None = (
        Field(default=None, description="Keys with which clients may send; they are public. Default: the campaign.")
    )
    origins: Annotated[tuple[Origin, ...], Field(max_length=64), Distinct("remove one of the two")] = Field(
        default=(), description="Other sites whose pages may send events; pages of the edge itself always may."
    )
    declared: Annotated[
        tuple[EventDeclaration, ...], Field(max_length=128), KeyedBy(("name",), "remove one of the two")
    ] = Field(default=(), description="Events that are known, and what they must carry.")
    undeclared: Literal["Accept", "Reject"] = Field(
        default="Accept", description="What becomes of events that are not declared. Default Accept."
    )
    page_views: Literal["Edge", "Script"] = Field(
        default="Edge",
        description="Who counts page views: the edge its HTML answers (default), or the script's page calls.",
    )
    addresses: Literal["Hash", "Store", "Drop"] = Field(
        default="Hash", description="What is kept of client addresses: a salted hash (default), the address, nothing."
    )
    spool: SpoolSize = Field(
        default=1 << 30, description="Disk of an edge pod for events that the store has not taken yet. Default 1Gi."
    )
