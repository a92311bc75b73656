"""`LeaseStore` over the API server of a cluster, for the limits of one node."""

from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any, Final, Never

from nodelease.exceptions import ConflictError, InvalidRequestError, LeaseError, LimitNotFoundError, StoreUnavailableError
from nodelease.kubernetes.access import Access
from nodelease.kubernetes.api import ApiError, ApiServer
from nodelease.kubernetes.names import LABEL_LIMIT, LABEL_NODE, lease_name
from nodelease.kubernetes.objects import lease_version, merged, read_lease
from nodelease.kubernetes.watch import LeaseWatch, Target
from nodelease.state import LeaseState
from nodelease.store import Observation, Snapshot

_WHAT_THERE_IS: Final = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
FIELD_MANAGER: Final = "nodelease"
"""Whom the API server names as the writer of the fields."""


class KubernetesStore:
    """The Leases of one node.

    A Lease is written with PUT, not with PATCH: a PUT always names the version that it replaces, where a PATCH without one would be taken
    too, and a workload can be kept from PATCH by its rights. So the newest object of each limit is kept, and what is not the contract's in
    it is written back as it was.

    Args:
        access: Where the API server is and how to be let in.
        namespace: Where the Leases are: the operator's namespace.
        node: Whose Leases.
    """

    def __init__(self, access: Access, namespace: str, node: str) -> None:
        hint = f"Those who take slots on node {node!r} need the rights of Role imagejob-lease-user in namespace {namespace!r}"
        self._api = ApiServer(access, hint)
        self._namespace = namespace
        self._node = node
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._objects: dict[str, Mapping[str, Any]] = {}
        """The newest object seen of each limit."""

    async def read(self, limit: str) -> Snapshot:
        """See `LeaseStore.read`."""
        return self._understand(limit, await self._get(limit))

    async def create(self, limit: str, state: LeaseState) -> Never:
        """Not for workloads, which could not be kept from making more slots.

        Raises:
            InvalidRequestError: Always.
        """
        raise InvalidRequestError(
            f"limit {limit!r} cannot be given {state.slots} slots here: in a cluster a NodeLimit object makes and changes it"
        )

    async def replace(self, limit: str, state: LeaseState, expected: str) -> Snapshot:
        """See `LeaseStore.replace`."""
        known = self._objects.get(limit)
        if known is None or lease_version(known) != expected:
            known = await self._get(limit)
        if lease_version(known) != expected:
            raise ConflictError(f"Lease {self._name(limit)!r} is not at version {expected} any more", self._understand(limit, known))
        try:
            written = await self._api.request("PUT", self._object(limit), {"fieldManager": FIELD_MANAGER}, merged(known, state))
        except ApiError as error:
            if error.status == HTTPStatus.CONFLICT:
                raise ConflictError(str(error), self._newer(limit, expected)) from error
            raise self._translated(limit, error) from error
        self._remember(limit, written)
        return Snapshot(lease_version(written), state)

    def watch(self, limit: str) -> AsyncIterator[Observation]:
        """See `LeaseStore.watch`."""
        return LeaseWatch(self._api, self._target(limit)).observations()

    async def limits(self) -> list[str]:
        """See `LeaseStore.limits`. Read from the beginning of a watch, which takes no other right than what taking slots does."""
        names: set[str] = set()
        async with self._api.events(self._path, {"labelSelector": f"{LABEL_NODE}={self._node}", **_WHAT_THERE_IS}) as events:
            async for event in events:
                if event["type"] == "BOOKMARK":  # the first one follows the last of what there is
                    return sorted(names)
                names.add(event["object"]["metadata"]["labels"].get(LABEL_LIMIT, ""))
        raise StoreUnavailableError("the API server ended a watch before it had told what there is")

    def order(self, version: str) -> int:
        """See `LeaseStore.order`. Kubernetes promises this of resourceVersions since 1.35, and etcd's were so always."""
        return int(version)

    async def close(self) -> None:
        """See `LeaseStore.close`."""
        await self._api.close()

    def _name(self, limit: str) -> str:
        return lease_name(limit, self._node)

    def _object(self, limit: str) -> str:
        return f"{self._path}/{self._name(limit)}"

    def _target(self, limit: str) -> Target:
        return Target(
            path=self._path,
            name=self._name(limit),
            missing=self._missing(limit),
            read=lambda: self.read(limit),
            understand=lambda lease: self._understand(limit, lease),
        )

    async def _get(self, limit: str) -> Mapping[str, Any]:
        try:
            lease = await self._api.request("GET", self._object(limit))  # without a resourceVersion: never from a cache
        except ApiError as error:
            raise self._translated(limit, error) from error
        self._remember(limit, lease)
        return lease

    def _understand(self, limit: str, lease: Mapping[str, Any]) -> Snapshot:
        self._remember(limit, lease)
        return read_lease(lease, limit, self._node)

    def _remember(self, limit: str, lease: Mapping[str, Any]) -> None:
        known = self._objects.get(limit)
        if known is None or self.order(lease_version(lease)) >= self.order(lease_version(known)):
            self._objects[limit] = lease

    def _newer(self, limit: str, version: str) -> Snapshot | None:
        """What the watch has brought meanwhile, which saves reading it; nearly always it is what won."""
        known = self._objects.get(limit)
        if known is None or self.order(lease_version(known)) <= self.order(version):
            return None
        return self._understand(limit, known)

    def _translated(self, limit: str, error: ApiError) -> LeaseError:
        if error.status == HTTPStatus.NOT_FOUND:
            self._objects.pop(limit, None)
            return LimitNotFoundError(self._missing(limit))
        return error

    def _missing(self, limit: str) -> str:
        return (
            f"limit {limit!r} does not exist on node {self._node!r}: namespace {self._namespace!r} has no Lease {self._name(limit)!r}. "
            f"A NodeLimit {limit!r} whose nodeSelector matches the node makes it"
        )
