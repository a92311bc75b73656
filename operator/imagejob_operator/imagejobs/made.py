"""What the operator makes for pods besides their Jobs, and makes again when somebody deletes it.

Pods that run do not notice that their ConfigMap, their service account or their rights are gone; the next ones could not start, or not take
a slot. Nothing but the names of these objects is asked for.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from imagejob_api.pod import LABEL_JOB, LABEL_MANAGED_BY, MANAGED_BY
from imagejob_operator.imagejobs.controller import ImageJobController
from imagejob_operator.kubernetes.kinds import CONFIG_MAP, ROLE_BINDING, SERVICE_ACCOUNT, Kind
from imagejob_operator.kubernetes.watching import Stream, follow_changes
from imagejob_operator.manifest import Json
from imagejob_operator.settings import Settings
from imagejob_operator.work_queue import Key

SELECTOR = f"{LABEL_MANAGED_BY}={MANAGED_BY}"


@dataclass(frozen=True, slots=True)
class MadeObjects:
    """Watches over them."""

    stream: Stream
    """Tells of metadata."""
    settings: Settings
    controller: ImageJobController
    """Knows who needs them."""
    look_at: Callable[[Key], None]
    """Queues an ImageJob."""

    async def follow(self) -> None:
        """Sees to it that what is deleted is made again, until cancelled."""
        watched: set[tuple[Kind, str | None]] = {
            (kind, namespace)
            for kind in (CONFIG_MAP, SERVICE_ACCOUNT, ROLE_BINDING)
            for namespace in self.settings.watch_namespaces or (None,)
        }
        if self.settings.watch_namespaces:
            watched.add((ROLE_BINDING, self.settings.namespace))
        async with asyncio.TaskGroup() as watches:
            for kind, namespace in watched:
                missed = partial(self._missed, kind, namespace)
                watches.create_task(follow_changes(self.stream, kind, namespace, SELECTOR, self._reporter(kind), missed=missed))

    def _reporter(self, kind: Kind) -> Callable[[str | None, Json], None]:
        def report(event_type: str | None, thing: Json) -> None:
            if event_type == "DELETED":
                for key in self._need(kind, thing["metadata"]):
                    self.look_at(key)

        return report

    def _need(self, kind: Kind, metadata: Json) -> Iterator[Key]:
        """The ImageJobs whose pods need an object that is gone."""
        name, namespace = metadata["name"], metadata["namespace"]
        account = self.settings.runner_service_account
        if kind is CONFIG_MAP:
            if name == (metadata.get("labels") or {}).get(LABEL_JOB):
                yield self.controller.file_gone(namespace, name)
        elif name == account:
            yield from self.controller.access_gone(namespace)
        elif namespace == self.settings.namespace and name.startswith(f"{account}."):
            yield from self.controller.access_gone(name.removeprefix(f"{account}."))

    def _missed(self, kind: Kind, namespace: str | None) -> None:
        if namespace == self.settings.namespace and kind is ROLE_BINDING:
            namespace = None  # those of all namespaces are there
        for key in self.controller.files_missed(namespace) if kind is CONFIG_MAP else self.controller.access_gone(namespace):
            self.look_at(key)
