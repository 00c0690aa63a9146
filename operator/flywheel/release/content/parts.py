"""The pod of a service whose content comes from Git or an image, in the words of a workload. Pure."""

from flywheel.api.service import CONTENT_PORT, Service
from flywheel.release.content.manifests import content_parts
from flywheel.workload.template import PodParts


def parts_of(service: Service, commit: str, image: str) -> PodParts | None:
    """Give what serves the content of a service; None for a service with an image of its own.

    Args:
        service: The service.
        commit: What of Git is served; empty for content from an image.
        image: Image of ours with the server.
    """
    if service.content is None:
        return None
    made = content_parts(service.name, service.content, commit, image, service.port or CONTENT_PORT)
    return PodParts(made.container, tuple(made.init_containers), tuple(made.volumes))
