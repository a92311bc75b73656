"""A namespace as a team has it: ImageJobs, credentials of the bucket, and functions for their `call` steps."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from imagejob_api.pod import LABEL_JOB, LABEL_PART
from imagejob_runner.audit import Hold, LimitFigures, LimitTally
from imagejob_runner.constants import HOLDS_FOLDER
from nodelease.codec import decode
from nodelease.kubernetes.names import lease_name
from nodelease.state import LeaseState
from tests.cluster.cluster import Cluster
from tests.e2e.servers import CREDENTIALS, Servers
from tests.e2e.waiting import eventually
from tests.tools.chart import NAMESPACE as LEASES

Json = dict[str, Any]

API: Final = "imagejob.dev/v1alpha1"
SECRET: Final = "bucket"  # noqa: S105  a name
STEPS: Final = Path(__file__).with_name("steps.py")
_FUNCTIONS: Final = "/opt/functions"
_SECONDS: Final = 180


@contextmanager
def new_namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace, which is removed in the end."""
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "test-"}}
    namespace = cluster.kubectl("create", "--filename=-", "--output=jsonpath={.metadata.name}", stdin=json.dumps(manifest))
    yield namespace
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@dataclass(frozen=True)
class Team:
    """One namespace."""

    cluster: Cluster
    servers: Servers
    namespace: str

    def prepare(self) -> None:
        """Makes what its jobs name: the Secret with the bucket's credentials, the ConfigMap with the functions.

        The namespace takes only pods that Pod Security's strictest profile takes.
        """
        self.cluster.kubectl("label", "namespace", self.namespace, "pod-security.kubernetes.io/enforce=restricted")
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": CREDENTIALS}
        functions = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "functions"}, "data": {"steps.py": STEPS.read_text()}}
        self.apply(secret, functions)

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """kubectl in this namespace."""
        return self.cluster.kubectl(f"--namespace={self.namespace}", *arguments, stdin=stdin, timeout=timeout)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Creates or changes objects."""
        self.kubectl("apply", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def patch(self, name: str, **spec: object) -> None:
        """Changes fields of an ImageJob's spec."""
        self.kubectl("patch", f"imagejob/{name}", "--type=merge", f"--patch={json.dumps({'spec': spec})}")

    def key(self, name: str) -> str:
        """Folder of an ImageJob's output in the bucket."""
        return f"{self.namespace}/{name}"

    def template(self, **fields: object) -> Json:
        """Fields of a pod template that let a job reach the bucket and the functions."""
        credentials = [{"name": name, "valueFrom": {"secretKeyRef": {"name": SECRET, "key": name}}} for name in CREDENTIALS]
        settings = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": self.servers.endpoint, "PYTHONPATH": _FUNCTIONS}
        return {
            "env": [*credentials, *({"name": name, "value": value} for name, value in settings.items())],
            "volumes": [{"name": "functions", "configMap": {"name": "functions"}}],
            "volumeMounts": [{"name": "functions", "mountPath": _FUNCTIONS}],
            **fields,
        }

    def image_job(
        self, name: str, steps: Sequence[Json], *, images: int, template: Mapping[str, Any] | None = None, **spec: object
    ) -> Json:
        """An ImageJob over so many numbered images.

        Args:
            name: Its name.
            steps: Of its pipeline.
            images: How many; the functions need no more of one than its id.
            template: More fields of the pod template.
            spec: More fields of the spec.
        """
        urls = [{"id": f"{number:04d}", "url": f"https://images.invalid/{number:04d}.jpg"} for number in range(images)]
        return {
            "apiVersion": API,
            "kind": "ImageJob",
            "metadata": {"name": name},
            "spec": {
                "source": {"urls": urls},
                "pipeline": {"steps": list(steps)},
                "output": {"url": self.servers.output(self.key(name))},
                "gpu": {"sharing": "none"},
                **spec,
                "template": self.template(**(template or {})),
            },
        }

    def get(self, name: str) -> Json:
        """An ImageJob as it is now."""
        found: Json = json.loads(self.kubectl("get", f"imagejob/{name}", "--output=json"))
        return found

    def status(self, name: str) -> Json:
        """Its status; empty before the operator has seen it."""
        found: Json = self.get(name).get("status", {})
        return found

    def phase(self, name: str) -> str:
        """Its phase."""
        return str(self.status(name).get("phase", ""))

    def condition(self, name: str, kind: str) -> Json:
        """One of its conditions; empty if it has none of that type."""
        return next((found for found in self.status(name).get("conditions", ()) if found["type"] == kind), {})

    def done(self, name: str) -> int:
        """Images that have a row, as the status says."""
        images = self.status(name).get("images", {})
        return sum(images.get(kind, 0) for kind in ("succeeded", "failed", "skipped"))

    def wait_for_condition(self, name: str, condition: str, seconds: float = _SECONDS) -> None:
        """`kubectl wait --for=condition=CONDITION`."""
        command = ("wait", f"--for=condition={condition}", f"imagejob/{name}", f"--timeout={seconds:.0f}s")
        self.kubectl(*command, timeout=seconds + 10)

    def wait_until_finished(self, name: str, seconds: float = _SECONDS) -> Json:
        """Waits for the condition Finished.

        Returns:
            The status.
        """
        self.wait_for_condition(name, "Finished", seconds)
        return self.status(name)

    def wait_until_working(self, name: str, images: int = 1, seconds: float = _SECONDS) -> None:
        """Waits until so many images have a row in the output."""
        eventually(lambda: self.rows_at_least(name, images), wanted=True, seconds=seconds)

    def rows_at_least(self, name: str, images: int) -> bool:
        """Whether so many images have a row in the output."""
        return len(self.rows(name)) >= images

    def lease(self, node: str, limit: str = "gpu") -> LeaseState:
        """What the Lease of a limit on a node says."""
        return decode(self.cluster.get(f"--namespace={LEASES}", "lease", lease_name(limit, node)))

    def holders(self, node: str, limit: str = "gpu") -> set[str]:
        """Names of this team's pods that hold a slot of a limit on a node."""
        holders = [holder.pod.partition("/") for holder in self.lease(node, limit).holders]
        return {name for namespace, _, name in holders if namespace == self.namespace}

    def held(self, nodes: Sequence[str]) -> set[str]:
        """Names of this team's pods that hold a slot of the GPU of any of some nodes."""
        return set().union(*(self.holders(node) for node in nodes))

    def pods(self, name: str, part: str = "work") -> list[Json]:
        """The pods of a part of an ImageJob."""
        found = json.loads(self.kubectl("get", "pods", f"--selector={LABEL_JOB}={name},{LABEL_PART}={part}", "--output=json"))
        pods: list[Json] = found["items"]
        return pods

    def running(self, name: str) -> list[Json]:
        """Those that run and have not been asked to end."""
        return [pod for pod in self.pods(name) if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]]

    def rows(self, name: str) -> list[Json]:
        """The rows of an ImageJob's output, by their id."""
        return sorted(self.servers.read(self.key(name), "results"), key=lambda row: str(row["id"]))

    def verify(self, name: str, *options: str) -> "subprocess.CompletedProcess[str]":
        """What `imagejob verify` says of an ImageJob's output."""
        return self.servers.verify(self.key(name), *options)

    def check_output(self, name: str) -> list[Json]:
        """The rows of a finished job, once `imagejob verify` has found nothing wrong with them."""
        report = self.verify(name)
        assert report.returncode == 0, report.stdout + report.stderr
        return self.rows(name)

    def holds(self, name: str) -> list[Hold]:
        """The audit records of a job's pods."""
        return [Hold(**record) for record in self.servers.read(self.key(name), HOLDS_FOLDER)]

    def limit_figures(self, name: str) -> LimitFigures:
        """What the pods of a job did with its one limit on one node, by their audit records."""
        tally = LimitTally()
        for hold in self.holds(name):
            tally.add(hold)
        return tally.figures(writes=0)


def call(function: str, *, step: str | None = None, limits: Sequence[Json] = (), **arguments: object) -> Json:
    """A step that calls one of the functions in `steps.py`, and is called like it unless told otherwise."""
    return {"name": step or function, "call": {"function": f"steps:{function}", "arguments": arguments}, "limits": list(limits)}


def gpu(hold: str = "0s") -> Json:
    """The limit of a step that takes a slot of its node's GPU."""
    return {"name": "gpu", "hold": hold}


def apart(job: str) -> Json:
    """An affinity by which the scheduler shares an ImageJob's pods out evenly."""
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {LABEL_JOB: job}}}
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}}
