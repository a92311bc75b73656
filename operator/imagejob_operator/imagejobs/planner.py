"""What to do about an ImageJob, from nothing but what is known about it.

    accepted ──▶ plan Job ──▶ work Job ──▶ (finish Job) ──▶ finished
                 not for URLs               only if no pod
                 in the spec                wrote the summary

The planner does not remember: it looks at the Jobs that are there and says what is missing. So it does not matter where an operator
ended before, and planning what has been done already asks for nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from imagejob_api.imagejob import ImageJobStatus, Phase
from imagejob_api.pod import Part, pod_count
from imagejob_api.reasons import ConditionType, Reason
from imagejob_operator.constants import ANNOTATION_STOP, LABEL_KUEUE_QUEUE
from imagejob_operator.imagejobs import ending, notices, stalled, status
from imagejob_operator.imagejobs.acceptance import Accepted, NotAcceptedError, accept, read_spec
from imagejob_operator.imagejobs.actions import (
    Action,
    CreateJob,
    DeleteImageJob,
    DeleteJob,
    DeletePod,
    EnsureAccess,
    EnsureFile,
    PatchJob,
    Plan,
)
from imagejob_operator.imagejobs.job_view import JobView, Stop
from imagejob_operator.imagejobs.observed import Hindrance, Observed
from imagejob_operator.imagejobs.retries import Retries, retries
from imagejob_operator.imagejobs.situation import Situation, holds, read_status
from imagejob_operator.imagejobs.stalled import Diagnosis
from imagejob_operator.imagejobs.status import State
from imagejob_operator.objects.job_file import pods_digest
from imagejob_operator.objects.jobs import batch_job
from imagejob_operator.timestamps import format_time, parse_time

REFUSED_AGAIN_SECONDS: Final = 30.0
"""How long to wait with an object that the API server refused."""
LOST_POD_SECONDS: Final = 5.0
"""How long after its grace period a pod on a lost node is given up."""

_RECONCILED: Final = State(False, Reason.RECONCILED)


def plan(seen: Observed) -> Plan:
    """What to do now, and the status when it is done."""
    made = _planned(seen)
    return made if seen.refused is None else replace(made, again_after=_earliest(made.again_after, REFUSED_AGAIN_SECONDS))


def _planned(seen: Observed) -> Plan:
    before = read_status(seen.job)
    if "deletionTimestamp" in seen.job["metadata"]:
        return Plan()
    if holds(before, ConditionType.FINISHED):
        return _after_the_end(seen)
    try:
        spec = read_spec(seen)
    except NotAcceptedError as error:
        after = status.refused(seen.job, before, error.hindrance, seen.now)
        return Plan(after, notices=notices.of_change(before, after))
    now = Situation(seen, spec, before)
    made = _plan(now)
    lost = tuple(_lost_pods(now))
    again = made.again_after if made.status is None or not now.live_pods else _earliest(made.again_after, _lost_again(now))
    said = notices.of_change(before, made.status) if made.status is not None else ()
    return Plan(made.status, (*lost, *made.actions), said, made.inquiry, again)


def _plan(now: Situation) -> Plan:
    end = ending.outcome(now)
    if end is not None:
        return _finish(now, end)
    last_words = ending.last_words_after(now)
    if last_words is not None:
        ended = [again.hindrance for job in now.jobs.values() if (again := retries(now, job)).all_failing]
        failing = next(filter(None, ended), None)  # as it was said before: the end says more in a moment
        after = status.unfinished(now, now.before.phase or Phase.RUNNING, reconciling=_RECONCILED, stalled=failing, retrying=failing)
        return Plan(after, again_after=last_words)
    why = ending.stop(now)
    if why is not None:
        return _stop(now, why)
    if now.spec.suspend:
        return _suspend(now)
    made = _run(now)
    moment = ending.deadline(now)
    left = (moment - now.seen.now).total_seconds() if moment is not None else None
    return Plan(made.status, made.actions, (), made.inquiry, _earliest(made.again_after, left))


def _after_the_end(seen: Observed) -> Plan:
    """Keeps generation and reason up to date, and deletes the Jobs with their pods, and the ImageJob, when their time has come."""
    before = read_status(seen.job)
    generation = int(seen.job["metadata"].get("generation", 0))
    after = before.model_copy(update={"observed_generation": generation, "reason": before.reason or status.reason_now(before.conditions)})
    ttl = (seen.job.get("spec") or {}).get("ttlSecondsAfterFinished")
    ended = parse_time(before.completion_time)
    if ended is None:
        return Plan(after)
    passed = (seen.now - ended).total_seconds()
    if isinstance(ttl, int) and passed >= ttl:
        return Plan(None, (DeleteImageJob(seen.job["metadata"]["uid"]),))
    jobs = [job for job in filter(None, map(JobView.of, seen.jobs)) if not job.deleting]
    keep = seen.settings.finished_pods_seconds
    over = tuple(DeleteJob(job.name, job.uid) for job in jobs if passed >= keep)
    again = _earliest(ttl - passed if isinstance(ttl, int) else None, keep - passed if jobs and not over else None)
    return Plan(after, over, again_after=again)


def _finish(now: Situation, end: ending.Outcome) -> Plan:
    failed = end.finished in (Reason.FAILED, Reason.CANCELLED)
    phase = Phase.CANCELLED if end.finished is Reason.CANCELLED else Phase.FAILED if failed else Phase.SUCCEEDED
    wanted = {
        ConditionType.FINISHED: State(True, end.finished, end.message),
        ConditionType.FAILED if failed else ConditionType.COMPLETE: State(True, end.cause, end.message),
        ConditionType.SUSPENDED: State(False, Reason.NOT_SUSPENDED),
        ConditionType.RECONCILING: _RECONCILED,
        ConditionType.STALLED: State(False, Reason.NOT_STALLED),
        ConditionType.RETRYING: State(False, Reason.NOT_RETRYING),
    }
    after = status.finished(now, phase, end.counts or now.counts, wanted, now.seen.now)
    ttl = now.spec.ttl_seconds_after_finished
    return Plan(after, again_after=float(ttl) if ttl is not None else None)


def _stop(now: Situation, why: Stop) -> Plan:
    """Suspends the Jobs for good, and ends the job when its pods are gone."""
    left = [job for job in now.jobs.values() if not job.ended]
    actions = [action for job in left for action in _ending(job, why)]
    if not actions and not now.live_pods and all(job.settled or (job.deleting and job.stop is not None) for job in left):
        return _finish(now, ending.stopped(why))
    phase = Phase.CANCELLING if why.reason is Reason.CANCELLED else now.before.phase or Phase.PENDING
    stalled_by = now.seen.refused if actions else None
    reconciling = _hindered(stalled_by) if stalled_by is not None else State(True, Reason.STOPPING, why.message)
    return Plan(status.unfinished(now, phase, reconciling=reconciling, stalled=stalled_by), tuple(actions))


def _ending(job: JobView, why: Stop) -> Iterator[Action]:
    """What makes a Job end. One that Kueue starts and stops would be started again, so it is deleted.

    What was decided is written to it first: its last pods may commit what would lead to another decision.
    """
    if job.deleting:
        return
    said = {"metadata": {"annotations": {ANNOTATION_STOP: why.encoded()}}}
    if job.queued:
        if job.stop is None:
            yield PatchJob(job.name, said)
        yield DeleteJob(job.name, job.uid)
    elif not job.suspended or job.stop is None:
        yield PatchJob(job.name, {**said, "spec": {"suspend": True}})


def _suspend(now: Situation) -> Plan:
    actions: list[Action] = []
    for job in now.jobs.values():
        if job.ended or job.deleting:
            continue
        if job.queued:
            actions.append(DeleteJob(job.name, job.uid))
        elif not job.suspended:
            actions.append(PatchJob(job.name, {"spec": {"suspend": True}}))
    reconciling, stalled_by = _RECONCILED, now.seen.refused if actions else None
    if stalled_by is not None:
        reconciling = _hindered(stalled_by)
    elif actions or now.live_pods:
        reconciling = State(True, Reason.STOPPING, "Pods finish their batch, commit what is whole, and end.")
    suspended = State(True, Reason.SUSPENDED, "Suspended by spec.suspend.")
    after = status.unfinished(now, Phase.SUSPENDED, reconciling=reconciling, stalled=stalled_by, suspended=suspended)
    return Plan(after, tuple(actions))


def _run(now: Situation) -> Plan:
    try:
        accepted = accept(now.seen, now.spec, started=now.started is not None)
    except NotAcceptedError as error:
        return Plan(_stalled(now, error.hindrance))
    if now.seen.refused is not None:
        return Plan(_stalled(now, now.seen.refused))
    if now.seen.leftover:
        words = f"The {now.seen.leftover} of an earlier ImageJob of this name is still being deleted."
        return Plan(status.unfinished(now, now.before.phase or Phase.PENDING, reconciling=State(True, Reason.PREPARING, words)))
    return _Course(now, accepted).plan()


def _stalled(now: Situation, hindrance: Hindrance) -> ImageJobStatus:
    phase = now.before.phase if now.started is not None and now.before.phase is not None else Phase.PENDING
    return status.unfinished(now, phase, reconciling=_hindered(hindrance), stalled=hindrance)


def _hindered(hindrance: Hindrance) -> State:
    return State(False, hindrance.reason, hindrance.message)


@dataclass(frozen=True)
class _Course:
    """The way of a job that may run."""

    now: Situation
    accepted: Accepted

    def plan(self) -> Plan:
        job = self._current()
        if job is None:
            return self._create(self._next_part())
        if not job.ended and (job.deleting or job.digest != pods_digest(self.accepted.file) or self._is_narrow(job)):
            return self._replace(job)
        if job.ended:
            return self._after(job)
        return self._keep(job)

    def _current(self) -> JobView | None:
        """The Job that the work stands at."""
        return next((self.now.jobs[part] for part in reversed(Part) if part in self.now.jobs), None)

    def _is_narrow(self, job: JobView) -> bool:
        """Whether a Job was made for fewer pods than are to work at once, and can."""
        return job.part is Part.WORK and job.completions < min(self.now.shards, self.now.spec.parallelism)

    def _next_part(self) -> Part:
        return Part.PLAN if self.now.needs_plan and not self.now.shards else Part.WORK

    def _after(self, job: JobView) -> Plan:
        """What follows a Job that is complete; a failed one has ended the whole."""
        if job.part is Part.WORK:
            return self._create(Part.FINISH)
        if not self.now.shards:  # the plan's pod is gone, and nobody has noted what it said
            return self._replace(job)
        return self._create(Part.WORK)

    def _create(self, part: Part) -> Plan:
        now, file = self.now, self.accepted.file
        completions = pod_count(now.shards, now.spec.parallelism) if part is Part.WORK else 1
        body = batch_job(
            now.seen.job,
            file,
            part,
            parallelism=min(now.spec.parallelism, completions),
            completions=completions,
            limit_nodes=self.accepted.limit_nodes,
            settings=now.seen.settings,
        )
        actions = [*self._surroundings(), CreateJob(part, body)]
        return Plan(self._status(part, queued=body["spec"]["suspend"], creating=True), tuple(actions))

    def _surroundings(self) -> list[Action]:
        """What pods need besides their Job, as far as it is not known to be there; somebody may have deleted it."""
        seen, file = self.now.seen, self.accepted.file
        access = [] if seen.access_ready else [EnsureAccess(seen.job["metadata"]["namespace"])]
        same = seen.file_ready and seen.stored is not None and seen.stored.says(file)
        return [*access, *([] if same else [EnsureFile(file)])]

    def _replace(self, job: JobView) -> Plan:
        """Makes a Job anew: what is committed stays, and its pods skip it."""
        reconciling = State(True, Reason.REPLACING_JOB, "The pods are replaced; what is committed is kept.")
        after = status.unfinished(self.now, self._phase(job.part, waiting=False), reconciling=reconciling)
        return Plan(after, () if job.deleting else (DeleteJob(job.name, job.uid),))

    def _keep(self, job: JobView) -> Plan:
        actions = self._surroundings()
        change: dict[str, object] = {}
        if job.suspended and not job.queued:
            change["suspend"] = False
        parallelism = min(self.now.spec.parallelism, job.completions)
        if job.part is Part.WORK and not job.queued and job.parallelism != parallelism:
            change["parallelism"] = parallelism
        if change:
            actions.append(PatchJob(job.name, {"spec": change}))
        waits = job.suspended and job.queued
        again = Retries() if job.suspended else retries(self.now, job)
        found = Diagnosis() if job.suspended else stalled.diagnose(self.now, job, again)
        after = self._status(job.part, queued=waits, creating=False, hindrance=found.hindrance, retrying=again.hindrance)
        return Plan(after, tuple(actions), (), found.inquiry, found.again_after)

    def _status(
        self, part: Part, *, queued: bool, creating: bool, hindrance: Hindrance | None = None, retrying: Hindrance | None = None
    ) -> ImageJobStatus:
        queue = (self.now.seen.job["metadata"].get("labels") or {}).get(LABEL_KUEUE_QUEUE)
        suspended = State(True, Reason.QUEUED, f"Waits to be admitted by the queue {queue}.") if queued else None
        phase = self._phase(part, waiting=queued)
        after = status.unfinished(
            self.now, phase, reconciling=self._reconciled(), stalled=hindrance, suspended=suspended, retrying=retrying
        )
        if creating and not queued and after.start_time is None:
            after = after.model_copy(update={"start_time": format_time(self.now.seen.now)})
        return after

    def _reconciled(self) -> State:
        """All is as the spec wants it; but for more pods than there are shards, which nobody can have."""
        shards, parallelism = self.now.shards, self.now.spec.parallelism
        if not 0 < shards < parallelism:
            return _RECONCILED
        words = f"parallelism is {parallelism}, and no more than {shards} pods work at once: the job has been split into {shards} shards."
        advice = "Another ImageJob with a smaller chunkSize (and more shards, if it sets them) and an output of its own can use more."
        return replace(_RECONCILED, message=f"{words} {advice}")

    def _phase(self, part: Part, *, waiting: bool) -> Phase:
        """Planning from the first; Running once a pod works, and from then on."""
        if waiting:
            return Phase.PENDING
        if part is Part.PLAN:
            return Phase.PLANNING
        works = any(pod.running or pod.ended for pod in self.now.pods)
        return Phase.RUNNING if works or self.now.before.phase in (Phase.PLANNING, Phase.RUNNING) else Phase.PENDING


def _lost_pods(now: Situation) -> Iterator[DeletePod]:
    """Pods whose node does not answer, and so never confirms that they have ended: their successors would wait for ever."""
    for pod in now.live_pods:
        if pod.deletion is not None and pod.node in now.seen.lost_nodes:
            overdue = (now.seen.now - pod.deletion).total_seconds()
            if overdue >= LOST_POD_SECONDS:
                yield DeletePod(pod.name, pod.uid)


def _lost_again(now: Situation) -> float | None:
    """When the next pod on a lost node is to be given up."""
    moments = [pod.deletion for pod in now.live_pods if pod.deletion is not None and pod.node in now.seen.lost_nodes]
    return _earliest(*((moment - now.seen.now).total_seconds() + LOST_POD_SECONDS for moment in moments))


def _earliest(*delays: float | None) -> float | None:
    """The shortest of some delays, and no less than a moment."""
    known = [max(0.1, delay) for delay in delays if delay is not None]
    return min(known, default=None)
