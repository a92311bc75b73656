"""How a job ends: by its work, by a failure that no attempt helps, or because it is to stop."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from imagejob_api.failure import blame, too_many_failures
from imagejob_api.imagejob import ImageCounts
from imagejob_api.pod import Part, RunnerExit, SummaryReport
from imagejob_api.reasons import Reason
from imagejob_operator.imagejobs.causes import is_permanent, reason_in, reason_of, words_of
from imagejob_operator.imagejobs.counting import done
from imagejob_operator.imagejobs.job_view import JobView, Stop
from imagejob_operator.imagejobs.pod_view import PodView
from imagejob_operator.imagejobs.retries import retries
from imagejob_operator.imagejobs.situation import Situation

LAST_WORDS_SECONDS: Final = 5.0

_GO_ON: Final = "What is done is in the output; another ImageJob with the same output goes on from there."


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a job."""

    finished: Reason
    """Reason of the condition Finished."""
    cause: Reason
    """Reason of the condition Complete or Failed."""
    message: str
    counts: ImageCounts | None = None
    """What the summary says."""


def last_words_after(now: Situation) -> float | None:
    """Seconds until the last reports of a Job that has just ended must be in; None if there is nothing to wait for.

    Jobs and pods are watched separately, so that a Job may be seen to end before its pods are.
    """
    for part in Part:
        job = now.jobs.get(part)
        if job is None or not job.ended or job.ended_at is None or _has_spoken(now, job):
            continue
        left = (job.ended_at + timedelta(seconds=LAST_WORDS_SECONDS) - now.seen.now).total_seconds()
        if left > 0:
            return left
    return None


def _has_spoken(now: Situation, job: JobView) -> bool:
    """Whether a pod of a Job has told what a Job that ended like this is expected to tell."""
    if job.failure is not None:
        failed = [pod for pod in now.pods if pod.part is job.part and pod.phase == "Failed"]
        named = reason_in(job.failure[1])
        return any(reason_of(pod) is named for pod in failed) if is_permanent(named) else bool(failed)
    return now.plan_report is not None if job.part is Part.PLAN else now.summary is not None


def outcome(now: Situation) -> Outcome | None:
    """The end that the Jobs have come to; None while there is work left, or while their pods may still have something to say."""
    if last_words_after(now) is not None:
        return None
    failed = next((job for job in now.jobs.values() if job.failure is not None), None)
    if failed is not None:
        return _failed(now, failed)
    plan, work, finish = (now.jobs.get(part) for part in Part)
    if work is not None and work.complete and now.summary is not None:
        return _judged(now.summary)
    if finish is not None and finish.complete:
        return _counted(now)
    mute = [pod for pod in now.pods if pod.part is Part.PLAN and pod.phase == "Succeeded"]
    if plan is not None and plan.complete and not now.shards and mute:
        return Outcome(Reason.FAILED, Reason.CRASHED, "The plan's pod has left no report; its image may be of another version.")
    return None


def stop(now: Situation) -> Stop | None:
    """Why the job is to end before its work is done; None if it is not."""
    decided = next((job.stop for job in now.jobs.values() if job.stop is not None), None)
    if decided is not None:
        return decided
    if now.spec.cancel:
        return Stop(Reason.CANCELLED, f"Cancelled by spec.cancel. {_GO_ON}")
    overdue = _deadline_exceeded(now)
    if overdue is not None:
        return overdue
    why = too_many_failures(now.spec.failure_policy, now.counts.failed, done(now.counts))
    if why is not None:
        return Stop(Reason.TOO_MANY_FAILURES, f"{why}{blame(now.most_failed)} {_GO_ON}")
    return next(filter(None, (retries(now, job).verdict(job) for job in now.jobs.values() if not (job.ended or job.deleting))), None)


def deadline(now: Situation) -> datetime | None:
    """The next moment at which a deadline may end the job.

    As with a Job of Kubernetes, time while the job is suspended does not count, and a job that is resumed has all its time again.
    """
    if now.spec.suspend:
        return None
    ends = []
    if now.spec.active_deadline_seconds is not None and now.started is not None:
        ends.append(max(now.started, now.resumed or now.started) + timedelta(seconds=now.spec.active_deadline_seconds))
    start_end = _start_deadline(now)
    if start_end is not None:
        ends.append(start_end)
    return min(ends, default=None)


def stopped(why: Stop) -> Outcome:
    """The end of a job that has stopped."""
    return Outcome(Reason.CANCELLED if why.reason is Reason.CANCELLED else Reason.FAILED, why.reason, why.message)


def _deadline_exceeded(now: Situation) -> Stop | None:
    moment, start_end = deadline(now), _start_deadline(now)
    if moment is None or now.seen.now < moment:
        return None
    if moment == start_end:
        seconds = now.spec.start_deadline_seconds
        return Stop(Reason.START_DEADLINE_EXCEEDED, f"No pod has started within startDeadlineSeconds, {seconds} s.")
    seconds = now.spec.active_deadline_seconds
    return Stop(Reason.DEADLINE_EXCEEDED, f"activeDeadlineSeconds, {seconds} s, have passed. {_GO_ON}")


def _start_deadline(now: Situation) -> datetime | None:
    if now.spec.start_deadline_seconds is None or now.has_run or now.created is None:
        return None
    return max(now.created, now.resumed or now.created) + timedelta(seconds=now.spec.start_deadline_seconds)


def _judged(summary: SummaryReport) -> Outcome:
    counts = ImageCounts(total=summary.total, succeeded=summary.succeeded, failed=summary.failed, skipped=summary.skipped)
    missing = summary.total - done(counts)
    part = f"{summary.failed} of {summary.total} images failed"
    if missing:
        message = f"{missing} of {summary.total} images have no row, though all shards are done. Please report it, and run again."
        return Outcome(Reason.FAILED, Reason.INCOMPLETE, message, counts)
    if not summary.within_policy:
        more = blame(summary.most_failed)
        message = f"{part}, more than failurePolicy allows.{more} All rows are in the output; errors.jsonl lists the failed ones."
        return Outcome(Reason.FAILED, Reason.TOO_MANY_FAILURES, message, counts)
    if summary.failed:
        message = f"{part}, which failurePolicy allows; errors.jsonl lists them.{blame(summary.most_failed)}"
        return Outcome(Reason.PARTIALLY_SUCCEEDED, Reason.PARTIALLY_SUCCEEDED, message, counts)
    return Outcome(Reason.SUCCEEDED, Reason.SUCCEEDED, f"All {summary.total} images have a row.", counts)


def _counted(now: Situation) -> Outcome:
    """The end of a job whose summary no pod has told of: the output has it, and the pods' own counts have to do here."""
    reason = Reason.PARTIALLY_SUCCEEDED if now.counts.failed else Reason.SUCCEEDED
    return Outcome(
        reason, reason, "All shards are done. The numbers are the pods' last ones; summary.json in the output has the final ones."
    )


def _failed(now: Situation, job: JobView) -> Outcome:
    reason, message = _cause([pod for pod in now.pods if pod.part is job.part], job)
    several = job.completions > 1 and job.failed_indexes and not is_permanent(reason)
    given_up = f"{-(-now.shards * job.failed_indexes // job.completions)} of {now.shards} shards were given up. " if several else ""
    return Outcome(Reason.FAILED, reason, f"{given_up}{message}")


def _cause(pods: Iterable[PodView], job: JobView) -> tuple[Reason, str]:
    """What most of the failed pods died of, in the words of the last one; what no attempt can help goes first."""
    failed = [pod for pod in pods if pod.phase == "Failed" and pod.exit_code != RunnerExit.STOPPED]
    causes = [(reason_of(pod), pod) for pod in failed]
    said = job.failure[1] if job.failure is not None else ""
    named = reason_in(said)
    if not failed or (is_permanent(named) and named not in {reason for reason, _ in causes}):
        return named, said or "The pods failed, and are gone."
    permanent = [each for each in causes if is_permanent(each[0])]
    common = Counter(reason for reason, _ in causes).most_common(1)[0][0]
    reason, pod = permanent[-1] if permanent else [each for each in causes if each[0] is common][-1]
    return reason, words_of(pod)
