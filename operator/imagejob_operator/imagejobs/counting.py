"""How far a job is: the sum of what its pods report, which never goes backwards."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from imagejob_api.imagejob import ImageCounts
from imagejob_api.pod import Part, PodImages
from imagejob_operator.imagejobs.pod_view import PodView
from imagejob_operator.timestamps import format_time

_LEAST_RATE: Final = 0.001


def done(counts: ImageCounts) -> int:
    """Images that have a row."""
    return counts.succeeded + counts.failed + counts.skipped


def newest_reports(pods: Iterable[PodView], remembered: Mapping[int, PodImages]) -> dict[int, PodImages]:
    """By index the count of the newest pod that has told of one."""
    reports = dict(remembered)
    seen: dict[int, datetime] = {}
    for pod in pods:
        if pod.part is not Part.WORK or pod.images is None or pod.created is None:
            continue
        if pod.index not in seen or pod.created >= seen[pod.index]:
            seen[pod.index] = pod.created
            reports[pod.index] = pod.images
    return reports


def count_images(reports: Mapping[int, PodImages], total: int, before: ImageCounts) -> ImageCounts:
    """The sum of the reports, or what was known before, whichever has more done.

    A sum that is larger than the number of inputs cannot be true, and is left aside.
    """
    summed = ImageCounts(
        total=total,
        succeeded=sum(report.succeeded for report in reports.values()),
        failed=sum(report.failed for report in reports.values()),
        skipped=sum(report.skipped for report in reports.values()),
    )
    kept = before.model_copy(update={"total": total})
    return summed if done(before) <= done(summed) <= total else kept


def images_per_second(pods: Sequence[PodView]) -> float:
    """What the running pods do together."""
    return sum(pod.progress.rate for pod in pods if pod.running and pod.progress is not None)


def expected_end(counts: ImageCounts, rate: float, now: datetime) -> str | None:
    """When the job will be done at this rate, to the next ten seconds; None if nobody can say."""
    if rate < _LEAST_RATE or not counts.total:
        return None
    seconds = (counts.total - done(counts)) / rate
    try:
        end = now + timedelta(seconds=seconds)
    except OverflowError:
        return None
    return format_time(end - timedelta(seconds=end.second % 10, microseconds=end.microsecond) + timedelta(seconds=10))


def waiting_pods(pods: Iterable[PodView]) -> int:
    """Pods that wait for a slot and hold none."""
    reports = (pod.progress for pod in pods if pod.running and pod.progress is not None)
    return sum(report.waiting > 0 and report.holding == 0 for report in reports)
