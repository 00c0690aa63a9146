"""What all of our objects have: metadata, and names of one form."""

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from flywheel.api.model import Model, Rule
from flywheel.api.quantities import Integer, Text

CAMPAIGN_NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"


class Metadata(Model):
    """What the operator uses of an object's metadata; everything else is ignored."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(min_length=1, max_length=253)]
    namespace: Annotated[str, Field(max_length=63)] = ""
    uid: Annotated[str, Field(max_length=128)] = ""
    generation: Integer = 0
    resource_version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


def name_rule(kind: str, most: int, *, since: str, such_as: str) -> Rule:
    """Make the rule on the name of an object that others are called after.

    Args:
        kind: Of the object.
        most: Characters at most.
        since: Why, completing a sentence.
        such_as: A name that would do.
    """
    form = Text(CAMPAIGN_NAME_PATTERN, "", most)
    return Rule(
        cel=f"self.metadata.name.matches('{CAMPAIGN_NAME_PATTERN}') && size(self.metadata.name) <= {most}",
        holds=lambda manifest: form.matches(manifest.metadata.name),
        message=f"metadata.name must be lowercase letters, digits and '-', starting with a letter, at most {most}, "
        f"since {since}: rename the {kind}, such as {such_as}",
        field="metadata.name",
    )
