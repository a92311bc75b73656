"""The operator as a whole: watches fill the caches, the queue reconciles, probes and metrics tell how it goes."""

import asyncio
import logging
from contextlib import suppress
from typing import Final

import kopf

from imagejob_api.constants import GROUP, VERSION
from imagejob_api.imagejob import Phase
from imagejob_operator import handlers
from imagejob_operator.constants import COMPONENT
from imagejob_operator.default_limit import DEFAULT_LIMIT, ensure_default_limit
from imagejob_operator.handlers import Report
from imagejob_operator.health import HEARTBEAT, Health
from imagejob_operator.imagejobs.caches import Caches
from imagejob_operator.imagejobs.controller import KIND, ImageJobController
from imagejob_operator.imagejobs.made import MadeObjects
from imagejob_operator.kubernetes import ApiError, Connection, connect
from imagejob_operator.kubernetes.kinds import IMAGE_JOB, IMAGE_PIPELINE, JOB, LEASE, NODE, NODE_LIMIT, POD, Kind
from imagejob_operator.kubernetes.watching import follow
from imagejob_operator.limits import LimitController
from imagejob_operator.manifest import Json
from imagejob_operator.metrics import Metrics
from imagejob_operator.nodes import LostNodes
from imagejob_operator.settings import Settings
from imagejob_operator.stale_access import STALE_ACCESS, remove_stale_access
from imagejob_operator.work_queue import Key, Outcome, WorkQueue
from nodelease.kubernetes.names import LABEL_MANAGED_BY, MANAGED_BY

logger = logging.getLogger(__name__)

REFILL: Final[Key] = ("Caches",)
"""Lists everything: at the start, and every now and then."""
_LOOK_FOR_KINDS_SECONDS: Final = 5.0


class Operator:
    """All parts of the operator, put together.

    Args:
        connection: The API server.
        settings: What the installation has set.
        metrics: What Prometheus reads.
    """

    def __init__(self, connection: Connection, settings: Settings, metrics: Metrics) -> None:
        self._connection = connection
        self._settings = settings
        self._metrics = metrics
        self._health = Health(metrics.registry, heartbeat_seconds=settings.heartbeat_seconds, unhealthy_seconds=settings.unhealthy_seconds)
        self._queue = WorkQueue(self.reconcile, workers=settings.workers, urgent={LEASE.kind}, ended=self._ended)
        self._lost_nodes = LostNodes()
        self._caches = Caches(connection.api, settings.watch_namespaces, self._look_at)
        self._limits = LimitController(connection.api, settings, metrics, self._queue.add) if settings.manage_limits else None
        self._image_jobs = ImageJobController(
            connection.api,
            self._caches,
            settings,
            limits=self._limits.view.get if self._limits is not None else None,
            lost_nodes=self._lost_nodes,
        )
        self._made = MadeObjects(connection.metadata, settings, self._image_jobs, self._queue.add)
        if self._limits is not None:
            self._limits.view.subscribe(self._limit_changed)
        metrics.show_queue(self._queue)

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT.

        Raises:
            Exception: A part has failed; the process is to be started anew.
        """
        async with self._health.serving(self._settings.host, self._settings.port) as port:
            logger.info("Probes and metrics are on port %d", port)
            work = asyncio.gather(*self._background())
            serving = asyncio.create_task(self._watch())
            done, _ = await asyncio.wait((work, serving), return_when=asyncio.FIRST_COMPLETED)
            for task in (work, serving):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            for task in done:
                task.result()

    async def reconcile(self, key: Key) -> float | None:
        """One turn of the queue."""
        if key == HEARTBEAT:
            return await self._health.heartbeat()
        # Once all is known, only the refill lists again: as long as that takes, or fails, the watches go on telling what is new.
        await (self._caches.fill() if key == REFILL else self._caches.first())
        if self._limits is not None:
            await self._limits.sync()
        if key == REFILL:
            self._health.set_ready()
            return self._caches.refill_seconds
        if key == DEFAULT_LIMIT and self._settings.default_limit is not None:
            await ensure_default_limit(self._connection.api, self._settings.default_limit)
            return None
        if key == STALE_ACCESS:
            return await remove_stale_access(self._connection.api, self._settings, self._namespaces_in_use)
        if key[0] == KIND:
            return await self._image_jobs.reconcile(key)
        return await self._limits.reconcile(key) if self._limits is not None else None

    def _background(self) -> list[asyncio.Task[None]]:
        self._queue.add(HEARTBEAT)
        self._queue.add(REFILL)
        if not self._settings.watch_namespaces:  # else there is no right to ask for namespaces, and an administrator has named them
            self._queue.add(STALE_ACCESS)
        tasks = [asyncio.create_task(self._queue.run()), asyncio.create_task(self._made.follow())]
        if self._limits is not None:
            if self._settings.default_limit is not None:
                self._queue.add(DEFAULT_LIMIT)
            selector = f"{LABEL_MANAGED_BY}={MANAGED_BY}"
            report = self._limits.on_lease
            tasks.append(
                asyncio.create_task(
                    follow(self._connection.api, self._connection.stream, LEASE, self._settings.namespace, selector, report)
                )
            )
        return tasks

    async def _watch(self) -> None:
        await self._until_kinds_are_served()
        namespaces = self._settings.watch_namespaces
        await kopf.operator(
            registry=handlers.registry(self._reports()),
            settings=handlers.settings(),
            # Only peers would ask for it. Unless told, kopf looks the user's name up, which a container's user need not have.
            identity=COMPONENT,  # type: ignore[arg-type] # a NewType of str that kopf does not export
            standalone=True,
            clusterwide=not namespaces,
            namespaces=namespaces,
        )

    async def _until_kinds_are_served(self) -> None:
        wanted = {kind.plural for kind in self._reports() if kind.group == GROUP}
        while True:
            try:
                missing = wanted - await self._connection.api.served_kinds(GROUP, VERSION)
            except ApiError as error:
                logger.warning("The API server does not answer: %s", error)
            else:
                if not missing:
                    return
                logger.warning("These kinds are not served; have the CRDs been installed? %s", ", ".join(sorted(missing)))
            await asyncio.sleep(_LOOK_FOR_KINDS_SECONDS)

    def _reports(self) -> dict[Kind, Report]:
        limits = self._limits
        reports: dict[Kind, Report] = {
            IMAGE_JOB: self._caches.image_jobs.report,
            IMAGE_PIPELINE: self._caches.pipelines.report,
            JOB: self._caches.jobs.report,
            POD: self._caches.pods.report,
        }
        if limits is None:
            return reports

        def pod(event_type: str | None, thing: Json) -> None:
            limits.on_pod(event_type, thing)  # first: a slot may be free
            self._caches.pods.report(event_type, thing)

        def node(event_type: str | None, thing: Json) -> None:
            limits.on_node(event_type, thing)
            self._lost_nodes.report(event_type, thing)

        return {**reports, POD: pod, NODE: node, NODE_LIMIT: limits.on_nodelimit}

    def _namespaces_in_use(self) -> set[str]:
        return {namespace for namespace, _ in self._caches.image_jobs.names()}

    def _look_at(self, namespace: str, name: str, within: float) -> None:
        """Queues an ImageJob, and counts its phase."""
        job = self._caches.image_jobs.get(namespace, name)
        self._metrics.job(namespace, name, (job.phase or Phase.PENDING) if job is not None else None)
        self._queue.add_after((KIND, namespace, name), within)

    def _limit_changed(self, _limit: str) -> None:
        """Jobs that wait for a limit can tell only from their pipelines; to look at all of them costs no request."""
        for namespace, name in self._caches.image_jobs.names():
            job = self._caches.image_jobs.get(namespace, name)
            if job is not None and not job.ended:
                self._queue.add((KIND, namespace, name))

    def _ended(self, outcome: Outcome) -> None:
        self._health.reconciled(outcome)
        self._metrics.reconciled(outcome)


async def serve(settings: Settings) -> None:
    """Run the operator until SIGTERM or SIGINT."""
    metrics = Metrics()
    connection = await connect(asked=metrics.request)
    try:
        await Operator(connection, settings, metrics).run()
    finally:
        await connection.api.close()
