"""The chart, installed in the test cluster with images of this checkout, as its administrator would."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster.cluster import Cluster
from tests.cluster.exceptions import CommandError
from tests.tools.chart import CHART, NAMESPACE, RELEASE, helm

DEPLOYMENT: Final = f"deployment/{RELEASE}-operator"
_PODS: Final = "app.kubernetes.io/component=operator"
_KINDS: Final = ("imagejobs", "imagepipelines", "nodelimits")
_START_SECONDS: Final = 100
"""Less than `helm` is given."""


@dataclass(frozen=True)
class Release:
    """The release, installed or not.

    Attributes:
        cluster: Where.
        images: The full names of the operator's and the runner's images, by the Dockerfile's target.
        node: Where the operator runs, so that a test can stop the other one.
    """

    cluster: Cluster
    images: Mapping[str, str]
    node: str
    env: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "env", {"KUBECONFIG": str(self.cluster.kubeconfig)})

    def install(self, chart: Path = CHART) -> None:
        """`helm install` into a cluster without a trace of imagejob, and the operator is ready."""
        self._helm("install", chart, "--create-namespace")

    def apply(self) -> None:
        """`helm upgrade --install`: makes the release, or brings it to what the checkout is now; the operator is ready."""
        self._helm("upgrade", CHART, "--install", "--create-namespace")

    def upgrade(self, chart: Path = CHART) -> None:
        """`helm upgrade`, and the operator is ready."""
        self._helm("upgrade", chart)

    def uninstall(self) -> None:
        """`helm uninstall`."""
        helm("uninstall", RELEASE, f"--namespace={NAMESPACE}", "--ignore-not-found", "--wait", env=self.env)

    def remove(self) -> None:
        """Takes away the release and all that outlives it."""
        self.uninstall()
        names = [f"{kind}.imagejob.dev" for kind in _KINDS]
        self.cluster.kubectl("delete", "customresourcedefinitions", *names, "--ignore-not-found", "--timeout=100s", timeout=110)
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=100s", timeout=110)

    def scale(self, replicas: int) -> None:
        """So many operators: none or one. Returns when the others have gone, or the one is ready."""
        self.kubectl("scale", DEPLOYMENT, f"--replicas={replicas}")
        if replicas:
            self.wait_until_ready()
        else:
            self.kubectl("wait", "--for=delete", "pod", f"--selector={_PODS}", f"--timeout={_START_SECONDS}s", timeout=_START_SECONDS + 10)

    def wait_until_ready(self) -> None:
        """Waits for the operator's readiness probe."""
        self.kubectl("rollout", "status", DEPLOYMENT, f"--timeout={_START_SECONDS}s", timeout=_START_SECONDS + 10)

    def logs(self) -> str:
        """The end of what the operator says."""
        return self.kubectl("logs", DEPLOYMENT, "--tail=200")

    def kubectl(self, *arguments: str, timeout: float = 60) -> str:
        """kubectl in the release's namespace."""
        return self.cluster.kubectl(f"--namespace={NAMESPACE}", *arguments, timeout=timeout)

    def _helm(self, verb: str, chart: Path, *flags: str) -> None:
        waiting = ("--wait", f"--timeout={_START_SECONDS}s")
        values = yaml.safe_dump(self._values())
        try:
            helm(verb, RELEASE, str(chart), f"--namespace={NAMESPACE}", "--values=-", *waiting, *flags, env=self.env, stdin=values)
        except CommandError as error:
            raise AssertionError(f"{error}\n{self.kubectl('describe', 'pods')[-4000:]}\n{self.logs()}") from error

    def _values(self) -> dict[str, Any]:
        def image(name: str) -> dict[str, str]:
            repository, _, tag = self.images[name].rpartition(":")
            return {"repository": repository, "tag": tag, "pullPolicy": "Never"}

        return {
            "image": image("operator"),
            "runner": {"image": image("runner")},
            "nodeSelector": {"kubernetes.io/hostname": self.node},
        }
