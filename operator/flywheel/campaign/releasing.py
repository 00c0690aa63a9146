"""The releases of one Campaign: from the spec and what was observed to records, children and wishes. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from flywheel.api.campaign import Campaign
from flywheel.api.service import Service
from flywheel.campaign.content import commit_of, state_of
from flywheel.campaign.gates import job_questions
from flywheel.campaign.observed import Observed, Questions
from flywheel.campaign.slots import followed, slot_facts, unready_slots
from flywheel.edge.document import Live, Preview
from flywheel.plan import Manifest, ObjectKey
from flywheel.release.facts import Facts
from flywheel.release.groups import advance_all
from flywheel.release.manifests import slot_children
from flywheel.release.naming import slot_name
from flywheel.release.revision import (
    Configuration,
    Revision,
    copy_manifest,
    drafted,
    named_by,
    record_key,
    record_manifest,
)
from flywheel.release.state import SLOTS, ReleaseState, read_releases
from flywheel.release.step import Step
from flywheel.workload.manifests import service_metadata
from flywheel.workload.scaling import Phase, size_of

States = Mapping[str, ReleaseState]
Revisions = Mapping[str, Mapping[str, Revision]]
"""By service and name."""
Ordered = Callable[[States, Revisions], str | None]


@dataclass(frozen=True, slots=True)
class Draft:
    """The revision that the spec asks for, as far as it can be told."""

    revision: Revision | None = None
    configurations: tuple[Configuration, ...] = ()
    obstacle: str = ""
    """Why it cannot be told, in words for people."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Releasing:
    """How the released services of a Campaign go on."""

    steps: Mapping[str, Step] = field(default_factory=dict)
    facts: Mapping[str, Facts] = field(default_factory=dict)
    drafts: Mapping[str, Draft] = field(default_factory=dict)
    revisions: Revisions = field(default_factory=dict)
    questions: Questions = Questions()  # noqa: RUF009 - frozen

    @property
    def states(self) -> dict[str, ReleaseState]:
        """The records as they are to be written, by service."""
        return {name: step.state for name, step in self.steps.items()}


def released(campaign: Campaign) -> tuple[Service, ...]:
    """Return the services with slots."""
    return tuple(each for each in campaign.spec.services if each.release.strategy == "BlueGreen")


def releasing(observed: Observed, campaign: Campaign, phase: Phase, now: datetime, ordered: Ordered) -> Releasing:
    """Bring every release a step further.

    Args:
        observed: The world.
        campaign: The Campaign.
        phase: Its stage, as far as sizes go.
        now: The time.
        ordered: Gives the generation of the edge's orders that follow from records; None without an edge.
    """
    services = released(campaign)
    if not services:
        return Releasing()
    before = read_releases(observed.status)
    drafts = {each.name: draft_of(observed, campaign, each) for each in services}
    needed = {each.name: _needed(before.get(each.name), drafts[each.name], each) for each in services}
    questions = _questions(observed, campaign, services, needed, before)
    if questions:
        return Releasing(questions=questions)
    revisions = {each.name: _known(observed, campaign, each, needed[each.name], drafts[each.name]) for each in services}
    states = {each.name: _unless_lost(observed, before.get(each.name), each, revisions[each.name]) for each in services}
    everywhere, lag = followed(observed, ordered(states, revisions))
    facts = {}
    for service in services:
        facts[service.name] = slot_facts(
            observed,
            campaign,
            service,
            states[service.name],
            phase,
            wanted=_name_of(drafts[service.name]),
            followed=(everywhere, lag),
            now=now,
        )
    return Releasing(advance_all(states, facts, now), facts, drafts, revisions)


def _name_of(draft: Draft) -> str | None:
    return draft.revision.name if draft.revision else None


def draft_of(observed: Observed, campaign: Campaign, service: Service) -> Draft:
    """Make the revision that the spec asks for; without a question, whatever could not be read yet is an obstacle."""
    commit = ""
    if service.content and service.content.git:
        commit = commit_of(observed, service)
        if not commit:
            why = state_of(observed, service).problem or "it is being looked up"
            return Draft(obstacle=f"spec.services {service.name}: content.git: {why}", reason="ContentUnavailable")
    found = []
    for kind, name, optional in named_by(campaign.name, service):
        if (kind, name) in observed.findings.forbidden:
            continue
        configuration = observed.findings.configurations.get((kind, name))
        if configuration is not None:
            found.append(configuration)
        elif not optional and (kind, name) in observed.findings.configurations:
            obstacle = f"spec.services {service.name}: there is no {kind} {name}: create it, or correct the name"
            return Draft(obstacle=obstacle, reason="ConfigurationMissing")
    made = drafted(campaign.name, service, commit, observed.images.content, found)
    return Draft(made, tuple(found))


def _needed(state: ReleaseState | None, draft: Draft, service: Service) -> tuple[str, ...]:
    """Name the revisions that are at work, or may be gone back to, oldest first."""
    names = [draft.revision.name] if draft.revision else []
    if state is not None:
        places = (state.active, state.preview, state.previous, state.failed)
        names += [each.revision for each in places if each]
        promoted = [each.revision for each in state.history if each.outcome == "Promoted"]
        names += list(dict.fromkeys(reversed(promoted)))[: service.release.history + 1]
    return tuple(dict.fromkeys(names))


def _questions(
    observed: Observed,
    campaign: Campaign,
    services: Iterable[Service],
    needed: Mapping[str, tuple[str, ...]],
    states: Mapping[str, ReleaseState],
) -> Questions:
    configurations = {
        (kind, name) for service in services for kind, name, _ in named_by(campaign.name, service)
    } - observed.findings.configurations.keys()
    names = {
        record_key(observed.name, observed.namespace, service, revision).name
        for service, revisions in needed.items()
        for revision in revisions
    }
    asked = (job_questions(observed, state) for state in states.values())
    troubled = (unready_slots(observed, state) for state in states.values())
    return Questions(
        pods=frozenset[str]().union(*troubled) - observed.troubles.keys(),
        configurations=frozenset(configurations),
        records=frozenset(names - observed.findings.records.keys()),
        jobs=frozenset[str]().union(*asked),
    )


def _known(
    observed: Observed, campaign: Campaign, service: Service, needed: tuple[str, ...], draft: Draft
) -> dict[str, Revision]:
    known = {}
    for name in needed:
        record = observed.findings.records.get(record_key(campaign.name, campaign.namespace, service.name, name).name)
        if record is not None:
            known[name] = record
        elif draft.revision and draft.revision.name == name:
            known[name] = draft.revision
    return known


def _unless_lost(
    observed: Observed, state: ReleaseState | None, service: Service, revisions: Mapping[str, Revision]
) -> ReleaseState:
    """Begin anew where what the record says never came to be, and cannot be made any more."""
    if state is None:
        return ReleaseState(service=service.name)
    if state.active is None or state.active.revision in revisions:
        return state
    key = deployment_of_slot(observed, state.service, state.active.slot)
    live = observed.children.get(key)
    if live is not None and live.revision == state.active.revision:
        return state
    return ReleaseState(service=state.service, number=state.number, history=state.history, handled=state.handled)


def deployment_of_slot(observed: Observed, service: str, slot: str) -> ObjectKey:
    """Return the address of the Deployment of a slot."""
    return ObjectKey("apps", "Deployment", observed.namespace, slot_name(observed.name, service, slot))


def released_children(
    observed: Observed, campaign: Campaign, service: Service, phase: Phase, releasing: Releasing
) -> tuple[list[Manifest], list[ObjectKey]]:
    """Build the children of a released service; and name those that stay as they are."""
    name, revisions = service.name, releasing.revisions[service.name]
    state, draft = releasing.steps[name].state, releasing.drafts[name]
    metadata = service_metadata(campaign.name, campaign.namespace, name)
    made: list[Manifest] = []
    keep: list[ObjectKey] = []
    for revision in revisions.values():
        own, kept = _kept(observed, campaign, revision, draft, metadata["labels"])
        made += own
        keep += kept
    children = slot_children(
        campaign.name,
        campaign.namespace,
        service,
        state,
        releasing.facts[name],
        size_of(service, phase),
        revisions,
        observed.provider,
    )
    if state.phase == "Adopting" or _old_is_needed(observed, service, releasing):
        keep.append(ObjectKey("apps", "Deployment", observed.namespace, metadata["name"]))
    return made + list(children.apply), keep + list(children.keep)


def _old_is_needed(observed: Observed, service: Service, releasing: Releasing) -> bool:
    """Whether edge pods may still send to the pods from before the service had slots."""
    facts = releasing.facts[service.name]
    return facts.standing_in is not None and not facts.followed


def _kept(
    observed: Observed, campaign: Campaign, revision: Revision, draft: Draft, labels: Mapping[str, str]
) -> tuple[list[Manifest], list[ObjectKey]]:
    """Build the record and the copies of a revision, or keep them where they were made by one that is past."""
    key = record_key(campaign.name, campaign.namespace, revision.service, revision.name)
    # One that somebody deleted is written again: what it says is still known.
    recorded = observed.findings.records.get(key.name) is not None and key in observed.children
    made: list[Manifest] = []
    keep = [key] if recorded else []
    is_draft = draft.revision is not None and draft.revision.name == revision.name
    if is_draft:
        copied = [each for each in draft.configurations if each.is_copied]
        made += [copy_manifest(campaign.name, campaign.namespace, revision.service, each, labels) for each in copied]
    if not recorded:
        made.append(record_manifest(campaign.name, campaign.namespace, revision, labels))
    made_names = {f"{each['kind']}/{each['metadata']['name']}" for each in made}
    for copy in revision.copies:
        kind, _, name = copy.partition("/")
        if copy not in made_names:
            keep.append(ObjectKey("", kind, campaign.namespace, name))
    return made, keep


def edge_live(campaign: Campaign, states: States) -> Live:
    """Say to the edge which slot of each released service is active, which stands in for it, and what may be seen."""
    active, previews, fallbacks = {}, [], {}
    for service in released(campaign):
        state = states.get(service.name)
        if state is None or state.active is None or state.phase == "Adopting":
            continue
        active[service.name] = state.active.slot
        if state.previous:
            fallbacks[service.name] = state.previous.slot
        shown = state.preview or state.failed
        if shown:
            hosts = service.release.preview_hosts if state.preview else ()
            previews.append(Preview(service=service.name, slot=shown.slot, revision=shown.revision, hosts=hosts))
    return Live(
        active=dict(sorted(active.items())), previews=tuple(previews), fallbacks=dict(sorted(fallbacks.items()))
    )


def edge_slots(campaign: Campaign, states: States, revisions: Revisions) -> dict[str, dict[str, str]]:
    """Give the name of the port that each slot of a released service is reached on at the edge."""
    ports: dict[str, dict[str, str]] = {}
    numbers = {route.service: route.port for route in campaign.spec.edge.routes} if campaign.spec.edge else {}
    for service in released(campaign):
        state = states.get(service.name)
        if state is None or state.active is None or state.phase == "Adopting":
            continue
        own = revisions.get(service.name, {})
        placed = {
            each.slot: each.revision for each in (state.failed, state.previous, state.preview, state.active) if each
        }
        serving = _port_name(own.get(state.active.revision), service, numbers.get(service.name))
        ports[service.name] = {
            slot: _port_name(own.get(placed.get(slot, "")), service, numbers.get(service.name))
            if slot in placed
            else serving
            for slot in SLOTS
        }
    return ports


def _port_name(revision: Revision | None, service: Service, number: int | None) -> str:
    ports = revision.ports if revision else ()
    wanted = next((str(each["name"]) for each in ports if each["port"] == number), "")
    first = str(ports[0]["name"]) if ports else service.listening_ports[0].name
    return wanted or first
