"""The browser gate: steps that a real browser takes on a revision's pages before visitors do."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from flywheel.api.durations import between
from flywheel.api.kubernetes import ResourcesManifest, exactly_one
from flywheel.api.model import Distinct, KeyedBy, Model, Rule
from flywheel.api.quantities import Duration, Flag, Integer, Text, read_duration
from flywheel.api.web import HeaderName, HeaderValue, ReferrerHost

# Bounds are in the patterns and lengths: with so many steps, CEL's budget does not reach for words beside them.
PagePath = Annotated[
    str,
    Text(
        "^/([^/\\\\\\x00-\\x20\\x7f][^\\\\\\x00-\\x20\\x7f]*)?$",
        "a path on the address, with a query if need be, such as /coupon?utm_source=sms: it starts with one '/', and a "
        "space is %20",
        1024,
    ),
]
Selector = Annotated[
    str,
    Text("^[^\\x00-\\x20\\x7f]([^\\x00-\\x1f\\x7f]*[^\\x00-\\x20\\x7f])?$", "a CSS selector such as #claim", 256),
]
PageText = Annotated[
    str,
    Text("^[^\\x00-\\x20\\x7f]([^\\x00-\\x1f\\x7f]*[^\\x00-\\x20\\x7f])?$", "a text of the page, on one line", 256),
]
AddressGlob = Annotated[
    str,
    Text(
        "^[/*][^\\\\\\x00-\\x20\\x7f]*$",
        "path and query with * for any characters, such as /orders/*; it starts with '/' or '*'",
        1024,
    ),
]
Key = Annotated[str, Text("^[!-~]+$", "a key or several at once, such as Enter or Control+A", 32)]
PictureName = Annotated[
    str,
    Text("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "lowercase letters, digits and '-', at most 40, such as claimed", 40),
]
Pause = Annotated[
    timedelta, Text("^([1-9]|[1-5][0-9]|60)s$", "whole seconds from 1s to 60s, such as 2s", 3, 2, read_duration)
]
Role = Literal[
    "alert",
    "button",
    "checkbox",
    "combobox",
    "heading",
    "img",
    "link",
    "listitem",
    "menuitem",
    "option",
    "radio",
    "row",
    "searchbox",
    "slider",
    "spinbutton",
    "switch",
    "tab",
    "textbox",
]

STEPS = {
    "open": "open",
    "click": "click",
    "clickText": "click_text",
    "clickRole": "click_role",
    "fill": "fill",
    "select": "select",
    "press": "press",
    "expectText": "expect_text",
    "expectTextIn": "expect_text_in",
    "visible": "visible",
    "hidden": "hidden",
    "url": "url",
    "title": "title",
    "status": "status",
    "waitFor": "wait_for",
    "screenshot": "screenshot",
    "noConsoleErrors": "no_console_errors",
}
"""What a step can be, as it is spelled in YAML, and the attribute that holds it."""
MOST_SCREENSHOTS = 5
"""One more is kept for the step that fails."""
# What frames a request, what the browser sets by itself, and what the gate sets.
_OWN_HEADERS = (
    "connection",
    "content-length",
    "cookie",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-fw-preview",
)


class RoleStep(Model):
    """An element as people with a screen reader find it."""

    role: Role = Field(description="What it is, such as button, link or tab.")
    name: PageText | None = Field(
        default=None, description="Its whole name, such as the text on a button. Default: the only one of this role."
    )


class FillStep(Model):
    """Text for a field."""

    constraints = (exactly_one(("selector", "label"), ("selector", "label"), "a fill step"),)

    selector: Selector | None = Field(default=None, description='The field by its CSS selector, such as "#phone".')
    label: PageText | None = Field(default=None, description="The field by the text of its label.")
    value: Annotated[str, Field(max_length=512)] = Field(
        description="What is written there, in place of what was there. No secrets: steps can be read by all who can "
        "read the Campaign."
    )


class SelectStep(Model):
    """A choice in a list."""

    constraints = (exactly_one(("selector", "label"), ("selector", "label"), "a select step"),)

    selector: Selector | None = Field(default=None, description='The <select> by its CSS selector, such as "#size".')
    label: PageText | None = Field(default=None, description="The <select> by the text of its label.")
    value: Annotated[str, Field(max_length=256)] = Field(description="Value or text of the option to choose.")


class TextInStep(Model):
    """Text that one element must show."""

    selector: Selector = Field(description="CSS selector of the one element.")
    text: PageText = Field(description="The text that it must contain.")


class BrowserStep(Model):
    """One step: exactly one of its fields."""

    constraints = (
        exactly_one(tuple(STEPS), tuple(STEPS.values()), "a step"),
        Rule(
            cel="!has(self.noConsoleErrors) || self.noConsoleErrors",
            holds=lambda model: model.no_console_errors is not False,
            message="noConsoleErrors can only be true: remove the step to allow errors",
            field="noConsoleErrors",
        ),
    )

    open: PagePath | None = Field(
        default=None,
        description="Go to a path of the address, such as / or /coupon?utm_source=sms. An answer of 400 or more fails, "
        "unless the next step is `status`.",
    )
    click: Selector | None = Field(
        default=None,
        description='Click the one element of a CSS selector, such as "#claim"; it is waited for until it can be '
        "clicked.",
    )
    click_text: PageText | None = Field(
        default=None, description="Click the one visible element that has exactly this text."
    )
    click_role: RoleStep | None = Field(
        default=None, description="Click by role and name, such as {role: button, name: Claim}."
    )
    fill: FillStep | None = Field(
        default=None, description='Fill in a field, such as {selector: "#phone", value: "13800000000"}.'
    )
    select: SelectStep | None = Field(
        default=None, description="Choose from a list, such as {label: Size, value: Large}."
    )
    press: Key | None = Field(default=None, description="Press a key, such as Enter, ArrowDown or Control+A.")
    expect_text: PageText | None = Field(default=None, description="Text that the page must show, anywhere.")
    expect_text_in: TextInStep | None = Field(
        default=None, description='Text that one element must show, such as {selector: "#price", text: "99"}.'
    )
    visible: Selector | None = Field(default=None, description="CSS selector of which something must be visible.")
    hidden: Selector | None = Field(default=None, description="CSS selector of which nothing may be visible.")
    url: AddressGlob | None = Field(
        default=None,
        description="Where the page must be: a glob of path and query, whole, such as /orders/*. * stands for any "
        "characters, also '/' and none; ? is itself.",
    )
    title: PageText | None = Field(default=None, description="Text that the title of the page must contain.")
    status: Annotated[Integer, Field(ge=100, le=599)] | None = Field(
        default=None, description="HTTP status that the last `open` must have been answered with, such as 404."
    )
    wait_for: Pause | None = Field(
        default=None,
        description="Wait this long, 1s to 60s. Rarely needed: each step waits by itself for what it needs.",
    )
    screenshot: PictureName | None = Field(
        default=None,
        description="Keep a picture of what is seen, under this name. At most 5; that of a failure is extra.",
    )
    no_console_errors: Flag | None = Field(
        default=None,
        description="true: from the beginning until here the page has logged no error, and no script has failed.",
    )


class BrowserHeader(Model):
    """One header of the browser's requests to the address."""

    constraints = (
        Rule(
            cel=f"!(self.name.lowerAscii() in {list(_OWN_HEADERS)})",
            holds=lambda model: model.name.lower() not in _OWN_HEADERS,
            message="this header is set by the browser or the gate itself: name another one such as X-Test; another "
            "host name is `host`, and `through: Edge` asks for the preview",
            field="name",
        ),
    )

    name: HeaderName = Field(description="Name of the header, such as X-Test.")
    value: HeaderValue = Field(description="Its value.")


class Viewport(Model):
    """The part of the page that is seen."""

    width: Annotated[Integer, Field(ge=240, le=1920)] = Field(description="Width in CSS pixels, 240 to 1920.")
    height: Annotated[Integer, Field(ge=240, le=1920)] = Field(description="Height in CSS pixels, 240 to 1920.")


def _few_screenshots(gate: "BrowserGate") -> bool:
    return sum(step.screenshot is not None for step in gate.steps) <= MOST_SCREENSHOTS


class BrowserGate(Model):
    """A visit of a real browser (Chromium). The gate passes when every step holds."""

    constraints = (
        Rule(
            cel="has(self.steps[0].open)",
            holds=lambda model: model.steps[0].open is not None,
            message="a visit begins with a page: make `open` the first step, such as {open: /}",
            field="steps",
        ),
        Rule(
            cel=f"self.steps.filter(s, has(s.screenshot)).size() <= {MOST_SCREENSHOTS}",
            holds=_few_screenshots,
            message=f"at most {MOST_SCREENSHOTS} steps can be `screenshot`: remove the others",
            field="steps",
        ),
        between("stepTimeout", "step_timeout", "1s", "2m", "a page needs time to show something, and visitors leave"),
    )

    steps: Annotated[tuple[BrowserStep, ...], Field(min_length=1, max_length=50)] = Field(
        description="What the browser does and what must be there then, in this order, such as [{open: /}, {click: "
        '"#claim"}, {expectText: Claimed}]; 1 to 50 steps, the first one `open`.'
    )
    through: Literal["Preview", "Edge"] = Field(
        default="Preview",
        description="Preview (default): the address of the revision alone, which has only this service. Edge: the "
        "campaign's edge with X-FW-Preview on every request, so that the other services answer too; needs spec.edge.",
    )
    host: ReferrerHost | None = Field(
        default=None,
        description="Host name that the browser asks for, such as 618.shop.example, where pages or routes depend on "
        "it; it is led to the address whatever DNS says. Default: that of the address.",
    )
    device: Literal["Desktop", "Phone"] = Field(
        default="Desktop", description="Desktop (default), or Phone: touch, a phone's user agent and viewport."
    )
    viewport: Viewport | None = Field(
        default=None, description="The part of the page that is seen. Default 1280x800, or 390x844 with device Phone."
    )
    locale: Annotated[str, Text("^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$", "a language such as zh-CN", 32)] = Field(
        default="en-US", description="Language of the browser, such as zh-CN: Accept-Language and forms. Default en-US."
    )
    step_timeout: Duration = Field(
        default=timedelta(seconds=10), description="How long each step may take; 1s to 2m. Default 10s."
    )
    headers: Annotated[
        tuple[BrowserHeader, ...], Field(max_length=16), KeyedBy(("name",), "remove one of the two headers")
    ] = Field(
        default=(),
        description='Headers of every request to the address, and to no other, such as [{name: X-Test, value: "1"}]. '
        "They are no place for secrets.",
    )
    allow_hosts: Annotated[tuple[ReferrerHost, ...], Field(max_length=16), Distinct("remove one of the two")] = Field(
        default=(),
        description="Other hosts that the pages may reach, such as cdn.shop.example, on ports 80 and 443. Default: "
        "none; requests to any other host are refused.",
    )
    resources: ResourcesManifest | None = Field(
        default=None,
        description="CPU and memory of the browser. Default: requests of 250m and 384Mi, a memory limit of 1Gi.",
    )
