"""How far a job is: the sum of what its pods report, which never goes backwards."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from imagejob_api.imagejob import ImageCounts, StageUtilisation, UtilisationStatus
from imagejob_api.pod import Part, PodImages, StageReport, UtilisationReport
from imagejob_operator.imagejobs.pod_view import PodView
from imagejob_operator.timestamps import format_time

_LEAST_RATE: Final = 0.001
_STEP: Final = 5
_MOST_STAGES: Final = 64


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


def utilisation(pods: Sequence[PodView]) -> UtilisationStatus | None:
    """How busy the running pods are on average, in coarse steps: each change is a write of the status; None if none tells."""
    reports = [report for report in _reports(pods) if report.stages or report.device is not None or report.cpus is not None]
    if not reports:
        return None
    stages: dict[str, list[StageReport]] = {}
    for report in reports:
        for stage in report.stages:
            stages.setdefault(stage.name, []).append(stage)
    return UtilisationStatus(
        stages=[
            StageUtilisation(name=name, busy=_mean([one.busy for one in found]), waiting=_mean([one.waiting for one in found]))
            for name, found in list(stages.items())[:_MOST_STAGES]
        ],
        device=_mean(devices) if (devices := [report.device for report in reports if report.device is not None]) else None,
        cpus=_mean(cpus) if (cpus := [report.cpus for report in reports if report.cpus is not None]) else None,
    )


def bottleneck(pods: Sequence[PodView]) -> str:
    """What more of the running pods say limits them than say anything else, the first in the alphabet of equals.

    Empty where more say that nothing does.
    """
    said = Counter(report.bottleneck for report in _reports(pods))
    return min(said, key=lambda text: (-said[text], not text, text), default="")


def _reports(pods: Sequence[PodView]) -> list[UtilisationReport]:
    reports = [pod.progress.utilisation for pod in pods if pod.running and pod.progress is not None]
    return [report for report in reports if report is not None]


def _mean(percents: Sequence[int]) -> int:
    return _STEP * round(sum(percents) / len(percents) / _STEP)


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
