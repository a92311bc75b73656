"""What a pod is told of itself, through its environment (names.ENV_*), by the operator or by whoever wrote its manifest."""

import re
from collections.abc import Mapping
from typing import Final

from nodelease.exceptions import InvalidRequestError
from nodelease.kubernetes.names import ENV_CONTAINER, ENV_LEASE_NAMESPACE, ENV_NODE, ENV_POD_NAME, ENV_POD_NAMESPACE

_CONTAINER: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def is_member(environment: Mapping[str, str]) -> bool:
    """Whether this process is in a pod that shares the limits of its node."""
    return bool(environment.get(ENV_LEASE_NAMESPACE) and environment.get(ENV_NODE))


def pod(environment: Mapping[str, str]) -> str:
    """`namespace/name` of this pod. It must be true: the slots of pods that do not exist are taken away.

    Raises:
        InvalidRequestError: The environment does not tell.
    """
    return f"{told(ENV_POD_NAMESPACE, environment)}/{told(ENV_POD_NAME, environment)}"


def container(environment: Mapping[str, str]) -> str:
    """The container's name; "" if it is not told.

    Raises:
        InvalidRequestError: It is no name.
    """
    name = environment.get(ENV_CONTAINER, "")
    if name and _CONTAINER.fullmatch(name) is None:
        raise InvalidRequestError(f"{ENV_CONTAINER} must be the name of the container as in the pod's manifest, and is {name!r:.80}")
    return name


def told(name: str, environment: Mapping[str, str]) -> str:
    """A variable that must be there.

    Raises:
        InvalidRequestError: It is not.
    """
    value = environment.get(name)
    if not value:
        raise InvalidRequestError(f"{name} is not set: a pod that takes slots is told of itself by the downward API, see docs/lease.md")
    return value
