"""Content of a service: pages straight from Git, or from an image of files, instead of a program."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from flywheel.api.durations import between
from flywheel.api.kubernetes import exactly_one
from flywheel.api.model import Model, Rule
from flywheel.api.quantities import Duration, Flag, ImageReference, Integer, Name, Text, cel_text, read_bytes

# No user, query or fragment: what is secret belongs into a Secret, and the rest means nothing to a Git server.
_HOST = "[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?"
_URL_PATTERN = f"^https?://{_HOST}(:[1-9][0-9]{{0,4}})?(/[A-Za-z0-9._~%+:@-]+)+/?$"
_REF_PATTERN = "^[^\\x00-\\x20\\x7f~^:?*\\[\\\\/-][^\\x00-\\x20\\x7f~^:?*\\[\\\\]*$"
_BAD_REF = "[.][.]|//|@[{]|/[.]|[.]lock(/|$)|[./]$|^[.]|^@$"
_CLIMBS = "(^|/)[.][.]?(/|$)"
_DIGEST = "@sha256:[0-9a-f]{64}$"

GitUrl = Annotated[
    str,
    Text(
        _URL_PATTERN,
        "the address of a repository such as https://git.example/shop/landing.git, without user, password and query",
        2048,
        explain=True,
    ),
]
GitRef = Annotated[
    str,
    Text(_REF_PATTERN, "a branch, a tag or a whole commit, such as main, v1.4 or refs/tags/v1.4", 255, explain=True),
]
ContentPath = Annotated[
    str, Text("^[^\\x00-\\x1f\\x7f\\\\]+$", "a directory of the repository such as /dist", 1024, explain=True)
]
ContentSize = Annotated[
    int, Text("^([1-9][0-9]{0,3}Mi|[1-4]Gi)$", "1Mi to 4Gi, in Mi or Gi, such as 256Mi", 6, 3, read_bytes, True)
]


class GitContent(Model):
    """Where in Git the content is."""

    constraints = (
        between("interval", "interval", "10s", "24h", "a change must be found, and a server must not be flooded"),
        Rule(
            cel=f"!has(self.ref) || !self.ref.matches({cel_text(_BAD_REF)})",
            holds=lambda model: re.search(_BAD_REF, model.ref) is None,
            message="Git knows no such ref: write a branch, a tag or all 40 digits of a commit, such as main",
            field="ref",
        ),
        Rule(
            cel=f"!has(self.path) || !self.path.matches({cel_text(_CLIMBS)})",
            holds=lambda model: re.search(_CLIMBS, model.path) is None,
            message="path must stay within the repository: leave out . and ..",
            field="path",
        ),
        Rule(
            cel="!has(self.secretName) || self.url.startsWith('https://')",
            holds=lambda model: model.secret_name is None or model.url.startswith("https://"),
            message="credentials are sent over https only: use an https:// url, or leave secretName out",
            field="secretName",
        ),
    )

    url: GitUrl = Field(
        description="Address of the repository, over https or http, such as https://git.example/shop/landing.git. "
        "Credentials belong into secretName, never here."
    )
    ref: GitRef = Field(
        default="main",
        description="What to follow: a branch, a tag or a whole commit. A branch goes before a tag of the same name; "
        "refs/tags/v1 means the tag. Default main.",
    )
    path: ContentPath = Field(
        default="/", description="Directory of the repository that is published, such as /dist. Default /: all of it."
    )
    interval: Duration = Field(
        default=timedelta(seconds=60),
        description="How often to look for a new commit; a webhook makes it at once. Default 60s; 10s to 24h.",
    )
    secret_name: Name | None = Field(
        default=None,
        description="Secret with username and password, or token, for a private repository; ca.crt in it is trusted "
        "beside the public authorities. Default: none.",
    )


class ContentLimits(Model):
    """How much is published at most. The repository at that commit may have twice as much."""

    max_size: ContentSize = Field(
        default=256 << 20, description="Bytes of all files together, such as 256Mi (default); 1Mi to 4Gi."
    )
    max_files: Annotated[Integer, Field(ge=1, le=100_000)] = Field(
        default=20_000, description="Number of files; 1 to 100000. Default 20000."
    )


class Content(Model):
    """Files that are served as they are, with the headers that caches need."""

    constraints = (
        exactly_one(("git", "image"), ("git", "image"), "content"),
        Rule(
            cel=f"!has(self.image) || self.image.matches('{_DIGEST}')",
            holds=lambda model: model.image is None or re.search(_DIGEST, model.image) is not None,
            message="an image of content must be pinned: add its digest, such as registry.example/landing@sha256:...",
            field="image",
        ),
        between("cache", "cache", "0s", "365d", "what does not carry its hash in its name changes some day"),
    )

    git: GitContent | None = Field(default=None, description="Publish a directory of a Git repository.")
    image: ImageReference | None = Field(
        default=None,
        description="Publish the files of an OCI image, pinned by its digest, mounted as an image volume of "
        "Kubernetes 1.33 or newer.",
    )
    spa_fallback: Flag = Field(
        default=False,
        description="Answer unknown paths without an extension with /index.html, for applications that route in the "
        "browser. Default false: 404.",
    )
    cache: Duration = Field(
        default=timedelta(seconds=60),
        description="How long clients may keep files whose names carry no hash; HTML is always asked for anew, and "
        "names such as app.3f9ac2d1.js are kept for a year. Default 60s.",
    )
    limits: ContentLimits = Field(
        default=ContentLimits(), description="How much is published from Git at most. Default: 256Mi in 20000 files."
    )
