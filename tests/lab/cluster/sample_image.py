"""The application that tests and benchmarks release: its image on the cluster, and its program on this machine."""

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.lab.cluster import lifecycle
from tests.lab.cluster.oci import write_single_program_image
from tests.lab.cluster.paths import Lab
from tools.bootstrap import single
from tools.bootstrap.debian import IMAGE_PACKAGES, ensure_packages
from tools.bootstrap.programs import ensure_programs
from tools.bootstrap.steps import CannotContinueError, locked, run, step

REPOSITORY = "flywheel-sample"


class Sample(NamedTuple):
    """The same program twice."""

    image: str
    """The reference under which pods get it; its user is not root, and without arguments it serves."""
    program: Path
    """The file on this machine; `program load` works in the namespaces of a lab as well."""


def ensure_sample(lab: Lab | None) -> Sample:
    """Build the application and bring it to the lab, which must be up; for another cluster push it to IMAGE_REGISTRY.

    Raises:
        CannotContinueError: it cannot be built, or there is no way to bring it to the cluster.
    """
    program = single.ensure_sample()
    name = f"{REPOSITORY}:{program.parent.name}"
    if lab:
        return Sample(_import(lab, program, f"localhost/{name}"), program)
    registry = os.environ.get("IMAGE_REGISTRY")
    if not registry:
        raise CannotContinueError(
            "the cluster of KUBECONFIG does not see the sample application of this machine: "
            "set IMAGE_REGISTRY=registry.example.org/team to a registry that both can reach"
        )
    return Sample(_push(program, f"{registry}/{name}"), program)


def _import(lab: Lab, program: Path, reference: str) -> str:
    programs = ensure_programs()
    # Fails where the lab is not up, before it makes a file where none would be removed.
    lifecycle.first_process(lab)
    with locked(lab.state / "sample.lock", "another import of the sample application"):
        if reference not in lifecycle.containerd(lab, programs, "images", "list", "--quiet").split():
            archive = lab.state / "sample.tar"
            with step(f"Importing {reference} into lab {lab.name}", "1 s"):
                write_single_program_image(program, reference, archive)
                lifecycle.import_image(lab, programs, archive)
            archive.unlink()
    return reference


def _push(program: Path, reference: str) -> str:
    ensure_packages(IMAGE_PACKAGES)
    with tempfile.TemporaryDirectory() as directory, step(f"Pushing {reference}"):
        archive = Path(directory) / "sample.tar"
        write_single_program_image(program, reference, archive)
        run(["skopeo", "copy", "--quiet", f"oci-archive:{archive}", f"docker://{reference}"])
    return reference
