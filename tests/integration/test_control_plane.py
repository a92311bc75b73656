"""The control plane of the tests: quick, alone on its machine or not, and gone with whoever started it."""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.cluster.components.build import KUBERNETES_VERSION
from tests.cluster.control_plane import ControlPlane, Options, run_control_plane
from tests.cluster.exceptions import CommandError, StartError
from tests.cluster.folders import claimed_folder
from tests.integration.conftest import StartControlPlane

pytestmark = pytest.mark.integration

RecordProperty = Callable[[str, object], None]

CHECKOUT = Path(__file__).parents[2]
READY_SECONDS = 10.0
MOST_CROWDED = 4.0
GONE_SECONDS = 10.0

CRASHING_TEST = """
import os, signal, sys
from pathlib import Path
from tests.cluster.control_plane import run_control_plane

def test_that_crashes():
    with run_control_plane() as plane:
        children = [str(child.process.pid) for child in plane._children]
        Path({report!r}).write_text(" ".join([str(plane.files.folder), *children]))
        {crash}
"""


def test_versions(control_plane: ControlPlane) -> None:
    versions = json.loads(control_plane.kubectl("version", "-o", "json"))
    assert versions["serverVersion"]["gitVersion"] == KUBERNETES_VERSION
    assert versions["clientVersion"]["gitVersion"] == KUBERNETES_VERSION


def test_it_is_ready_in_seconds(record_testsuite_property: RecordProperty) -> None:
    started = time.monotonic()
    with run_control_plane():
        took = time.monotonic() - started
    record_testsuite_property("control_plane_ready_seconds", took)
    crowd = os.getloadavg()[0] / (os.cpu_count() or 1)
    record_testsuite_property("load_per_processor", crowd)
    assert took <= READY_SECONDS * min(max(1.0, crowd), MOST_CROWDED), "in proportion, where others are using the machine"


def test_five_side_by_side(record_testsuite_property: RecordProperty) -> None:
    def start_one(number: int) -> ControlPlane:
        started = time.monotonic()
        plane = running.enter_context(run_control_plane())
        record_testsuite_property(f"control_plane_ready_seconds_{number}_of_five", time.monotonic() - started)
        plane.kubectl("create", "namespace", f"number-{number}")
        return plane

    with ExitStack() as running, ThreadPoolExecutor(5) as pool:
        planes = list(pool.map(start_one, range(5)))
        assert len({plane.url for plane in planes}) == 5
        for number, plane in enumerate(planes):
            names = plane.kubectl("get", "namespaces", "-o", "name").split()
            assert [name for name in names if "number-" in name] == [f"namespace/number-{number}"]


@pytest.mark.parametrize("crash", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(3)", "os.abort()"])
def test_nothing_stays_when_a_test_crashes(tmp_path: Path, crash: str) -> None:
    report = tmp_path / "report"
    test = tmp_path / "test_crash.py"
    test.write_text(CRASHING_TEST.format(report=str(report), crash=crash))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:faulthandler", f"--rootdir={CHECKOUT}", str(test)]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert report.exists(), run.stdout + run.stderr
    folder, *children = report.read_text().split()
    assert len(children) == 4
    wait_until_gone([int(child) for child in children])
    with run_control_plane(Options(controllers=False)):
        assert not Path(folder).exists(), "the next start removes what the crash left on the disk"


def wait_until_gone(processes: Sequence[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(process)
            try:
                assert select.select([handle], [], [], GONE_SECONDS)[0], f"process {process} is still there"
            finally:
                os.close(handle)


def test_it_removes_its_folder() -> None:
    with run_control_plane(Options(controllers=False)) as plane:
        folder = plane.files.folder
        assert (folder / "logs" / "kube-apiserver.log").stat().st_size > 0
    assert not folder.exists()


@pytest.fixture
def short_tmp_path() -> Iterator[Path]:
    """A folder in which there is room for the names of sockets."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_a_failed_start_shows_why_and_keeps_the_logs(monkeypatch: pytest.MonkeyPatch, short_tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(short_tmp_path))
    with pytest.raises(StartError, match="no-such-flag") as raised, run_control_plane(Options(apiserver_args=["--no-such-flag"])):
        pytest.fail("it cannot run")
    (kept,) = short_tmp_path.glob("*/logs")
    assert str(raised.value).startswith(f"kube-apiserver ended with 1; its log in {kept} ends with:")
    assert {path.name for path in kept.parent.iterdir()} == {"logs"}
    with claimed_folder(kept.parent.name[:-8]):
        assert kept.exists(), "kept logs are not swept up"


def test_a_user_may_do_what_rbac_allows(control_plane: ControlPlane) -> None:
    access = str(control_plane.kubeconfig_for("ada", ["readers"]))
    with pytest.raises(CommandError, match='User "ada" cannot list resource "nodes"'):
        control_plane.kubectl(f"--kubeconfig={access}", "get", "nodes")
    control_plane.kubectl("create", "clusterrole", "read-nodes", "--verb=list", "--resource=nodes")
    control_plane.kubectl("create", "clusterrolebinding", "read-nodes", "--clusterrole=read-nodes", "--group=readers")
    control_plane.kubectl(f"--kubeconfig={access}", "get", "nodes")


def test_controllers_and_scheduler_work(start_control_plane: StartControlPlane) -> None:
    """Pods of a Job run on a simulated node as far as its GPUs go; the third one waits until another has ended."""
    plane = start_control_plane(Options())
    plane.simulate_nodes()
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(node("worker", gpus=2)))
    plane.kubectl("wait", "--for=condition=Ready", "node/worker", "--timeout=60s")
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(gpu_job("three", pods=3)))
    plane.kubectl("wait", "--for=jsonpath={.status.ready}=2", "job/three", "--timeout=60s")
    plane.kubectl(
        "wait",
        "--for=condition=PodScheduled=False",
        "pod",
        "-l",
        "job-name=three",
        "--field-selector=status.phase=Pending",
        "--timeout=60s",
    )
    phases = plane.kubectl("get", "pods", "-l", "job-name=three", "-o", "jsonpath={.items[*].status.phase}")
    assert sorted(phases.split()) == ["Pending", "Running", "Running"]
    assert "Insufficient nvidia.com/gpu" in plane.kubectl("get", "pods", "-o", "jsonpath={..conditions[*].message}")
    for code in ("0", "42"):
        running = plane.kubectl("get", "pods", "-l", "job-name=three", "-o", "name", "--field-selector=status.phase=Running").split()
        plane.kubectl("annotate", running[0], f"simulated/exit-code={code}")
        phase = "Succeeded" if code == "0" else "Failed"
        plane.kubectl("wait", f"--for=jsonpath={{.status.phase}}={phase}", running[0], "--timeout=60s")
    plane.kubectl("wait", "--for=jsonpath={.status.succeeded}=1", "--for=jsonpath={.status.failed}=1", "job/three", "--timeout=60s")


def node(name: str, gpus: int) -> dict[str, object]:
    resources = {"cpu": "8", "memory": "32Gi", "pods": "110", "nvidia.com/gpu": str(gpus)}
    status = {"allocatable": resources, "capacity": resources}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}


def gpu_job(name: str, pods: int) -> dict[str, object]:
    container = {"name": "main", "image": "none", "resources": {"limits": {"nvidia.com/gpu": 1}}}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {"parallelism": pods, "completions": pods, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}
