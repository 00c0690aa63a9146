"""Which commit of its content a service is to serve. Pure."""

from collections.abc import Mapping
from typing import Any

from flywheel.api.content import GitContent
from flywheel.api.service import Service
from flywheel.campaign.observed import Observed
from flywheel.plan import ObjectKey
from flywheel.release.work import ContentState
from flywheel.workload.naming import child_name

_UNKNOWN = ContentState()


def git_of(service: Service) -> GitContent | None:
    """Give where in Git the content of a service is; None where it comes from elsewhere."""
    return service.content.git if service.content else None


def state_of(observed: Observed, service: Service) -> ContentState:
    """Give what was found where the spec looks now: nothing yet, when what is known is of another repository or ref."""
    found, git = observed.findings.contents.get(service.name), git_of(service)
    return found if found and git and found.of == (git.url, git.ref) else _UNKNOWN


def commit_of(observed: Observed, service: Service) -> str:
    """Give the newest commit that is known; empty where none is, and nothing can be run or changed yet.

    The commit before stays where the same place cannot be read any more, and where another ref of the same repository
    turns out not to be there.
    """
    git = git_of(service)
    if git is None:
        return ""
    found, told = state_of(observed, service), told_of(observed, service.name)
    if found.commit:
        return found.commit
    is_same_place = told.get("url", git.url) == git.url and (found.problem or told.get("ref", git.ref) == git.ref)
    return str(told.get("commit") or "") if is_same_place else ""


def told_of(observed: Observed, service: str) -> Mapping[str, Any]:
    """Give what the status tells of the content of a service."""
    for each in observed.status.get("services") or ():
        if each.get("name") == service:
            return each.get("content") or {}
    return {}


def waits_for_content(observed: Observed, service: Service) -> bool:
    """Whether nobody has told yet which commit of its content a service is to serve."""
    return git_of(service) is not None and not commit_of(observed, service)


def standing_children(observed: Observed, campaign: str, service: str) -> list[ObjectKey]:
    """Name the children of a service, or of a variant of it, that are there."""
    name = child_name(campaign, service)
    return [key for key in observed.children if key.name == name]
