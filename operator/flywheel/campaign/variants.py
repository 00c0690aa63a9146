"""The A/B tests of a Campaign: pods for each variant, and visitors for each by bucket. Pure.

A variant is a service like any other, made of the tested one and what differs. Control is the service itself, so who
takes no part and who belongs to control are served by the same pods.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flywheel.api.abtest import ABTest
from flywheel.api.abtest_variant import Variant
from flywheel.api.campaign import Campaign
from flywheel.api.load import InvalidResource, load_abtest
from flywheel.api.release import Release
from flywheel.api.service import Service
from flywheel.campaign.abtest_overrides import overridden
from flywheel.campaign.content import commit_of, standing_children, waits_for_content
from flywheel.campaign.observed import Observed
from flywheel.campaign.testing import began, shipping
from flywheel.edge import document as wire
from flywheel.experiment.assignment import Arm, Segments, ranges, remaining
from flywheel.experiment.plan import challengers, is_bandit
from flywheel.experiment.preview import token
from flywheel.experiment.state import ENDED, ABTestState, read_state
from flywheel.plan import LiveObject, Manifest, ObjectKey
from flywheel.release.content.parts import parts_of
from flywheel.workload.manifests import service_manifests
from flywheel.workload.scaling import Phase

LINGER = timedelta(seconds=15)
"""How long pods of a variant stay when its visitors are sent elsewhere: every edge pod has heard of it by then."""
_LATEST = datetime.max.replace(tzinfo=UTC)
_EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Standing:
    """One test that can be carried out, and where it stands."""

    test: ABTest
    state: ABTestState
    service: Service
    """What its variants are made of: the service as it is written, with what earlier tests have found better."""
    now: datetime

    @property
    def shipping(self) -> str:
        """The variant that shall be what the service runs; empty where there is none."""
        return shipping(self.test, self.state)

    @property
    def sends(self) -> bool:
        """Whether visitors are sent to its variants."""
        if self.state.state != "Decided":
            return self.state.state == "Running"
        # Those who see a winner go on to see it until the service runs it, or a person has ended the test.
        is_waiting = bool(self.state.winner) and self.test.spec.decision.promote != "Never"
        return is_waiting or bool(self.shipping) or self.test.spec.decision.otherwise == "Keep"

    def has_pods(self, variant: str) -> bool:
        """Whether a variant has pods: from before the start until its visitors have gone elsewhere."""
        if self.state.state == "Waiting":
            return self.state.reason not in ("", "InvalidTest")
        left = self.left_at(variant)
        return left is None or self.now < left + LINGER

    def left_at(self, variant: str) -> datetime | None:
        """Tell since when nobody is sent to a variant any more."""
        if variant in self.state.withdrawn:
            return self.state.withdrawn[variant]
        if self.state.state in ENDED:
            return self.state.closed_at or self.state.ended_at or _EARLIEST
        return self.state.ended_at if self.state.state == "Decided" and not self.sends else None


@dataclass(frozen=True, slots=True)
class Winner:
    """A variant that a service shall run."""

    test: str
    service: str
    variant: Variant
    decided_at: datetime


def tests_of(observed: Observed, campaign: Campaign, now: datetime) -> tuple[Standing, ...]:
    """Read the tests that can be carried out, those first that began first."""
    found = []
    for manifest in observed.tests:
        try:
            test = load_abtest(manifest)
        except InvalidResource:
            # Its own reconcile says so.
            continue
        if not manifest["metadata"].get("deletionTimestamp"):
            found.append((test, read_state(test.status)))
    shipped = _winners(found)
    made = []
    for test, state in sorted(found, key=lambda each: began(*each)):
        service = next((each for each in campaign.spec.services if each.name == test.spec.service), None)
        if service is not None:
            started = state.started_at or _LATEST
            before = [each for each in shipped if each.test != test.name and each.decided_at < started]
            made.append(Standing(test, state, _improved(service, before), now))
    return tuple(made)


def winners(standing: Sequence[Standing]) -> tuple[Winner, ...]:
    """Give the variants that services shall run instead of what their spec says, in the order of their verdicts."""
    return _winners([(each.test, each.state) for each in standing])


def _winners(tests: Sequence[tuple[ABTest, ABTestState]]) -> tuple[Winner, ...]:
    found = []
    for test, state in tests:
        name = shipping(test, state)
        variant = next((each for each in challengers(test) if each.name == name), None)
        if variant is not None and state.decision is not None:
            found.append(Winner(test.name, test.spec.service, variant, state.decision.at))
    return tuple(sorted(found, key=lambda each: (each.decided_at, each.test)))


def _improved(service: Service, better: Sequence[Winner]) -> Service:
    """Make of a service what its winners have made of it, each of what those before had: so they were tested."""
    for each in better:
        if each.service == service.name:
            service = overridden(service, each.variant.override)
    return service


def with_winners(campaign: Campaign, better: Sequence[Winner]) -> Campaign:
    """Make the Campaign that shall run: as it is written, and what its tests have found better."""
    if not better:
        return campaign
    services = tuple(_improved(each, better) for each in campaign.spec.services)
    return campaign.model_copy(update={"spec": campaign.spec.model_copy(update={"services": services})})


def differing(campaign: Campaign, better: Sequence[Winner]) -> dict[str, tuple[str, str]]:
    """Tell which services are not what their spec says, with the test and the variant that made them so.

    What the spec says already, as its author has adopted it, is no difference any more.
    """
    found = {}
    for service in campaign.spec.services:
        if _improved(service, better) != service:
            last = [each for each in better if each.service == service.name][-1]
            found[service.name] = (last.test, last.variant.name)
    return found


def variant_service(service: Service, variant: Variant) -> Service:
    """Make the service that a variant is while it is tested."""
    changes: dict[str, object] = {"name": f"{service.name}-{variant.name}", "release": Release()}
    if variant.replicas is not None or variant.autoscaling is not None:
        changes |= {"replicas": variant.replicas, "autoscaling": variant.autoscaling}
    return overridden(service, variant.override).model_copy(update=changes)


def variant_children(
    observed: Observed, campaign: Campaign, standing: Sequence[Standing], phase: Phase
) -> Iterator[tuple[str, Service, Manifest]]:
    """Build the children of every variant that has pods, each with the test's name and the service that it is."""
    for each, variant in _with_pods(standing):
        made = variant_service(each.service, variant)
        if waits_for_content(observed, made):
            continue
        parts = parts_of(made, commit_of(observed, made), observed.images.content)
        manifests = service_manifests(
            campaign.name, campaign.namespace, made, phase, observed.provider, parts, each.service.name
        )
        for manifest in manifests:
            yield each.test.name, made, manifest


def kept_variants(observed: Observed, campaign: Campaign, standing: Sequence[Standing]) -> Iterator[ObjectKey]:
    """Name the children that stay as they are while nobody has told yet which commit their content has."""
    for each, variant in _with_pods(standing):
        made = variant_service(each.service, variant)
        if waits_for_content(observed, made):
            yield from standing_children(observed, campaign.name, made.name)


def variant_sources(standing: Sequence[Standing]) -> tuple[Service, ...]:
    """Give the services that variants are whose content comes from Git."""
    made = (variant_service(each.service, variant) for each, variant in _with_pods(standing))
    return tuple(each for each in made if each.content and each.content.git)


def _with_pods(standing: Sequence[Standing]) -> Iterator[tuple[Standing, Variant]]:
    for each in standing:
        yield from ((each, variant) for variant in challengers(each.test) if each.has_pods(variant.name))


def pods_gone_at(standing: Sequence[Standing], now: datetime) -> list[datetime]:
    """Tell when pods of variants go that nobody is sent to any more."""
    left = [each.left_at(own.name) for each in standing for own in challengers(each.test)]
    return [each + LINGER for each in left if each is not None and each is not _EARLIEST and each + LINGER > now]


def variant_backends(standing: Sequence[Standing]) -> dict[str, tuple[Service, ...]]:
    """Give the variants that the edge has to know, by the service that they stand in for."""
    found: dict[str, tuple[Service, ...]] = {}
    for each, variant in _with_pods(standing):
        name = each.service.name
        found[name] = (*found.get(name, ()), variant_service(each.service, variant))
    return found


def edge_tests(
    observed: Observed, campaign: Campaign, standing: Sequence[Standing], active: Mapping[str, str]
) -> tuple[wire.Test, ...]:
    """Say to the edge which buckets see which variant.

    Args:
        observed: The world: of a variant without a pod that serves, visitors get the control, and their exposure says
            so.
        campaign: The Campaign.
        standing: Its tests.
        active: The active slot of each released service.
    """
    taken: dict[str, list[tuple[int, int]]] = {}
    made = []
    for each in (one for one in standing if one.sends):
        layer = taken.setdefault(each.test.spec.layer_name, [])
        # Two tests that began at once may have taken the same visitors, until the younger one has heard of it.
        segments = remaining(each.state.segments, layer)
        layer += segments
        made.append(_edge_test(observed, campaign, each, active, segments))
    return tuple(made)


def _edge_test(
    observed: Observed,
    campaign: Campaign,
    each: Standing,
    active: Mapping[str, str],
    segments: Segments,
) -> wire.Test:
    spec, state = each.test.spec, each.state
    control = active.get(spec.service, "")
    own = {variant.name: variant for variant in spec.variants}
    weights = state.stretches[-1].weights if state.stretches else {}
    if weights.keys() != own.keys():
        weights = {variant.name: variant.weight for variant in spec.variants}
    arms = [Arm(name, weights[name]) for name in own]
    shares = [one for one in ranges(arms) if one.name not in state.withdrawn and one.end > one.start]
    serving = {one.name: own[one.name].control or serves(observed, each.test, own[one.name]) for one in shares}
    return wire.Test(
        name=each.test.name,
        service=spec.service,
        salt=state.salt,
        layer_salt=layer_salt(campaign, spec.layer_name),
        segments=tuple(wire.Segment(start=start, end=end) for start, end in sorted(segments)),
        ranges=tuple(
            wire.VariantRange(
                variant=one.name,
                slot=control if own[one.name].control or not serving[one.name] else one.name,
                start=one.start,
                end=one.end,
                fallback=not serving[one.name],
            )
            for one in shares
        ),
        holdout=spec.holdout or 0,
        target=_target(each.test),
        sticky=is_bandit(each.test),
        forced=tuple(
            wire.ForcedVariant(
                token=token(each.test.metadata.uid, one.name),
                variant=one.name,
                slot=control if one.control else one.name,
            )
            for one in spec.variants
            if one.control or serves(observed, each.test, one)
        ),
    )


def _target(test: ABTest) -> wire.Target | None:
    given = test.spec.targeting
    if given is None:
        return None
    return wire.Target(
        paths=given.paths,
        headers=tuple(wire.TargetHeader(name=each.name, values=each.wanted) for each in given.headers),
        devices=given.devices,
        regions=given.regions,
        visitors=given.visitors,
        segments=given.segments,
    )


def segments_key(campaign: Campaign, standing: Sequence[Standing]) -> str:
    """Give what segments of visitors are signed by; empty where no test asks for any, nor will as soon as it begins.

    Only those know it who may read the Campaign.
    """
    if not any(each.test.spec.targeting and each.test.spec.targeting.segments for each in standing):
        return ""
    return hmac.new(campaign.metadata.uid.encode(), b"segments", hashlib.sha256).hexdigest()


def layer_salt(campaign: Campaign, layer: str) -> str:
    """Give what divides visitors between the tests of a layer: another division in each campaign."""
    return f"layer/{campaign.metadata.uid}/{layer}"


def holdout_salt(campaign: Campaign) -> str:
    """Give what decides who takes part in no test that names a holdout."""
    return f"holdout/{campaign.metadata.uid}"


def serves(observed: Observed, test: ABTest, variant: Variant) -> bool:
    """Tell whether a variant has a pod that serves."""
    name = test.spec.child_name(variant.name)
    live: LiveObject | None = observed.children.get(ObjectKey("apps", "Deployment", observed.namespace, name))
    return live is not None and not live.deleting and int(live.status.get("availableReplicas") or 0) > 0
