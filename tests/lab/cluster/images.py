"""Build the project's images, each once for each version of its source, and bring them to the cluster."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cluster import lifecycle
from tests.lab.cluster.base_image import apt_mounts, buildah, ensure_base_image, pip_mounts
from tests.lab.cluster.layout import Layout
from tests.lab.cluster.paths import Lab
from tools.bootstrap.debian import IMAGE_PACKAGES, ensure_packages
from tools.bootstrap.programs import ensure_programs
from tools.bootstrap.steps import REPOSITORY, CannotContinueError, cache_directory, locked, run, say, step

KEEP_VERSIONS = 3


@dataclass(frozen=True)
class Source:
    """What an image is built from; `alias` is the name under which manifests of the repository ask for it."""

    repository: str
    alias: str
    context: Path
    files: tuple[str, ...]
    target: str = ""

    def fingerprint(self, base: str) -> str:
        """Name the content that the image is built from."""
        content = hashlib.sha256(f"{base}\0{self.target}\0".encode())
        for path in self._paths():
            content.update(path.relative_to(self.context).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
        return content.hexdigest()[:12]

    def _paths(self) -> Iterator[Path]:
        for name in ("Dockerfile", ".dockerignore", *self.files):
            path = self.context / name
            if path.is_dir():
                yield from sorted(
                    each for each in path.rglob("*") if each.is_file() and "__pycache__" not in each.parts
                )
            else:
                yield path


PROJECT = ("operator/flywheel", "pyproject.toml", "README.md", "requirements/build.txt", "requirements/operator.txt")

SOURCES = {
    "operator": Source("flywheel", "localhost/flywheel:0.1.0", REPOSITORY, PROJECT, target="operator"),
    "edge": Source("flywheel-edge", "localhost/flywheel-edge:0.1.0", REPOSITORY, PROJECT, target="edge"),
    "analytics": Source(
        "flywheel-analytics",
        "localhost/flywheel-analytics:0.1.0",
        REPOSITORY,
        (*PROJECT, "requirements/analytics.txt", "requirements/fraud.txt"),
        target="analytics",
    ),
    "browser": Source(
        "flywheel-browser",
        "localhost/flywheel-browser:0.1.0",
        REPOSITORY,
        (*PROJECT, "requirements/browser.txt"),
        target="browser",
    ),
    "content": Source("flywheel-content", "localhost/flywheel-content:0.1.0", REPOSITORY, PROJECT, target="content"),
    "shop": Source(
        repository="yougou-shop",
        alias="docker.io/library/yougou-shop:1.0.0",
        context=REPOSITORY / "examples/shop",
        files=("requirements.txt", "shop"),
    ),
}


def ensure_images(lab: Lab | None) -> dict[str, str]:
    """Return the reference of each image by its short name, built, and known to the cluster if it is up.

    For a cluster that is not the lab they are pushed to the registry that IMAGE_REGISTRY names.

    Raises:
        CannotContinueError: a build failed, or there is no way to bring the images to the cluster.
    """
    registry = os.environ.get("IMAGE_REGISTRY")
    if not lab and not registry:
        raise CannotContinueError(
            "the cluster of KUBECONFIG does not see the images of this machine: "
            "set IMAGE_REGISTRY=registry.example.org/team to a registry that both can reach"
        )
    ensure_packages(IMAGE_PACKAGES)
    with locked(_home() / "lock", "another build of images"):
        base = ensure_base_image()
        return {name: _ensure(source, base, lab, registry) for name, source in SOURCES.items()}


def _ensure(source: Source, base: str, lab: Lab | None, registry: str | None) -> str:
    tag = source.fingerprint(base)
    local = f"localhost/{source.repository}:{tag}"
    layout, name = Layout(_home() / "layout"), f"{source.repository}-{tag}"
    if not layout.use(name):
        with step(f"Building {local}", "5 s after a change of the source, a minute or two the first time"):
            _build(source, base, local)
            layout.add(local, name)
        _remove_old_versions(layout, source)
    if lab:
        if lifecycle.has_node(lab):
            _import(source, lab, local, name)
        return local
    pushed = f"{registry}/{source.repository}:{tag}"
    with step(f"Pushing {pushed}"):
        run(buildah("push", local, f"docker://{pushed}"))
    return pushed


def _build(source: Source, base: str, reference: str) -> None:
    target = ["--target", source.target] if source.target else []
    # The machine may not let a build have namespaces of its own; the steps of these builds need none.
    options = ["--isolation", "chroot", "--layers", "--build-arg", f"BASE={base}", *pip_mounts(), *apt_mounts(base)]
    run(buildah("build", *options, *target, "--tag", reference, str(source.context)))


def _import(source: Source, lab: Lab, reference: str, name: str) -> None:
    programs = ensure_programs()
    if reference not in lifecycle.containerd(lab, programs, "images", "list", "--quiet").split():
        known = lifecycle.containerd(lab, programs, "content", "list", "--quiet").split()
        archive = lab.state / "image.tar"
        with step(f"Importing {reference} into lab {lab.name}", "1 s after a change of the source"):
            Layout(_home() / "layout").write_archive(name, reference, known, archive)
            lifecycle.import_image(lab, programs, archive)
        archive.unlink()
    lifecycle.containerd(lab, programs, "images", "tag", "--force", reference, source.alias)


def _in_storage(reference: str) -> bool:
    return reference in run(buildah("images", "--noheading", "--format", "{{.Name}}:{{.Tag}}")).split()


def _remove_old_versions(layout: Layout, source: Source) -> None:
    for name in layout.keep(source.repository, KEEP_VERSIONS):
        tag = name.removeprefix(f"{source.repository}-")
        if _in_storage(reference := f"localhost/{source.repository}:{tag}"):
            run(buildah("rmi", "--force", reference))
            say(f"  removed the old {reference}")


def _home() -> Path:
    return cache_directory() / "images"
