"""Who takes part in a test."""

import re
from typing import Annotated, Literal

from pydantic import Field

from flywheel.api.kubernetes import exactly_one
from flywheel.api.model import Distinct, Model, Rule
from flywheel.api.quantities import Text
from flywheel.api.web import HeaderName

_ONCE = "remove one of the two"
_RESERVED = "^/(v1(/.*)?|fw[.]js)$"
_UNNORMAL = "//|/[.][.]?(/|$)"
# What names a person does not belong into a spec, and what the edge sets itself says nothing of the visitor.
_SECRET = frozenset(["authorization", "cookie", "proxy-authorization"])
_NO_TARGET = f"^(?i)({'|'.join(sorted(_SECRET))}|x-fw-.*)$"
_PARTS = ("paths", "headers", "devices", "regions", "visitors", "segments")

PathGlob = Annotated[
    str,
    Text(
        "^/([-A-Za-z0-9/._~!$&'()+,;=:@]|%[0-9a-fA-F]{2})*[*]?$",
        "a path that starts with '/', without query, such as /coupon, or /coupon* for all that begin so",
        512,
        explain=True,
    ),
]
WantedHeader = Annotated[
    str, Text("^[!-~]([ -~]*[!-~])?$", "printable ASCII on one line, without spaces around it, such as zh-CN", 256)
]
Region = Annotated[str, Text("^[!-~]+$", "a region as edge.regionHeader tells it, such as CN-SH, without spaces", 64)]
SegmentName = Annotated[
    str,
    Text("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "lowercase letters, digits and '-', at most 40, such as big-spenders", 40),
]


class TargetHeader(Model):
    """A header of the request that a participant sends."""

    constraints = (
        exactly_one(("value", "values"), ("value", "values"), "a header"),
        Rule(
            cel=f"!self.name.matches('{_NO_TARGET}')",
            holds=lambda model: model.name.lower() not in _SECRET and not model.name.lower().startswith("x-fw-"),
            message="nobody is told apart by cookies, credentials and the edge's own headers: use devices, visitors or "
            "segments, or a header such as Accept-Language",
            field="name",
        ),
    )

    name: HeaderName = Field(description="Name of the header, such as Accept-Language; case does not matter.")
    value: WantedHeader | None = Field(default=None, description="The whole value that it must have, such as zh-CN.")
    values: Annotated[tuple[WantedHeader, ...], Field(min_length=1, max_length=16), Distinct(_ONCE)] | None = Field(
        default=None, description="Several values of which it must have one, instead of value."
    )

    @property
    def wanted(self) -> tuple[str, ...]:
        """The values, whichever way they were written."""
        return (self.values or ()) if self.value is None else (self.value,)


class Targeting(Model):
    """Who takes part: a visitor of whom everything that is given here is true."""

    constraints = (
        Rule(
            cel=" || ".join(f"has(self.{part})" for part in _PARTS),
            holds=lambda model: bool(model.model_fields_set),
            message=f"a targeting of nobody in particular says nothing: add one of {', '.join(_PARTS)}, or take it out",
        ),
        Rule(
            cel=f"!has(self.paths) || self.paths.all(p, !p.matches('{_RESERVED}') && !p.matches('{_UNNORMAL}'))",
            holds=lambda model: (
                not any(re.search(_RESERVED, path) or re.search(_UNNORMAL, path) for path in model.paths)
            ),
            message="each path must be one of the service, in its normal form: /v1 and /fw.js are the edge's own, and "
            "'//', '/./' and '/../' never arrive",
            field="paths",
        ),
        Rule(
            cel="!has(self.headers) || self.headers.all(h, self.headers.exists_one(o, o.name.lowerAscii() == "
            "h.name.lowerAscii()))",
            holds=lambda model: len({each.name.lower() for each in model.headers}) == len(model.headers),
            message="each header may be there once: put all its values into one item, such as {name: X-App, values: "
            "[ios, android]}",
            field="headers",
        ),
    )

    paths: Annotated[tuple[PathGlob, ...], Field(min_length=1, max_length=16), Distinct(_ONCE)] = Field(
        default=(),
        description="Paths where a visitor enters the test, such as [/coupon*]; '*' at the end stands for anything. "
        "Whoever is in sees the variant on every path of the service. Default: all.",
    )
    headers: Annotated[tuple[TargetHeader, ...], Field(min_length=1, max_length=8)] = Field(
        default=(), description="Headers that must all have the value, such as [{name: X-App, values: [ios, android]}]."
    )
    devices: Annotated[
        tuple[Literal["Phone", "Tablet", "Desktop"], ...], Field(min_length=1, max_length=3), Distinct(_ONCE)
    ] = Field(default=(), description="Kinds of devices, such as [Phone, Tablet]. Default: all.")
    regions: Annotated[tuple[Region, ...], Field(min_length=1, max_length=64), Distinct(_ONCE)] = Field(
        default=(),
        description="Regions as edge.regionHeader of the Campaign tells them, such as [CN-SH, CN-BJ]. Default: all.",
    )
    visitors: Literal["All", "New", "Returning"] = Field(
        default="All",
        description="New: whoever had no cookie fw_vid when the visit began in which the test could first be entered. "
        "Returning: everybody else. All: both. Default All.",
    )
    segments: Annotated[tuple[SegmentName, ...], Field(min_length=1, max_length=16), Distinct(_ONCE)] = Field(
        default=(),
        description="Segments of which a visitor must be in at least one, such as [big-spenders]. Services of the "
        "Campaign say who is in which, by the header X-FW-Segments of an answer.",
    )
