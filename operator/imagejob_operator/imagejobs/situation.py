"""An ImageJob as a whole: the views of its parts, and what follows from them together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from pydantic import ValidationError

from imagejob_api.imagejob import ImageCounts, ImageJobSpec, ImageJobStatus, Phase
from imagejob_api.meta import Condition
from imagejob_api.pipeline import ImagePipelineSpec, Step
from imagejob_api.pod import FailedImages, Part, PlanReport, SummaryReport, shard_count
from imagejob_api.reasons import ConditionType, Reason
from imagejob_operator.imagejobs.counting import count_images, newest_reports
from imagejob_operator.imagejobs.job_view import JobView
from imagejob_operator.imagejobs.observed import Observed
from imagejob_operator.imagejobs.pod_view import PodView
from imagejob_operator.manifest import Json
from imagejob_operator.timestamps import parse_time


def read_status(job: Json) -> ImageJobStatus:
    """The status of an ImageJob; one that cannot be read counts as none."""
    try:
        return ImageJobStatus.model_validate(job.get("status") or {})
    except ValidationError:
        return ImageJobStatus()


def condition(status: ImageJobStatus, kind: ConditionType) -> Condition | None:
    """One condition of a status."""
    return next((each for each in status.conditions if each.type == kind), None)


def holds(status: ImageJobStatus, kind: ConditionType) -> bool:
    """Whether a condition is True."""
    found = condition(status, kind)
    return found is not None and found.status == "True"


@dataclass(frozen=True)
class Situation:
    """What is known about a job whose spec is valid."""

    seen: Observed
    spec: ImageJobSpec
    before: ImageJobStatus
    """Its status as it is."""

    @cached_property
    def steps(self) -> Sequence[Step]:
        """The steps of its pods, or those that they are about to have; none where that cannot be told."""
        if self.seen.stored is not None:
            return self.seen.stored.pipeline.steps
        if self.spec.pipeline is not None:
            return self.spec.pipeline.steps
        try:
            return ImagePipelineSpec.model_validate((self.seen.pipeline or {}).get("spec")).steps
        except ValidationError:
            return ()

    @cached_property
    def jobs(self) -> dict[Part, JobView]:
        """Its Jobs by part."""
        views = filter(None, map(JobView.of, self.seen.jobs))
        return {view.part: view for view in views}

    @cached_property
    def pods(self) -> tuple[PodView, ...]:
        """Its pods, oldest first."""
        return tuple(sorted(self.seen.pods, key=lambda pod: (pod.created or self.seen.now, pod.name)))

    @cached_property
    def live_pods(self) -> tuple[PodView, ...]:
        """Its pods that have not ended."""
        return tuple(pod for pod in self.pods if not pod.ended)

    @property
    def created(self) -> datetime | None:
        """When it was created."""
        return parse_time(self.seen.job["metadata"].get("creationTimestamp"))

    @property
    def generation(self) -> int:
        """Generation of its spec."""
        return int(self.seen.job["metadata"].get("generation", 0))

    @cached_property
    def plan_report(self) -> PlanReport | None:
        """What the plan's pod has said."""
        reports = [pod.result.plan for pod in self.pods if pod.result is not None and pod.result.plan is not None]
        return reports[-1] if reports else None

    @cached_property
    def summary(self) -> SummaryReport | None:
        """What the pod that completed the output has said."""
        summaries = [pod.result.summary for pod in self.pods if pod.result is not None and pod.result.summary is not None]
        return summaries[-1] if summaries else None

    @property
    def needs_plan(self) -> bool:
        """Whether a pod of its own makes the plan."""
        return self.spec.source.urls is None

    @cached_property
    def total(self) -> int:
        """Number of inputs; 0 until somebody knows."""
        if self.spec.source.urls is not None:
            return len(self.spec.source.urls)
        return self.plan_report.total if self.plan_report is not None else self.before.images.total

    @cached_property
    def shards(self) -> int:
        """Number of shards; 0 until somebody knows."""
        if self.before.start_time is not None and self.before.shards.total:
            return self.before.shards.total
        if self.spec.source.urls is not None:
            stored = self.seen.stored
            parallelism = stored.parallelism if stored is not None and self.started is not None else self.spec.parallelism
            return shard_count(self.total, self.spec.chunk_size, self.spec.shards, parallelism, self.steps)
        return self.plan_report.shards if self.plan_report is not None else self.before.shards.total

    @cached_property
    def counts(self) -> ImageCounts:
        """Images by what became of them."""
        return count_images(newest_reports(self.pods, self.seen.reports), self.total, self.before.images)

    @cached_property
    def most_failed(self) -> FailedImages | None:
        """Of the images that failed under the pods those with the commonest error."""
        found: dict[str, FailedImages] = {}
        for report in newest_reports(self.pods, self.seen.reports).values():
            most = report.most_failed
            if most is not None:
                before = found.get(most.code)
                count = most.count + (before.count if before is not None else 0)
                found[most.code] = (before if before is not None and before.example else most).model_copy(update={"count": count})
        return max(found.values(), key=lambda most: most.count, default=None)

    @cached_property
    def started(self) -> datetime | None:
        """When its first pods were made; None while there can have been none."""
        known = parse_time(self.before.start_time)
        if known is not None:
            return known
        begun = [job.started or job.created for job in self.jobs.values() if not job.suspended or job.started is not None]
        return min((moment for moment in begun if moment is not None), default=None)

    @property
    def resumed(self) -> datetime | None:
        """When it went on after a suspension, the last time."""
        found = condition(self.before, ConditionType.SUSPENDED)
        if found is None or found.reason not in (Reason.RESUMED, Reason.SUSPENDED):
            return None
        return self.seen.now if found.status == "True" else parse_time(found.last_transition_time)

    @property
    def has_run(self) -> bool:
        """Whether a pod of it has run."""
        plan = self.jobs.get(Part.PLAN)
        return self.before.phase is Phase.RUNNING or any(not pod.pending for pod in self.pods) or (plan is not None and plan.ended)
