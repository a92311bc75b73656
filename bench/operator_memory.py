"""Memory of the operator with many ImageJobs, as long as any may be, on a real API server: its first start over them, and a restart.

The API server has no nodes: Jobs are created, and stay without pods.
"""

import asyncio
import json
import os
import re
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any, Final

import yaml
from kubernetes.aio.config import kube_config

from bench.figures import Figure, Measured
from imagejob_operator.kubernetes import ApiUnavailableError, ExistsError, KubernetesApi, connect
from imagejob_operator.kubernetes.kinds import IMAGE_JOB
from tests.cluster.control_plane import ControlPlane, Options, run_control_plane
from tests.cluster.processes import Child

LONG, SHORT = (int(os.environ.get(name, default)) for name, default in (("LONG", "1200"), ("SHORT", "10000")))
LIMIT_MIB: Final = 512
"""The chart's."""
NAMESPACE: Final = "team-a"
_PORT: Final = 18473
_AT_ONCE: Final = 8
_CRD_SECONDS: Final = 10
"""Until the API server goes by a CRD that has changed."""
_QUIET_LOOKS: Final = 5
_SECONDS: Final = 1800.0
_OPERATOR: Final = Path(sys.executable).with_name("imagejob-operator")
_CRDS: Final = Path(__file__).parents[1] / "crds"
_FINISHED: Final = {
    "observedGeneration": 1,
    "phase": "Succeeded",
    "startTime": "2026-05-04T10:00:00Z",
    "completionTime": "2026-05-04T11:00:00Z",
    "conditions": [
        {"type": "Finished", "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": "2026-05-04T11:00:00Z"},
    ],
}
Json = dict[str, Any]


def measure() -> Measured:
    """MiB at the peak, and seconds until all is reconciled."""
    with run_control_plane(Options(controllers=False)) as plane:
        plane.kubectl("apply", "-f", str(_CRDS))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        for namespace in ("imagejob-system", NAMESPACE):
            plane.kubectl("create", "namespace", namespace)
        kube_config.KUBE_CONFIG_DEFAULT_LOCATION = str(plane.kubeconfig)
        starts = {"no ImageJobs": _start(plane)}
        _let_status_be_created(plane, allowed=True)
        asyncio.run(_fill())
        _let_status_be_created(plane, allowed=False)
        starts |= {"first start": _start(plane), "restart": _start(plane)}
    empty = starts["no ImageJobs"]["peak"]
    figures = [Figure("peak without ImageJobs", empty, "MiB")]
    for name in ("first start", "restart"):
        figures += [
            Figure(f"peak, {LONG} of the largest size and {SHORT} small ones, {name}", starts[name]["peak"], "MiB", at_most=LIMIT_MIB / 2),
            Figure(f"at rest, {name}", starts[name]["rest"], "MiB"),
            Figure(f"until ready, {name}", starts[name]["ready"], "s"),
            Figure(f"until all are reconciled, {name}", starts[name]["settled"], "s"),
        ]
    return Measured(figures, starts)


def _let_status_be_created(plane: ControlPlane, *, allowed: bool) -> None:
    """Whether an object can be created as one that has ended, in one write."""
    crd = yaml.safe_load((_CRDS / "imagejobs.yaml").read_text())
    if allowed:
        del crd["spec"]["versions"][0]["subresources"]
    plane.kubectl("replace", "-f", "-", stdin=json.dumps(crd))
    time.sleep(_CRD_SECONDS)


def _start(plane: ControlPlane) -> dict[str, float]:
    """Runs the operator until it has nothing left to do."""
    command = [str(_OPERATOR), f"--port={_PORT}", "--host=127.0.0.1", "--log-level=WARNING"]
    operator = plane.run("operator", command)
    began = time.monotonic()
    try:
        _until(lambda: _asked("/readyz") is not None, operator)
        ready = time.monotonic() - began
        quiet: list[float] = []

        def at_rest() -> bool:
            depth = re.search(r"^imagejob_operator_queue_depth (\S+)", _asked("/metrics") or "", re.MULTILINE)
            if depth is None or float(depth[1]) != 0:
                quiet.clear()
                return False
            quiet.append(time.monotonic())
            return len(quiet) >= _QUIET_LOOKS

        _until(at_rest, operator)
        used = dict(re.findall(r"^(VmHWM|VmRSS):\s+(\d+) kB", Path(f"/proc/{operator.process.pid}/status").read_text(), re.MULTILINE))
        return {"peak": int(used["VmHWM"]) / 1024, "rest": int(used["VmRSS"]) / 1024, "ready": ready, "settled": quiet[0] - began}
    finally:
        operator.process.terminate()
        operator.process.wait(60)


def _until(good: Callable[[], bool], operator: Child) -> None:
    deadline = time.monotonic() + _SECONDS
    while not good():
        if operator.has_ended(1):
            raise RuntimeError(f"the operator ended with {operator.process.returncode}: {operator.end_of_log()}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"the operator has not come to rest within {_SECONDS:.0f} s")


def _asked(path: str) -> str | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{_PORT}{path}", timeout=30) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return None


async def _fill() -> None:
    """Of the long ones an eighth is suspended, and an eighth has started; all others have ended."""
    connection = await connect("imagejob-bench")
    try:
        jobs = chain(map(_long, range(LONG)), (_short(number, suspended=number % 100 == 0) for number in range(SHORT)))
        await _all_of(_make(connection.api, job) for job in jobs)
    finally:
        await connection.api.close()


async def _all_of(work: Iterable[Awaitable[None]]) -> None:
    left = iter(work)

    async def worker() -> None:
        for each in left:
            await each

    await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))


async def _make(api: KubernetesApi, job: Json) -> None:
    while True:
        try:
            await api.create(IMAGE_JOB, job)
        except ExistsError:
            return
        except ApiUnavailableError as error:
            print(error)
        else:
            return


def _short(number: int, *, suspended: bool) -> Json:
    job = _job(f"short-{number}", [{"url": f"s3://photos/{number}/{index}.jpg"} for index in range(10)])
    job["spec"]["suspend"] = suspended
    return job if suspended else {**job, "status": _FINISHED}


def _long(number: int) -> Json:
    """An ImageJob of the largest size that the chart admits: URLs, and the rest in an annotation."""
    job = _job(f"long-{number}", [{"url": f"s3://photos/{number}/{index:04}/{'x' * 110}.jpg"} for index in range(1000)])
    job["metadata"]["annotations"] = {"notes": "x" * (200 * 1024 - len(json.dumps(job["spec"])) - 40)}
    job["spec"]["suspend"] = number % 8 == 0
    return job if number % 8 < 2 else {**job, "status": _FINISHED}  # noqa: PLR2004  two of eight


def _job(name: str, urls: list[Json]) -> Json:
    return {
        "apiVersion": IMAGE_JOB.api_version,
        "kind": IMAGE_JOB.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "source": {"urls": urls},
            "pipeline": {"steps": [{"name": "download", "download": {}}, {"name": "save", "save": {}}]},
            "output": {"url": f"s3://results/{name}"},
            "gpu": {"sharing": "none"},
        },
    }
