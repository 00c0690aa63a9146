"""Keeping what a visit has shown in the ConfigMap that the operator made for it."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from flywheel.kube.errors import ApiError, LoginError
from flywheel.kube.gateway import Gateway
from flywheel.plan import ObjectKey
from flywheel.release.gate.browser.manifests import PLAN_KEY

REPORT_KEY = "report.json"
TIMEOUT_SECONDS = 15.0


async def keep(namespace: str, name: str, pictures: Mapping[str, bytes], report: Mapping[str, Any]) -> str:
    """Write pictures and report into a ConfigMap, in place of those of an earlier visit.

    Args:
        namespace: Namespace of the ConfigMap.
        name: Its name; it has to exist.
        pictures: JPEG by file name.
        report: What goes to `report.json`.

    Returns:
        Why it is not kept, or nothing when it is.
    """
    key = ObjectKey("", "ConfigMap", namespace, name)
    try:
        gateway = await Gateway.connect(connections=1, call_timeout=TIMEOUT_SECONDS)
    except LoginError as error:
        return str(error)
    try:
        there = await gateway.get(key)
        if there is None:
            return f"there is no ConfigMap {name}"
        await gateway.merge_patch(key, patch_for(there, pictures, report))
    except ApiError as error:
        return f"the ConfigMap {name} could not be written: {error.message}"
    finally:
        await gateway.close()
    return ""


def patch_for(
    there: Mapping[str, Any], pictures: Mapping[str, bytes], report: Mapping[str, Any]
) -> dict[str, dict[str, str | None]]:
    """Make the merge patch that leaves only this visit's pictures and report. Pure."""
    binary: dict[str, str | None] = dict.fromkeys(there.get("binaryData") or {})
    binary.update({name: base64.b64encode(picture).decode() for name, picture in pictures.items()})
    text: dict[str, str | None] = {name: None for name in there.get("data") or {} if name != PLAN_KEY}
    text[REPORT_KEY] = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    return {"data": text, "binaryData": binary}
