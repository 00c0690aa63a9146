"""The base of the images where no public one can be pulled: Debian's Python, from this machine's own mirror."""

import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

from tools.bootstrap.steps import CannotContinueError, cache_directory, run, step

PACKAGES = ("ca-certificates", "python3", "python3-venv")
UNNEEDED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists", "var/log")
# Change it with anything below that makes another image of the same packages.
RECIPE = "1"

CERTIFICATE_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
APT_CONFIGURATION = ("/etc/apt", "/usr/share/keyrings")
CERTIFICATES_IN_BUILD = "/etc/pip-certificates.pem"


def buildah(*arguments: str) -> list[str]:
    """Return a command of buildah that works on the project's own storage, beside that of the user."""
    storage, temporary = _storage()
    return ["buildah", "--root", storage, "--runroot", temporary, "--storage-driver", _driver(), *arguments]


def in_storage(image: str) -> str:
    """Name `image` of the project's own storage to other programs."""
    storage, temporary = _storage()
    return f"containers-storage:[{_driver()}@{storage}+{temporary}]{image}"


def _storage() -> tuple[str, str]:
    home = cache_directory() / "images"
    return f"{home}/storage", f"{home}/run"


def ensure_base_image() -> str:
    """Return the base image: what BASE names, else one of the machine's own Debian, made once.

    Raises:
        CannotContinueError: it cannot be made here.
    """
    if chosen := os.environ.get("BASE"):
        return chosen
    mirror, suite = _mirror()
    content = hashlib.sha256(repr((RECIPE, PACKAGES, UNNEEDED, mirror, suite, platform.machine())).encode())
    reference = f"localhost/flywheel-base:{content.hexdigest()[:12]}"
    if (
        subprocess.run(buildah("inspect", "--type", "image", reference), capture_output=True, check=False).returncode
        != 0
    ):
        with step(f"Making the base image from Debian {suite}", "a minute"):
            _make(reference, mirror, suite)
    return reference


def pip_mounts() -> list[str]:
    """Return the options that lend the machine's pip configuration and certificates to a build; no layer keeps them."""
    settings = {"disable-pip-version-check": "true", **_index_settings()}
    mounts = []
    bundle = next(
        (path for path in (os.environ.get("PIP_CERT", ""), *CERTIFICATE_BUNDLES) if path and Path(path).is_file()), None
    )
    if bundle:
        settings["cert"] = CERTIFICATES_IN_BUILD
        mounts = ["--volume", f"{Path(bundle).resolve()}:{CERTIFICATES_IN_BUILD}:ro"]
    configuration = cache_directory() / "images/pip.conf"
    configuration.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    configuration.chmod(0o600)
    return [*mounts, "--volume", f"{configuration}:/etc/pip.conf:ro"]


def apt_mounts(base: str) -> list[str]:
    """Return the options that lend the machine's apt configuration to a build on its own Debian; no layer keeps it."""
    if base == os.environ.get("BASE"):
        # Another release, perhaps, which brings what it needs.
        return []
    certificates = [path for path in CERTIFICATE_BUNDLES if Path(path).is_file()][:1]
    lent = [path for path in (*APT_CONFIGURATION, *certificates) if Path(path).exists()]
    return [option for path in lent for option in ("--volume", f"{Path(path).resolve()}:{path}:ro")]


def _index_settings() -> dict[str, str]:
    found = {}
    for name in ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout"):
        variable = os.environ.get(f"PIP_{name.replace('-', '_').upper()}")
        configured = subprocess.run(
            ["python3", "-m", "pip", "config", "get", f"global.{name}"], capture_output=True, text=True, check=False
        )
        if value := variable or configured.stdout.strip():
            found[name] = value.replace("\n", " ")
    return found


def _make(reference: str, mirror: str, suite: str) -> None:
    work = cache_directory() / "images/base.unfinished"
    shutil.rmtree(work, ignore_errors=True)
    root = work / "root"
    root.mkdir(parents=True)
    run(
        ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, root, mirror],
        env=_with_apt_proxy(),
    )
    for directory in UNNEEDED:
        shutil.rmtree(root / directory, ignore_errors=True)
    run(["tar", "--create", "--directory", root, "--file", work / "root.tar", "."])
    shutil.rmtree(root)
    (work / "Dockerfile").write_text('FROM scratch\nADD root.tar /\nCMD ["python3"]\n')
    run(buildah("build", "--isolation", "chroot", "--tag", reference, str(work)))
    shutil.rmtree(work)


def _mirror() -> tuple[str, str]:
    """Return where this machine gets its own release from."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    suite = release.get("VERSION_CODENAME", "").strip('"')
    sources = run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    )
    for address, name, component in (line.split() for line in sources.splitlines() if len(line.split()) == 3):
        if name == suite and component == "main":
            return address, suite
    raise CannotContinueError(
        f"no source of Debian {suite or 'packages'} is configured for apt: "
        "set BASE=docker.io/library/python:3.13-slim or another image"
    )


def _with_apt_proxy() -> dict[str, str]:
    found = run(["apt-config", "shell", "PROXY", "Acquire::http::Proxy"]).strip()
    proxy = found.removeprefix("PROXY=").strip("'")
    return {**os.environ, **({"http_proxy": proxy} if proxy and proxy != "DIRECT" else {})}


def _driver() -> str:
    """An overlay cannot be stacked on another one, as inside a container."""
    kind = run(["stat", "--file-system", "--format", "%T", cache_directory()]).strip()
    return "vfs" if kind == "overlayfs" else "overlay"
