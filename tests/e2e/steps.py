"""Functions of `call` steps for pods of the tests, which find this file in a ConfigMap."""

import ctypes
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from imagejob_runner import ImageItem

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECONDS: Final = 10


def work(item: ImageItem, seconds: float) -> dict[str, str | float]:
    """Takes its time, and says when and where it did; in seconds of the clock that audit records use."""
    del item
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    time.sleep(seconds)
    return {"began": began, "ended": time.clock_gettime(time.CLOCK_BOOTTIME), "pod": os.environ["IMAGEJOB_POD_NAME"]}


def crash(item: ImageItem) -> None:
    """Ends the process without a word, as a defect in native code does."""
    del item
    os._exit(1)


def segfault(item: ImageItem) -> None:
    """Dies as native code does that reads where nothing is. A signal that it sent to itself would not reach a container's first process."""
    del item
    ctypes.string_at(0)


def use_up_memory(item: ImageItem) -> None:
    """Takes more memory than there is."""
    del item
    kept = []
    while True:
        kept.append(b"x" * (16 << 20))


def use_token(item: ImageItem, other: str, secret: str, neighbour: str) -> dict[str, int]:
    """Tries with the pod's own token what a runner may do, and what it may not.

    Args:
        item: Not looked at.
        other: A node that the pod is not on.
        secret: Name of a Secret in the pod's namespace.
        neighbour: Name of another pod there.

    Returns:
        The statuses of the API server's answers.
    """
    del item
    own, namespace = os.environ["IMAGEJOB_NODE_NAME"], os.environ["IMAGEJOB_POD_NAMESPACE"]
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{os.environ['IMAGEJOB_LEASE_NAMESPACE']}/leases"
    core = f"/api/v1/namespaces/{namespace}"
    progress = {"metadata": {"annotations": {"imagejob.dev/progress": "{}"}}}
    return {
        "update own Lease": _update(f"{leases}/{own}", _renew),
        "update other Lease": _update(f"{leases}/{other}", _renew),
        "change slots": _update(f"{leases}/{own}", lambda lease: lease["metadata"]["annotations"].update({"imagejob.dev/slots": "9"})),
        "delete own Lease": _ask("DELETE", f"{leases}/{own}")[0],
        "read Secret": _ask("GET", f"{core}/secrets/{secret}")[0],
        "list Pods": _ask("GET", f"{core}/pods")[0],
        "patch other Pod": _ask("PATCH", f"{core}/pods/{neighbour}", progress)[0],
    }


def _renew(lease: dict[str, Any]) -> None:
    lease["spec"]["renewTime"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _update(path: str, change: Callable[[dict[str, Any]], None]) -> int:
    """The status of a write of a changed object; where somebody else was faster, of another."""
    while True:
        read, found = _ask("GET", path)
        if read != HTTPStatus.OK:
            return read
        change(found)
        status, _ = _ask("PUT", path, found)
        if status != HTTPStatus.CONFLICT:
            return status


def _ask(method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    """Status and content of an answer of the API server."""
    request = urllib.request.Request(f"https://kubernetes.default.svc{path}", method=method)
    request.add_header("Authorization", f"Bearer {(_ACCOUNT / 'token').read_text()}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/merge-patch+json" if method == "PATCH" else "application/json")
    trust = ssl.create_default_context(cafile=_ACCOUNT / "ca.crt")
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS, context=trust) as answer:  # noqa: S310  of the cluster
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
