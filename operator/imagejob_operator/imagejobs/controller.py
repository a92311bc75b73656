"""One reconcile of an ImageJob: look at what is there, plan, do it, write the status once."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from imagejob_api.pod import JobFile, PodImages
from imagejob_api.reasons import ConditionType
from imagejob_operator.imagejobs import planner
from imagejob_operator.imagejobs.actions import EnsureAccess, EnsureFile, Inquiry, Plan
from imagejob_operator.imagejobs.caches import Caches, named_pipeline
from imagejob_operator.imagejobs.counting import newest_reports
from imagejob_operator.imagejobs.executor import Executor, HinderedError, LeftoverError
from imagejob_operator.imagejobs.inquiries import Answer, inquire
from imagejob_operator.imagejobs.observed import Hindrance, Observed
from imagejob_operator.imagejobs.pod_view import PodView
from imagejob_operator.imagejobs.situation import holds, read_status
from imagejob_operator.imagejobs.status import as_json, only_numbers, status_patch
from imagejob_operator.kubernetes import ConflictError, KubernetesApi, NotFoundError, RefusedError
from imagejob_operator.kubernetes.events import new_event, post_event
from imagejob_operator.kubernetes.kinds import IMAGE_JOB
from imagejob_operator.limits.view import LimitFacts
from imagejob_operator.manifest import Json
from imagejob_operator.objects.naming import belongs_to
from imagejob_operator.settings import Settings
from imagejob_operator.timestamps import parse_time
from imagejob_operator.work_queue import Key

logger = logging.getLogger(__name__)

KIND: Final = IMAGE_JOB.kind
LEFTOVER_SECONDS: Final = 1.0
"""Kubernetes collects what an earlier ImageJob of the same name has left within a moment, mostly."""
LEFTOVER_TOLD_SECONDS: Final = 5.0
REFUSED_STATUS_SECONDS: Final = 600.0
_AT_ONCE: Final = 0.0


@dataclass(slots=True)
class _Memory:
    """What is kept of an ImageJob between reconciles. All of it can be lost."""

    uid: str
    access_ready: bool = False
    """Looked at once for each ImageJob: another namespace of the same name knows nothing of the one before."""
    file_read: bool = False
    stored: JobFile | None = None
    reports: Mapping[int, PodImages] = field(default_factory=dict)
    written_at: float | None = None
    asked: Inquiry | None = None
    asked_at: float = 0.0
    answer: Answer = field(default_factory=Answer)
    in_the_way_since: float | None = None
    refused: Hindrance | None = None
    refused_at: float = 0.0
    refused_generation: int = 0


class ImageJobController:
    """Reconciles ImageJobs.

    Args:
        api: The API server.
        caches: What there is.
        settings: The operator's settings.
        limits: What is known of a limit; None where this operator does not know of limits.
        lost_nodes: The nodes that are not ready.
        utc: The time of day.
        clock: Seconds that pass.
    """

    def __init__(
        self,
        api: KubernetesApi,
        caches: Caches,
        settings: Settings,
        *,
        limits: Callable[[str], LimitFacts | None] | None,
        lost_nodes: Callable[[], frozenset[str]] = frozenset,
        utc: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._caches = caches
        self._settings = settings
        self._limits = limits
        self._lost_nodes = lost_nodes
        self._utc = utc
        self._clock = clock
        self._executor = Executor(api, caches, settings)
        self._memories: dict[Key, _Memory] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Make the world of ``("ImageJob", namespace, name)`` as it should be; returns after how many seconds to look again.

        Raises:
            ApiError: Something could not be done; the same key is to be reconciled again.
        """
        _, namespace, name = key
        job = self._caches.image_jobs.get(namespace, name)
        if job is None:
            self._memories.pop(key, None)
            return None
        memory = self._remember(key, job["metadata"]["uid"])
        seen = await self._observe(job, memory)
        made = planner.plan(seen)
        if made.inquiry is not None:
            answer = await self._answer(namespace, made.inquiry, memory)
            seen = replace(seen, complaint=answer.complaint, pulling=answer.pulling)
            made = planner.plan(seen)
        try:
            for action in made.actions:
                await self._executor.do(job, action)
                if isinstance(action, EnsureAccess):
                    memory.access_ready = True
                elif isinstance(action, EnsureFile):
                    memory.stored, memory.file_read = action.file, True
        except HinderedError as error:
            self._note_refusal(job, error.hindrance, memory)
            made = planner.plan(replace(seen, refused=error.hindrance))
        except LeftoverError as error:
            if memory.in_the_way_since is None:
                memory.in_the_way_since = self._clock()
            if self._clock() - memory.in_the_way_since >= LEFTOVER_TOLD_SECONDS:
                await self._tell(job, planner.plan(replace(seen, leftover=str(error))), memory)
            return LEFTOVER_SECONDS
        memory.in_the_way_since = None
        return await self._tell(job, made, memory)

    def _remember(self, key: Key, uid: str) -> _Memory:
        memory = self._memories.get(key)
        if memory is None or memory.uid != uid:
            memory = self._memories[key] = _Memory(uid)
        return memory

    async def _observe(self, job: Json, memory: _Memory) -> Observed:
        metadata = job["metadata"]
        namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
        jobs = [child for child in self._caches.jobs.of_job(namespace, name) if belongs_to(child, uid)]
        owners = {child["metadata"]["uid"] for child in jobs}
        # A pod whose Job is gone, and which is on its way out itself, still has slots and something to say. One that is older than the
        # ImageJob belongs to an earlier one of the same name.
        born = parse_time(metadata.get("creationTimestamp"))
        pods = [pod for pod in self._caches.pods.of_job(namespace, name) if pod.owner in owners or (not jobs and _is_since(pod, born))]
        status = read_status(job)
        if holds(status, ConditionType.FINISHED):  # nobody asks for them any more, and such jobs are kept
            memory.stored, memory.file_read, memory.reports = None, False, {}
        else:
            if not memory.file_read and (jobs or status.start_time is not None):
                memory.stored, memory.file_read = await self._executor.read_file(job), True
            memory.reports = newest_reports(pods, memory.reports)
        held_back = memory.refused_generation == metadata.get("generation", 0) and (
            self._clock() - memory.refused_at < planner.REFUSED_AGAIN_SECONDS
        )
        return Observed(
            job=job,
            now=self._utc(),
            settings=self._settings,
            pipeline=self._caches.pipelines.get(namespace, named_pipeline(job)),
            stored=memory.stored,
            jobs=jobs,
            pods=pods,
            reports=memory.reports,
            limits=self._limits,
            lost_nodes=self._lost_nodes(),
            access_ready=memory.access_ready,
            refused=memory.refused if held_back else None,
        )

    def _note_refusal(self, job: Json, hindrance: Hindrance, memory: _Memory) -> None:
        metadata = job["metadata"]
        if hindrance != memory.refused:
            logger.warning("ImageJob %s/%s: %s: %s", metadata["namespace"], metadata["name"], hindrance.reason, hindrance.message)
        memory.refused, memory.refused_at = hindrance, self._clock()
        memory.refused_generation = metadata.get("generation", 0)

    async def _answer(self, namespace: str, inquiry: Inquiry, memory: _Memory) -> Answer:
        """What Events say, asked for only now and then."""
        if memory.asked != inquiry or self._clock() - memory.asked_at >= inquiry.fresh_seconds:
            memory.answer = await inquire(self._api, namespace, inquiry)
            memory.asked, memory.asked_at = inquiry, self._clock()
        return memory.answer

    async def _tell(self, job: Json, made: Plan, memory: _Memory) -> float | None:
        """Writes the status, if there is something new in it, and it is time to say so."""
        if made.status is None:
            return made.again_after
        before, after = job.get("status") or {}, as_json(made.status)
        patch = status_patch(before, after)
        if not patch:
            return made.again_after
        if only_numbers(before, after) and memory.written_at is not None:
            left = memory.written_at + self._settings.status_seconds - self._clock()
            if left > 0:
                return min(left, made.again_after if made.again_after is not None else left)
        for notice in made.notices:
            event = new_event(IMAGE_JOB, job["metadata"], notice.kind, notice.reason, notice.message, self._utc())
            await post_event(self._api, event)
        again = await self._write_status(job, patch)
        if again is not None:
            return again
        memory.written_at = self._clock()
        return made.again_after

    async def _write_status(self, job: Json, patch: Json) -> float | None:
        """Writes a change of the status; returns None, or after how many seconds to look at the job again if it was not taken."""
        metadata = job["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": patch}
        try:
            written = await self._api.patch(IMAGE_JOB, name, namespace, body, subresource="status")
        except (ConflictError, NotFoundError):
            await self._read_again(job)
            return _AT_ONCE
        except RefusedError as error:
            # An object that was malformed before the schema was there: the API server takes no change of it. The Event has told it.
            logger.warning("The status of ImageJob %s/%s is refused: %s", namespace, name, error)
            return REFUSED_STATUS_SECONDS
        self._caches.image_jobs.report("MODIFIED", written)
        return None

    async def _read_again(self, job: Json) -> None:
        """Takes in what an ImageJob is now: somebody has changed or deleted it."""
        metadata = job["metadata"]
        try:
            self._caches.image_jobs.report("MODIFIED", await self._api.get(IMAGE_JOB, metadata["name"], metadata["namespace"]))
        except NotFoundError:
            self._caches.image_jobs.report("DELETED", job)


def _is_since(pod: PodView, moment: datetime | None) -> bool:
    return pod.created is not None and (moment is None or pod.created >= moment)
