"""One reconcile of an ImageJob: look at what is there, plan, do it, write the status once."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from imagejob_api.pod import Part, PodImages
from imagejob_api.reasons import ConditionType
from imagejob_operator.imagejobs import planner
from imagejob_operator.imagejobs.actions import EnsureAccess, EnsureFile, Inquiry, Plan
from imagejob_operator.imagejobs.bodies import Bodies
from imagejob_operator.imagejobs.caches import Caches, Name
from imagejob_operator.imagejobs.counting import newest_reports
from imagejob_operator.imagejobs.executor import Executor, HinderedError, LeftoverError
from imagejob_operator.imagejobs.inquiries import Answer, inquire
from imagejob_operator.imagejobs.job_summary import JobSummary
from imagejob_operator.imagejobs.job_view import JobView
from imagejob_operator.imagejobs.observed import Hindrance, Observed
from imagejob_operator.imagejobs.pace import StatusPace
from imagejob_operator.imagejobs.pod_view import PodView
from imagejob_operator.imagejobs.situation import holds, read_status
from imagejob_operator.imagejobs.status import as_json, status_patch
from imagejob_operator.kubernetes import ApiError, ConflictError, KubernetesApi, NotFoundError, RefusedError
from imagejob_operator.kubernetes.events import EventRecorder
from imagejob_operator.kubernetes.kinds import IMAGE_JOB
from imagejob_operator.limits.view import LimitFacts
from imagejob_operator.manifest import Json
from imagejob_operator.objects.job_file import StoredFile
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
    file_ready: bool | None = None
    """Whether the ConfigMap is there; None: nobody has looked."""
    reports: Mapping[int, PodImages] = field(default_factory=dict)
    work_uid: str = ""
    """Of the Job that the reports are about."""
    pace: StatusPace = field(default_factory=StatusPace)
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
        self._recorder = EventRecorder(api, utc, clock)
        self._memories: dict[Key, _Memory] = {}
        self._files: Bodies[Name] = Bodies()

    async def reconcile(self, key: Key) -> float | None:
        """Make the world of ``("ImageJob", namespace, name)`` as it should be; returns after how many seconds to look again.

        Raises:
            ApiError: Something could not be done; the same key is to be reconciled again.
        """
        _, namespace, name = key
        summary = self._caches.image_jobs.get(namespace, name)
        if summary is None or summary.settled:
            self._forget(key)
        rest = self._rest(namespace, name, summary) if summary is not None else None
        if rest is not None:
            return rest if rest < math.inf else None
        job = await self._caches.image_jobs.whole(namespace, name)
        if job is None:
            return None
        memory = self._remember(key, job["metadata"]["uid"])
        seen = await self._observe(job, memory)
        made = planner.plan(seen)
        if made.inquiry is not None:
            answer = await self._answer(namespace, made.inquiry, memory)
            seen = replace(seen, complaint=answer.complaint, pulling=answer.pulling)
            made = planner.plan(seen)
        return await self._carry_out(job, seen, made, memory)

    def _rest(self, namespace: str, name: str, summary: JobSummary) -> float | None:
        """Seconds for which there is nothing to do about an ImageJob that has ended; None if there is something to do."""
        if not summary.settled:
            return None
        moments = [summary.deleted_at]
        children = filter(None, map(JobView.of, self._caches.jobs.of_job(namespace, name)))
        if summary.ended_at is not None and any(not child.deleting for child in children):
            moments.append(summary.ended_at + timedelta(seconds=self._settings.finished_pods_seconds))
        left = min(((moment - self._utc()).total_seconds() for moment in moments if moment is not None), default=math.inf)
        return left if left > 0 else None

    async def _carry_out(self, job: Json, seen: Observed, made: Plan, memory: _Memory) -> float | None:
        try:
            for action in made.actions:
                await self._executor.do(job, action)
                if isinstance(action, EnsureAccess):
                    memory.access_ready = True
                elif isinstance(action, EnsureFile):
                    self._keep_file(_name(job), memory, StoredFile.of(action.file))
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

    def files_missed(self, namespace: str | None) -> list[Key]:
        """ConfigMaps of a namespace, or of any, may have been deleted, and nobody has told of it; returns the ImageJobs to look at."""
        found = self._of_namespace(namespace)
        for memory in map(self._memories.__getitem__, found):
            memory.file_ready = None if memory.file_ready else memory.file_ready
        return found

    def access_gone(self, namespace: str | None) -> list[Key]:
        """A service account or a role binding of a namespace, or of any, was deleted or may have been; returns which ImageJobs need it."""
        found = self._of_namespace(namespace)
        for key in found:
            self._memories[key].access_ready = False
        return found

    def file_gone(self, namespace: str, name: str) -> Key:
        """The ConfigMap of an ImageJob was deleted; returns the ImageJob's key."""
        key = (KIND, namespace, name)
        if key in self._memories:
            self._memories[key].file_ready = False
        return key

    def _of_namespace(self, namespace: str | None) -> list[Key]:
        return [key for key in self._memories if namespace in (None, key[1])]

    def _forget(self, key: Key) -> None:
        self._memories.pop(key, None)
        self._files.forget((key[1], key[2]))

    def _keep_file(self, name: Name, memory: _Memory, file: StoredFile) -> None:
        memory.file_ready = True
        self._files.put(name, memory.uid, file.model_dump_json(by_alias=True, exclude_none=True).encode(), needed=True)

    async def _stored(self, job: Json, memory: _Memory) -> StoredFile | None:
        """The job file of a job whose pods have been told one; as it was before it was deleted, if it was."""
        name = _name(job)
        known = self._files.get(name, memory.uid)
        if known is not None and memory.file_ready is not None:
            return StoredFile.model_validate_json(known)
        if memory.file_ready is False:
            return None
        found = await self._executor.read_file(job)
        if found is None:
            memory.file_ready = False
            return StoredFile.model_validate_json(known) if known is not None else None
        self._keep_file(name, memory, found)
        return found

    def _remember(self, key: Key, uid: str) -> _Memory:
        memory = self._memories.get(key)
        if memory is None or memory.uid != uid:
            memory = self._memories[key] = _Memory(uid)
        return memory

    async def _observe(self, job: Json, memory: _Memory) -> Observed:
        metadata, summary = job["metadata"], JobSummary.of(job)
        namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
        jobs = [child for child in self._caches.jobs.of_job(namespace, name) if belongs_to(child, uid)]
        owners = {child["metadata"]["uid"] for child in jobs}
        # A pod whose Job is gone, and which is on its way out itself, still has slots and something to say. One that is older than the
        # ImageJob belongs to an earlier one of the same name.
        born = parse_time(metadata.get("creationTimestamp"))
        pods = [pod for pod in self._caches.pods.of_job(namespace, name) if pod.owner in owners or (not jobs and _is_since(pod, born))]
        status = read_status(job)
        if holds(status, ConditionType.FINISHED):  # nobody asks for them any more, and such jobs are kept
            stored, memory.reports = None, {}
            self._files.forget((namespace, name))
        else:
            begun = bool(jobs) or status.start_time is not None or memory.file_ready is not None
            stored = await self._stored(job, memory) if begun else None
            works = next((job.uid for job in filter(None, map(JobView.of, jobs)) if job.part is Part.WORK), "")
            # A Job that was made anew may share the shards out among another number of pods.
            memory.reports = newest_reports(pods, memory.reports if memory.work_uid == works else {})
            memory.work_uid = works
        held_back = memory.refused_generation == metadata.get("generation", 0) and (
            self._clock() - memory.refused_at < planner.REFUSED_AGAIN_SECONDS
        )
        return Observed(
            job=job,
            now=self._utc(),
            settings=self._settings,
            pipeline=await self._caches.pipelines.whole(namespace, summary.pipeline),
            stored=stored,
            file_ready=memory.file_ready is not False,
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
            try:
                memory.answer = await inquire(self._api, namespace, inquiry)
            except ApiError as error:  # they only explain: the job goes on without
                logger.warning("Why %s %s in %s does not go on cannot be read: %s", inquiry.kind, inquiry.uid, namespace, error)
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
        pause = self._settings.status_seconds
        left = memory.pace.wait_seconds(before, after, self._clock(), pause)
        if left > 0:
            return min(left, made.again_after if made.again_after is not None else left)
        for notice in made.notices:
            await self._recorder.post(IMAGE_JOB, job["metadata"], notice.kind, notice.reason, notice.message)
        again = await self._write_status(job, patch)
        if again is not None:
            return again
        memory.pace.wrote(before, after, self._clock(), pause)
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


def _name(job: Json) -> Name:
    return job["metadata"]["namespace"], job["metadata"]["name"]


def _is_since(pod: PodView, moment: datetime | None) -> bool:
    return pod.created is not None and (moment is None or pod.created >= moment)
