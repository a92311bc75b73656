"""Whether a job's output can be read from this machine, and what to do if not. Pure."""

import os
from collections.abc import Mapping
from typing import Any, Final

from imagejob_cli.wording import printable

_ENDPOINTS: Final = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT",
    "GOOGLE_BASE_URL",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_ENDPOINT",
)
"""Variables that lead a store's client to another server than the provider's."""


def why_unreachable(url: str, spec: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> str | None:
    """Why the output is not the one that this machine would read under its URL; None if it may be.

    Args:
        url: Of the output.
        spec: Of the job.
        environment: Of this process.
    """
    template = spec.get("template") or {}
    if "://" not in url or url.startswith("file://"):
        return _in_a_volume(template.get("volumes") or [])
    for variable in template.get("env") or []:
        name, value = variable.get("name"), variable.get("value")
        if name in _ENDPOINTS and value and not any(known in environment for known in _ENDPOINTS):
            return (
                f"its pods reach it with {name}={printable(str(value))}, and this machine has no such variable. Where that address is "
                "inside the cluster, forward its port with kubectl port-forward, and set the variable to the forwarded address, "
                "with credentials for it"
            )
    return None


def unreachable_hint(url: str, spec: Mapping[str, Any]) -> str:
    """What to add to an error that came of reading the output."""
    secret = any("valueFrom" in variable for variable in (spec.get("template") or {}).get("env") or [])
    source = "the job's pods take theirs from elsewhere; " if secret else ""
    return f"{printable(url)} is read with this machine's network and credentials: {source}set them as for any client of the store"


def _in_a_volume(volumes: list[Mapping[str, Any]]) -> str:
    claims = [volume["persistentVolumeClaim"].get("claimName", "") for volume in volumes if volume.get("persistentVolumeClaim")]
    where = f"on the volume claim {printable(', '.join(claims))}" if claims else "inside the job's pods"
    how = "run `imagejob verify` in a pod that mounts it" if claims else "it went with them; write to a bucket or a volume"
    return f"it is a folder {where}, which this machine does not see: {how}"
