"""Pods that have failed and are tried again: what of, when, and whether that can help at all."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from imagejob_api.pod import Part, RunnerExit
from imagejob_api.reasons import Reason
from imagejob_operator.imagejobs.causes import is_permanent, lacks_runner, reason_of, was_evicted, words_of
from imagejob_operator.imagejobs.counting import done
from imagejob_operator.imagejobs.job_view import JobView, Stop
from imagejob_operator.imagejobs.observed import Hindrance
from imagejob_operator.imagejobs.pod_view import PodView
from imagejob_operator.imagejobs.situation import Situation

BACKOFF_SECONDS: Final = 10.0
LONGEST_BACKOFF_SECONDS: Final = 600.0
"""Kubernetes waits so long before it makes another pod for an index; twice as long after each failure, up to the second."""
_ALIKE: Final = 2
"""Indexes that must have failed in the same way before others need not be tried: one may hold an image that kills every pod."""


@dataclass(frozen=True, slots=True)
class Setback:
    """An index of a Job whose last attempt has failed, and which has not got further since."""

    pod: PodView
    """That attempt."""
    reason: Reason
    attempts: int
    """Attempts that have failed; evictions do not count."""
    next_pod: PodView | None
    """The pod that tries again, once there is one."""

    @property
    def next_at(self) -> datetime | None:
        """When Kubernetes makes the next pod."""
        if self.pod.ended_at is None or not self.attempts:
            return self.pod.ended_at
        return self.pod.ended_at + timedelta(seconds=min(LONGEST_BACKOFF_SECONDS, BACKOFF_SECONDS * 2 ** min(30, self.attempts - 1)))


@dataclass(frozen=True, slots=True)
class Retries:
    """The setbacks of a Job."""

    setbacks: Sequence[Setback] = ()
    tried: int = 0
    """Indexes that have had a pod, and are not done."""
    limit: int = 0
    """Attempts that an index has after its first."""
    rows: int = 0
    """Rows that the whole ImageJob has."""

    @property
    def all_failing(self) -> bool:
        """Whether nothing works: each index that has been tried has failed."""
        return len(self.setbacks) == self.tried > 0

    @property
    def next_at(self) -> datetime | None:
        """When the next pod is to be made."""
        moments = [each.next_at for each in self.setbacks if each.next_pod is None and each.attempts <= self.limit]
        return min((moment for moment in moments if moment is not None), default=None)

    @property
    def hindrance(self) -> Hindrance | None:
        """What most of them died of, in the words of the newest, and when it is tried again."""
        alike = self._alike()
        if not alike:
            return None
        newest = max(alike, key=lambda each: (each.pod.ended_at.timestamp() if each.pod.ended_at else 0.0, each.pod.name))
        others = f" The same has befallen {len(alike)} of {self.tried} indexes of the Job." if len(alike) > 1 else ""
        return Hindrance(newest.reason, f"{words_of(newest.pod)}{others} {self._sequel(newest)}")

    def _alike(self) -> list[Setback]:
        if not self.setbacks:
            return []
        common = Counter(each.reason for each in self.setbacks).most_common(1)[0][0]
        return [each for each in self.setbacks if each.reason is common]

    def _sequel(self, setback: Setback) -> str:
        if not setback.attempts:
            return "It is tried again, and not counted."
        if setback.attempts > self.limit:
            return f"It was the last of {self.limit + 1} attempts."
        told = f"It was attempt {setback.attempts} of {self.limit + 1};"
        if setback.next_pod is not None:
            return f"{told} {setback.next_pod.name} is the next."
        return f"{told} the next begins at {setback.next_at:%H:%M:%S} UTC." if setback.next_at else f"{told} another follows."

    def verdict(self, job: JobView) -> Stop | None:
        """Why no other attempt can help, though Kubernetes would make it; None if it may."""
        never = next((each.pod for each in self.setbacks if lacks_runner(each.pod)), None)
        if never is not None:
            return Stop(Reason.CONTAINER_START_FAILED, words_of(never))
        alike = self._alike()
        works = job.succeeded or self.rows  # indexes that are done are not among those that were tried
        if job.failed_indexes and len(alike) >= _ALIKE and len(alike) == self.tried and not works:
            why = f"{self.hindrance.message if self.hindrance else ''}"
            return Stop(alike[0].reason, f"{why} Every index of the Job that was tried has failed like this, so no other is tried.")
        return None


def retries(now: Situation, job: JobView) -> Retries:
    """The setbacks of a Job that has not ended."""
    pods_of: dict[int, list[PodView]] = defaultdict(list)
    for pod in now.pods:  # oldest first
        if pod.part is job.part and pod.owner == job.uid:
            pods_of[pod.index if job.part is Part.WORK else 0].append(pod)
    open_indexes = [pods for pods in pods_of.values() if not any(pod.phase == "Succeeded" for pod in pods)]
    found = [setback for pods in open_indexes if (setback := _setback(pods)) is not None]
    return Retries(found, len(open_indexes), now.spec.failure_policy.backoff_limit_per_shard, done(now.counts))


def _setback(pods: Sequence[PodView]) -> Setback | None:
    failed = [pod for pod in pods if _has_failed(pod)]
    if not failed:
        return None
    last = failed[-1]
    later = pods[pods.index(last) + 1 :]
    rows = _rows(last)
    reason = reason_of(last)
    if is_permanent(reason) or any(_rows(pod) > rows for pod in later):
        return None
    attempts = sum(not pod.disrupted for pod in failed)
    return Setback(last, reason, 0 if last.disrupted else attempts, next((pod for pod in later if not pod.ended), None))


def _has_failed(pod: PodView) -> bool:
    """Whether a pod has failed, and was not only asked to end."""
    return pod.phase == "Failed" and pod.exit_code != RunnerExit.STOPPED and (not pod.disrupted or was_evicted(pod))


def _rows(pod: PodView) -> int:
    return pod.images.done if pod.images is not None else 0
