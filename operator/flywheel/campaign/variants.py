"""The A/B tests of a Campaign: pods for each variant, and visitors for each by bucket. Pure.

A variant is a service like any other, made of the tested one and what differs. Control is the service itself, so who
takes no part and who belongs to control are served by the same pods.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flywheel.api.abtest import ABTest, Variant
from flywheel.api.campaign import Campaign
from flywheel.api.load import InvalidResource, load_abtest
from flywheel.api.release import Release
from flywheel.api.service import Service
from flywheel.campaign.observed import Observed
from flywheel.edge import document as wire
from flywheel.experiment.assignment import MOST_AT_ONCE, Arm, ranges
from flywheel.experiment.state import ENDED, SENDING, ABTestState, read_state
from flywheel.plan import LiveObject, Manifest, ObjectKey
from flywheel.release.content.parts import parts_of
from flywheel.workload.manifests import service_manifests
from flywheel.workload.naming import child_name
from flywheel.workload.scaling import Phase

PROMOTE_ANNOTATION = "flywheel.dev/promote"
_LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Standing:
    """One test that can be carried out, and where it stands."""

    test: ABTest
    state: ABTestState

    @property
    def sends(self) -> bool:
        """Whether visitors are sent to its variants."""
        # Those who see the winner already go on to see it until the service runs it.
        return self.state.state in SENDING or (self.state.state == "Decided" and self.ships)

    @property
    def winner(self) -> str:
        """The variant that was found better; empty where none was."""
        return self.state.decision.winner if self.state.decision else ""

    @property
    def ships(self) -> bool:
        """Whether the winner shall be what the service runs."""
        automatic = self.test.spec.decision.promote == "Automatic"
        return bool(self.winner) and (automatic or PROMOTE_ANNOTATION in self.test.metadata.annotations)

    @property
    def needs_pods(self) -> bool:
        """Whether its variants have pods: from before its start until it is known what becomes of them."""
        return self.state.state not in ENDED


def tests_of(observed: Observed, campaign: Campaign) -> tuple[Standing, ...]:
    """Read the tests that can be carried out, those first that began first: they keep their visitors."""
    found = []
    for manifest in observed.tests:
        try:
            test = load_abtest(manifest)
        except InvalidResource:
            # Its own reconcile says so.
            continue
        if manifest["metadata"].get("deletionTimestamp") or not _service(campaign, test.spec.service):
            continue
        found.append(Standing(test, read_state(test.status)))
    return tuple(sorted(found, key=lambda each: (each.state.started_at or _LATEST, each.test.name)))


def winners(standing: Sequence[Standing]) -> dict[str, tuple[str, Variant]]:
    """Give the variant that each service shall run instead of what its spec says, with the test that found it.

    Of several the last one that was decided: it was found better than what the one before had made of the service.
    """
    found: dict[str, tuple[str, Variant]] = {}
    decided = [each for each in standing if each.state.decision is not None and each.ships]
    for each in sorted(decided, key=lambda one: one.state.decision.at if one.state.decision else _LATEST):
        variant = next((one for one in each.test.challengers if one.name == each.winner), None)
        if variant is not None:
            found[each.test.spec.service] = (each.test.name, variant)
    return found


def with_winners(campaign: Campaign, standing: Sequence[Standing]) -> Campaign:
    """Make the Campaign that shall run: as it is written, and what its tests have found better."""
    better = winners(standing)
    if not better:
        return campaign
    services = tuple(
        overridden(each, better[each.name][1]) if each.name in better else each for each in campaign.spec.services
    )
    return campaign.model_copy(update={"spec": campaign.spec.model_copy(update={"services": services})})


def variant_service(service: Service, variant: Variant) -> Service:
    """Make the service that a variant is while it is tested."""
    changes: dict[str, object] = {"name": f"{service.name}-{variant.name}", "release": Release()}
    if variant.replicas is not None or variant.autoscaling is not None:
        changes |= {"replicas": variant.replicas, "autoscaling": variant.autoscaling}
    return overridden(service, variant).model_copy(update=changes)


def overridden(service: Service, variant: Variant) -> Service:
    """Change of a service what a variant says, and nothing else."""
    override = variant.override
    if override is None:
        return service
    given = {each["name"]: each for each in override.env or ()}
    known = {each["name"] for each in service.env}
    changes: dict[str, object] = {
        "env": (
            *(given.get(each["name"], each) for each in service.env),
            *(each for name, each in given.items() if name not in known),
        )
    }
    if override.image is not None:
        changes |= {"image": override.image, "content": None}
    if override.content is not None:
        changes |= {"content": override.content, "image": None}
    if override.pod_template is not None:
        changes["pod_template"] = override.pod_template
    return service.model_copy(update=changes)


def variant_children(
    observed: Observed, campaign: Campaign, standing: Sequence[Standing], phase: Phase
) -> Iterator[tuple[str, Service, Manifest]]:
    """Build the children of every variant that has pods, each with the test's name and the service that it is."""
    for each in standing:
        service = _service(campaign, each.test.spec.service)
        if service is None or not each.needs_pods:
            continue
        for variant in each.test.challengers:
            if variant.name in each.state.withdrawn:
                continue
            made = variant_service(service, variant)
            parts = parts_of(made, "", observed.images.content)
            manifests = service_manifests(
                campaign.name, campaign.namespace, made, phase, observed.provider, parts, service.name
            )
            for manifest in manifests:
                yield each.test.name, made, manifest


def variant_backends(campaign: Campaign, standing: Sequence[Standing]) -> dict[str, tuple[Service, ...]]:
    """Give the variants that the edge has to know, by the service that they stand in for."""
    found: dict[str, tuple[Service, ...]] = {}
    for each in standing:
        service = _service(campaign, each.test.spec.service)
        if service is None or not each.needs_pods:
            continue
        made = tuple(variant_service(service, variant) for variant in each.test.challengers)
        found[service.name] = (*found.get(service.name, ()), *made)
    return found


def edge_tests(
    observed: Observed, campaign: Campaign, standing: Sequence[Standing], active: Mapping[str, str]
) -> tuple[wire.Test, ...]:
    """Say to the edge which buckets see which variant.

    Args:
        observed: The world: a variant without pods that serve takes no visitors, they are control's for that time.
        campaign: The Campaign.
        standing: Its tests, in the order in which they take visitors.
        active: The active slot of each released service.
    """
    made: list[wire.Test] = []
    for each in standing:
        spec = each.test.spec
        service = _service(campaign, spec.service)
        if service is None or not each.sends or sum(one.service == spec.service for one in made) >= MOST_AT_ONCE:
            continue
        arms = [Arm(variant.name, variant.weight) for variant in spec.variants]
        shares = {own.name: own for own in ranges(arms, spec.traffic)}
        serving = [
            variant
            for variant in spec.variants
            if variant.control
            or (variant.name not in each.state.withdrawn and serves(observed, campaign.name, spec.service, variant))
        ]
        made.append(
            wire.Test(
                name=each.test.name,
                service=spec.service,
                salt=each.state.salt,
                ranges=tuple(
                    wire.VariantRange(
                        variant=variant.name,
                        slot=active.get(spec.service, "") if variant.control else variant.name,
                        start=shares[variant.name].start,
                        end=shares[variant.name].end,
                    )
                    for variant in serving
                ),
            )
        )
    return tuple(made)


def serves(observed: Observed, campaign: str, service: str, variant: Variant) -> bool:
    """Tell whether a variant has a pod that serves."""
    live = variant_deployment(observed, campaign, service, variant)
    return live is not None and not live.deleting and int(live.status.get("availableReplicas") or 0) > 0


def variant_deployment(observed: Observed, campaign: str, service: str, variant: Variant) -> LiveObject | None:
    """Find the Deployment of a variant."""
    name = child_name(campaign, f"{service}-{variant.name}")
    return observed.children.get(ObjectKey("apps", "Deployment", observed.namespace, name))


def _service(campaign: Campaign, name: str) -> Service | None:
    return next((each for each in campaign.spec.services if each.name == name), None)
