"""Write a container image of a single static program, or of plain files, as an archive that containerd imports."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MEDIA = "application/vnd.oci.image"


def write_single_program_image(program: Path, reference: str, archive: Path) -> None:
    """Write the image `reference`, whose only file and entry point is `program`, to `archive`."""
    content = {program.name: program.read_bytes()}
    _write(content, 0o755, {"Entrypoint": [f"/{program.name}"], "User": "65535:65535"}, reference, archive)


def write_files_image(files: Mapping[str, bytes], reference: str, archive: Path) -> str:
    """Write the image `reference`, which holds files and runs nothing, to `archive`; return its digest."""
    return _write(files, 0o644, {}, reference, archive)


def _write(files: Mapping[str, bytes], mode: int, runs: Mapping[str, Any], reference: str, archive: Path) -> str:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name, content in files.items():
            _add(tar, name, content, mode=mode)
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": runs,
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer.getvalue())]},
    }
    blobs: list[bytes] = []
    layers = [_blob(blobs, layer.getvalue(), f"{MEDIA}.layer.v1.tar")]
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA}.manifest.v1+json",
        "config": _blob(blobs, _json(config), f"{MEDIA}.config.v1+json"),
        "layers": layers,
    }
    entry = _blob(blobs, _json(manifest), f"{MEDIA}.manifest.v1+json")
    entry["annotations"] = {"io.containerd.image.name": reference}
    with tarfile.open(archive, "w") as tar:
        for blob in blobs:
            _add(tar, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _json({"schemaVersion": 2, "manifests": [entry]}))
    return str(entry["digest"])


def _blob(blobs: list[bytes], content: bytes, media_type: str) -> dict[str, Any]:
    blobs.append(content)
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = mode
    tar.addfile(member, io.BytesIO(content))


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
