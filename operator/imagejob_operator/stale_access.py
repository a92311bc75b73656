"""Takes the right to Leases from namespaces that are gone.

The RoleBinding that lets the pods of a namespace use Leases is in the operator's own namespace, since the Leases are. So it does not go
with theirs, and in a namespace that is made anew under the same name pods would have the right before any ImageJob ran there.

Nobody waits for it to go: one look every few minutes is enough, which asks only for namespaces that have no ImageJobs.
Where a first job comes at this very moment, `made` sees that its RoleBinding is gone, and it is made again.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from imagejob_api.pod import LABEL_MANAGED_BY, MANAGED_BY
from imagejob_operator.kubernetes import KubernetesApi, NotFoundError
from imagejob_operator.kubernetes.kinds import NAMESPACE, ROLE_BINDING
from imagejob_operator.manifest import Json
from imagejob_operator.objects.access import lease_binding
from imagejob_operator.settings import Settings
from imagejob_operator.work_queue import Key

STALE_ACCESS: Final[Key] = ("StaleAccess",)
"""The key to reconcile by `remove_stale_access`."""
LOOK_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Access:
    """A RoleBinding by which the pods of a namespace may use Leases."""

    namespace: str
    """Whose pods."""
    name: str
    """The RoleBinding's."""
    uid: str
    created: str
    """When it was made, RFC 3339."""


def accesses(bindings: Sequence[Json], settings: Settings) -> Iterator[Access]:
    """Those of some RoleBindings that this installation has made for namespaces."""
    for found in bindings:
        metadata = found["metadata"]
        namespace = metadata["name"].removeprefix(f"{settings.runner_service_account}.")
        wanted = lease_binding(namespace, settings)
        if metadata["name"] == wanted["metadata"]["name"] and found.get("roleRef") == wanted["roleRef"]:
            yield Access(namespace, metadata["name"], metadata["uid"], metadata["creationTimestamp"])


def is_stale(access: Access, namespace_created: str | None) -> bool:
    """Whether an access is that of a namespace which is gone.

    Args:
        access: Of a namespace without ImageJobs.
        namespace_created: When the namespace that is there now was made, RFC 3339; None: there is none.
    """
    return namespace_created is None or namespace_created > access.created


async def remove_stale_access(api: KubernetesApi, settings: Settings, in_use: Callable[[], Collection[str]]) -> float:
    """Delete the RoleBindings of namespaces that are gone; returns after how many seconds to look again.

    Args:
        api: The API server.
        settings: The operator's settings.
        in_use: The namespaces that have ImageJobs now.

    Raises:
        ApiError: It could not be done; the same is to be tried again.
    """
    found = await api.list(ROLE_BINDING, settings.namespace, label_selector=f"{LABEL_MANAGED_BY}={MANAGED_BY}")
    for access in accesses(found, settings):
        if access.namespace in in_use() or not is_stale(access, await _created(api, access.namespace)):
            continue
        await api.delete(ROLE_BINDING, access.name, settings.namespace, uid=access.uid)
    return LOOK_SECONDS


async def _created(api: KubernetesApi, namespace: str) -> str | None:
    try:
        return str((await api.get(NAMESPACE, namespace))["metadata"]["creationTimestamp"])
    except NotFoundError:
        return None
