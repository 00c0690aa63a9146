"""What browser gates have kept: which ConfigMaps hold it, and how it becomes files."""

import base64
import binascii
import os
import re
from collections.abc import Mapping
from pathlib import Path

from flywheel.commands.release_seen import Refusal, Seen, chosen
from flywheel.plan import Manifest

EVIDENCE = re.compile(r"configmap/([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)")
FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
REPORT = "report.json"
LARGEST = 2 << 20
"""Bytes of one file: the API server keeps ConfigMaps below that."""


def evidence_of(seen: Seen, service: str, gate: str) -> dict[str, str]:
    """Name the ConfigMap of each gate that has kept something. Pure.

    Raises:
        Refusal: There is none, or none of the gate that is named.
    """
    (state,) = chosen(seen, service).values()
    found = {}
    for each in state.gates:
        named = EVIDENCE.fullmatch(each.evidence)
        if named and FILE.fullmatch(each.name):
            found[each.name] = named[1]
    if gate and gate not in found:
        there = f" Those that have: {', '.join(found)}." if found else ""
        raise Refusal(f"The gate {gate!r} of {service} has kept no pictures in this release.{there}")
    if not found:
        raise Refusal(f"No gate of {service} has kept pictures in this release: only browser gates do, when they end.")
    return {gate: found[gate]} if gate else found


def files_of(manifest: Manifest) -> dict[str, bytes]:
    """Take pictures and report out of a ConfigMap, leaving out what is no safe name for a file. Pure."""
    made = {}
    for name, text in (manifest.get("binaryData") or {}).items():
        try:
            made[str(name)] = base64.b64decode(text, validate=True)
        except (binascii.Error, TypeError, ValueError):
            continue
    report = (manifest.get("data") or {}).get(REPORT)
    if isinstance(report, str):
        made[REPORT] = report.encode()
    return {name: content for name, content in made.items() if FILE.fullmatch(name) and len(content) <= LARGEST}


def write_files(directory: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write files into a directory, in place of earlier ones, and never through a link.

    Raises:
        OSError: It cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in sorted(files.items()):
        path = directory / name
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644), "wb") as file:
            file.write(content)
        written.append(path)
    return written
