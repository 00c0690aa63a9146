"""What authors may write, and what they are told."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from flywheel.api.content import Content, GitContent

URL = "https://git.example/shop/landing.git"
DIGEST = "@sha256:" + "a" * 64


def refused(**content: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Content.model_validate(content)
    return str(caught.value)


def test_defaults() -> None:
    content = Content.model_validate({"git": {"url": URL}})
    assert content.git is not None
    assert (content.git.ref, content.git.path, content.git.interval) == ("main", "/", timedelta(seconds=60))
    assert (content.spa_fallback, content.cache) == (False, timedelta(seconds=60))
    assert (content.limits.max_size, content.limits.max_files) == (256 << 20, 20_000)


@pytest.mark.parametrize(
    "url",
    [
        "git@git.example:shop/landing.git",
        "ssh://git.example/x.git",
        "file:///etc/passwd",
        "https://user:pw@git.example/x.git",
        "https://token@git.example/x.git",
        "https://git.example",
        "https://git.example/x.git?a=b",
        "https://git.example/x.git#main",
        "https://git.example/a b",
        "https:///x.git",
        "https://git.example/" + "x" * 2048,
    ],
)
def test_no_such_url(url: str) -> None:
    assert "must be the address of a repository" in refused(git={"url": url})


@pytest.mark.parametrize(
    "url", [URL, "http://git.shop.svc:3000/a/b/", "https://10.0.0.1/x.git", "https://git.example/~me/a+b%20c.git"]
)
def test_such_a_url(url: str) -> None:
    assert Content.model_validate({"git": {"url": url}}).git is not None


@pytest.mark.parametrize(
    "ref",
    ["-x", "/x", "x/", "a..b", "a//b", "x.lock", "x.lock/y", "a b", "a~1", "a^", "a:b", "a@{1}", "@", ".x", "a/.b"],
)
def test_no_such_ref(ref: str) -> None:
    assert "such as main" in refused(git={"url": URL, "ref": ref})


@pytest.mark.parametrize(
    "ref", ["main", "release/1.4", "v1", "refs/tags/v1", "a" * 40, "活动/618", "HEAD", "x@y", "#5"]
)
def test_such_a_ref(ref: str) -> None:
    assert GitContent.model_validate({"url": URL, "ref": ref}).ref == ref


@pytest.mark.parametrize("path", ["..", "/..", "/a/../b", "a/..", "/./a", "/a\\b", "/a\nb", ""])
def test_no_such_path(path: str) -> None:
    assert refused(git={"url": URL, "path": path})


@pytest.mark.parametrize("path", ["/", "dist", "/web/dist/", "/a..b/c", "/页面"])
def test_such_a_path(path: str) -> None:
    assert GitContent.model_validate({"url": URL, "path": path}).path == path


@pytest.mark.parametrize("interval", ["9s", "25h", "0s"])
def test_intervals_have_bounds(interval: str) -> None:
    assert "between 10s and 24h" in refused(git={"url": URL, "interval": interval})


def test_credentials_are_sent_over_https_only() -> None:
    assert "https only" in refused(git={"url": "http://git.example/x.git", "secretName": "login"})


def test_exactly_one_source() -> None:
    assert "exactly one of git, image" in refused()
    assert "exactly one of git, image" in refused(git={"url": URL}, image="x" + DIGEST)


def test_an_image_is_pinned() -> None:
    for image in ("shop/landing", "shop/landing:1.4", "shop/landing@sha256:abc", "shop/landing" + DIGEST + "0"):
        assert "must be pinned" in refused(image=image)
    assert Content.model_validate({"image": "shop/landing:1.4" + DIGEST}).image


@pytest.mark.parametrize("size", ["0Mi", "5Gi", "1Ki", "1000", "10000Mi"])
def test_sizes_have_bounds(size: str) -> None:
    assert "1Mi to 4Gi" in refused(git={"url": URL}, limits={"maxSize": size})
