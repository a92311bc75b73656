"""Ends containers from outside, as the kernel would: nobody is told."""

from typing import Any, Final

from tests.cluster.cluster import Cluster

_KILL: Final = 'date +%s.%N && ctr --namespace=k8s.io tasks kill --signal=SIGKILL "$0"'


def kill(cluster: Cluster, pod: dict[str, Any]) -> float:
    """Kills the process of a pod's one container with SIGKILL.

    Returns:
        The time of day just before.
    """
    (status,) = pod["status"]["containerStatuses"]
    container = status["containerID"].removeprefix("containerd://")
    return float(cluster.engine.docker("exec", pod["spec"]["nodeName"], "sh", "-c", _KILL, container))
