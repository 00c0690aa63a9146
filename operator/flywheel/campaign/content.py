"""Which commit of its content a service is to serve. Pure."""

from flywheel.api.service import Service
from flywheel.campaign.observed import Observed


def commit_of(observed: Observed, service: Service) -> str:
    """Give the newest commit that is known; the one before where nothing new could be learnt; empty where none is."""
    if service.content is None or service.content.git is None:
        return ""
    found = observed.findings.contents.get(service.name)
    return (found.commit if found else "") or last_commit(observed, service.name)


def last_commit(observed: Observed, service: str) -> str:
    """Give the commit that the status tells of."""
    for each in observed.status.get("services") or ():
        if each.get("name") == service:
            return str((each.get("content") or {}).get("commit") or "")
    return ""
