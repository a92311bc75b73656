"""What a pod is told of itself, through its environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from imagejob_api.pod import ENV_INDEX, ENV_LEASE_NAMESPACE, ENV_NAMESPACE, ENV_NODE, ENV_POD, ENV_PODS, ENV_PROGRESS_SECONDS
from imagejob_runner.exceptions import InvalidJobError

DEFAULT_PROGRESS_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class PodEnvironment:
    """One pod among those of its job.

    Attributes:
        namespace, name: Of the pod; empty where there is none, as in a container that somebody runs by hand.
        node: Name of its node; empty where it is not told.
        lease_namespace: Where the Leases of a cluster are; empty: the limits of this machine's own store are taken.
        index: Its number among the pods of the job.
        pods: How many of these there are.
        progress_seconds: Least time between two reports of progress.
    """

    namespace: str = ""
    name: str = ""
    node: str = ""
    lease_namespace: str = ""
    index: int = 0
    pods: int = 1
    progress_seconds: float = DEFAULT_PROGRESS_SECONDS

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "PodEnvironment":
        """The pod that an environment describes.

        Raises:
            InvalidJobError: A number is none, or cannot be meant.
        """
        pod = cls(
            namespace=environment.get(ENV_NAMESPACE, ""),
            name=environment.get(ENV_POD, ""),
            node=environment.get(ENV_NODE, ""),
            lease_namespace=environment.get(ENV_LEASE_NAMESPACE, ""),
            index=int(_number(environment, ENV_INDEX, 0, whole=True)),
            pods=int(_number(environment, ENV_PODS, 1, whole=True)),
            progress_seconds=_number(environment, ENV_PROGRESS_SECONDS, DEFAULT_PROGRESS_SECONDS),
        )
        if not 0 <= pod.index < pod.pods:
            raise InvalidJobError(f"{ENV_INDEX} is {pod.index} and {ENV_PODS} is {pod.pods}: a pod's index is smaller than their number")
        return pod

    def shards(self, of: int) -> tuple[int, ...]:
        """The shards that are this pod's, of a plan's so many."""
        return tuple(range(self.index, of, self.pods))


def _number(environment: Mapping[str, str], name: str, default: float, *, whole: bool = False) -> float:
    text = environment.get(name, "")
    try:
        number = (int if whole else float)(text) if text else default
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise InvalidJobError(
            f"the environment variable {name} is {text!r}, and must be {'a whole number' if whole else 'a number'}, 0 or more"
        )
    return number
