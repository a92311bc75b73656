"""What is there of each kind, by events and by lists.

A watch tells of changes. It does not tell when all that was there at its start has been told of, and kopf's does not tell of what was
deleted while it was down. So everything is listed once before anything is done, and again now and then.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from imagejob_operator.kubernetes import KubernetesApi, Page, RefusedError
from imagejob_operator.kubernetes.kinds import Kind
from imagejob_operator.versions import Versions, version_of

logger = logging.getLogger(__name__)

Json = Mapping[str, Any]
Key = TypeVar("Key")

RELIST_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Objects(Generic[Key]):
    """The objects of one kind, and what to do about each."""

    versions: Versions[Key]
    key: Callable[[Json], Key | None]
    """Which one it is; None: none that is looked after."""
    seen: Callable[[Key, Json], None]
    """It is there, and looks so."""
    gone: Callable[[Key], None]
    """It is there no more."""
    list: Callable[[], AsyncIterator[Page]]
    """All there are, from the API server."""

    def report(self, event_type: str | None, thing: Json) -> None:
        """Take in what a watch, or the answer to a request, says."""
        key = self.key(thing)
        if key is None:
            return
        if event_type == "DELETED":
            self.forget(key, version_of(thing))
        elif self.versions.update(key, version_of(thing)):
            self.seen(key, thing)

    def forget(self, key: Key, version: int) -> None:
        """It was deleted at, or after, this version."""
        if self.versions.remove(key, version):
            self.gone(key)

    async def relist(self) -> None:
        """Read all, page by page: no more than one is in memory.

        Raises:
            ApiError: They cannot be read now.
        """
        before = self.versions.start_list()
        listed: set[Key] = set()
        async for page in self.list():
            self._take_in(page.items, listed)
            del page
            await asyncio.sleep(0)  # watches and probes have their turn
        for key, version in self.versions.end_list(before, listed).items():
            self.forget(key, version)

    def _take_in(self, things: Sequence[Json], listed: set[Key]) -> None:
        for thing in things:
            key = self.key(thing)
            if key is None:
                continue
            listed.add(key)
            if not self.versions.is_deleted(key):
                self.report(None, thing)


class Lister:
    """Lists all kinds at the start, and when that was long ago.

    Args:
        kinds: In the order in which to list them.
        listed: Called after each time.
        clock: Seconds that pass.
    """

    def __init__(
        self, kinds: Sequence[Objects[str] | Objects[tuple[str, str]]], listed: Callable[[], None], clock: Callable[[], float]
    ) -> None:
        self._kinds = kinds
        self._listed = listed
        self._clock = clock
        self._at: float | None = None
        self._lock = asyncio.Lock()

    @property
    def due_seconds(self) -> float:
        """Time until the next list."""
        return 0.0 if self._at is None else max(0.0, self._at + RELIST_SECONDS - self._clock())

    async def first(self) -> None:
        """List all, unless that has been done."""
        if self._at is None:
            await self.refresh()

    async def refresh(self) -> None:
        """List all, if it is time."""
        async with self._lock:
            if self.due_seconds > 0:
                return
            for kind in self._kinds:
                await kind.relist()
            self._at = self._clock()
            self._listed()


async def pages_in(
    api: KubernetesApi, kind: Kind, namespaces: Sequence[str], *, label_selector: str = "", field_selector: str = ""
) -> AsyncIterator[Page]:
    """All objects of a kind in some namespaces; everywhere unless any is named.

    A namespace that was deleted took the right to list there with it, so one of several that refuses counts as empty.

    Raises:
        ApiError: They cannot be read now, or all namespaces refuse.
    """
    refused = 0
    for namespace in namespaces or (None,):
        try:
            async for page in api.pages(kind, namespace, label_selector=label_selector, field_selector=field_selector):
                yield page
                del page
        except RefusedError as error:
            refused += 1
            if refused >= len(namespaces):
                raise
            logger.warning("Namespace %s is left aside; take it out of watchNamespaces if it is gone: %s", namespace, error)
