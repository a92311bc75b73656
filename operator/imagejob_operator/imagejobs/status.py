"""The status of an ImageJob: its conditions, its numbers, and which changes of it are worth a write at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from imagejob_api.clipping import clipped
from imagejob_api.imagejob import ImageCounts, ImageJobStatus, Phase, PodCounts, ShardCounts
from imagejob_api.meta import Condition
from imagejob_api.pod import Part
from imagejob_api.reasons import ConditionType, Reason
from imagejob_operator.imagejobs.counting import bottleneck, done, expected_end, images_per_second, utilisation, waiting_pods
from imagejob_operator.imagejobs.job_view import JobView
from imagejob_operator.imagejobs.observed import Hindrance
from imagejob_operator.imagejobs.situation import Situation, condition
from imagejob_operator.manifest import Json
from imagejob_operator.timestamps import format_time

_NUMBERS: Final = ("images", "progress", "shards", "pods", "waitingForLimit", "imagesPerSecond", "eta", "bottleneck", "utilisation")
_LONGEST_MESSAGE: Final = 2000
_TELLING: Final = (
    ConditionType.FAILED,
    ConditionType.COMPLETE,
    ConditionType.STALLED,
    ConditionType.RETRYING,
    ConditionType.SUSPENDED,
    ConditionType.RECONCILING,
)
"""Conditions by how much it matters that they hold."""


@dataclass(frozen=True, slots=True)
class State:
    """One condition as it should be."""

    holds: bool
    reason: Reason
    message: str = ""


def conditions(before: ImageJobStatus, wanted: Mapping[ConditionType, State], generation: int, now: datetime) -> list[Condition]:
    """Conditions, each with the time since when it has held or not."""
    result = []
    for kind, state in wanted.items():
        status = "True" if state.holds else "False"
        known = condition(before, kind)
        unchanged = known is not None and known.status == status
        result.append(
            Condition(
                type=kind,
                status=status,
                reason=state.reason,
                message=_message(state, known if unchanged else None),
                last_transition_time=known.last_transition_time if known is not None and unchanged else format_time(now),
                observed_generation=generation,
            )
        )
    return result


def _message(state: State, known: Condition | None) -> str:
    """What to say. A kubelet that tries again says "Back-off ..." in between, which tells less than what it said before."""
    if known is not None and known.reason == state.reason and known.message and state.message.startswith("Back-off"):
        return known.message
    return state.message[:_LONGEST_MESSAGE]


def unfinished(
    now: Situation,
    phase: Phase,
    *,
    reconciling: State,
    stalled: Hindrance | None = None,
    suspended: State | None = None,
    retrying: Hindrance | None = None,
) -> ImageJobStatus:
    """The status of a job that has not ended."""
    wanted = {
        ConditionType.FINISHED: State(holds=False, reason=Reason.NOT_FINISHED),
        ConditionType.SUSPENDED: suspended or _not_suspended(now),
        ConditionType.RECONCILING: reconciling,
        ConditionType.STALLED: _because(stalled, Reason.NOT_STALLED),
        ConditionType.RETRYING: _because(retrying, Reason.NOT_RETRYING),
    }
    told = conditions(now.before, {**wanted, **_clipped(now)}, now.generation, now.seen.now)
    rate = images_per_second(now.pods)
    shown_rate = f"{rate:.1f}" if rate else ""
    same_numbers = shown_rate == now.before.images_per_second and done(now.counts) == done(now.before.images)
    return ImageJobStatus(
        observed_generation=now.generation,
        phase=phase,
        conditions=told,
        reason=reason_now(told),
        images=now.counts,
        progress=_progress(now.counts),
        shards=shard_counts(now),
        pods=PodCounts(active=len(now.live_pods), ready=sum(pod.ready for pod in now.live_pods)),
        waiting_for_limit=waiting_pods(now.pods),
        images_per_second=shown_rate,
        bottleneck=bottleneck(now.pods),
        utilisation=utilisation(now.pods),
        eta=now.before.eta if same_numbers else expected_end(now.counts, rate, now.seen.now),
        start_time=format_time(now.started) if now.started is not None else None,
    )


def refused(job: Json, before: ImageJobStatus, hindrance: Hindrance, now: datetime) -> ImageJobStatus:
    """The status of a job whose spec cannot even be read."""
    generation = int(job["metadata"].get("generation", 0))
    wanted = {
        ConditionType.FINISHED: State(holds=False, reason=Reason.NOT_FINISHED),
        ConditionType.SUSPENDED: State(holds=False, reason=Reason.NOT_SUSPENDED),
        ConditionType.RECONCILING: State(False, hindrance.reason, hindrance.message),
        ConditionType.STALLED: State(True, hindrance.reason, hindrance.message),
        ConditionType.RETRYING: State(False, Reason.NOT_RETRYING),
    }
    found = conditions(before, wanted, generation, now)
    phase = before.phase or Phase.PENDING
    update = {"observed_generation": generation, "phase": phase, "conditions": found, "reason": reason_now(found)}
    return before.model_copy(update=update)


def _because(hindrance: Hindrance | None, otherwise: Reason) -> State:
    return State(True, hindrance.reason, hindrance.message) if hindrance is not None else State(False, otherwise)


def reason_now(told: Sequence[Condition]) -> str:
    """The reason that matters most of some conditions; empty while a job just runs."""
    reasons = {each.type: each.reason for each in told if each.status == "True"}
    return next((reasons[kind] for kind in _TELLING if kind in reasons), "")


def _not_suspended(now: Situation) -> State:
    known = condition(now.before, ConditionType.SUSPENDED)
    was = known is not None and (known.reason == Reason.RESUMED or (known.status == "True" and known.reason == Reason.SUSPENDED))
    return State(False, Reason.RESUMED if was else Reason.NOT_SUSPENDED)


def shard_counts(now: Situation) -> ShardCounts:
    """Shards by what became of them; a Job that is made anew does not take back what was done."""
    work = now.jobs.get(Part.WORK)
    done_now = _part_of(now, work, work.succeeded) if work is not None else 0
    lost = _part_of(now, work, work.failed_indexes) if work is not None else now.before.shards.failed
    succeeded = max(now.before.shards.succeeded, done_now)
    return ShardCounts(total=now.shards, succeeded=min(succeeded, now.shards), failed=lost)


def _part_of(now: Situation, work: JobView, pods: int) -> int:
    """Shards of so many of the pods that share them."""
    return now.shards * pods // work.completions


def _clipped(now: Situation) -> Mapping[ConditionType, State]:
    """Of what a job asks beyond what its limits allow; nothing if it does not."""
    beyond = clipped(now.steps, now.spec.priority, now.seen.limits) if now.seen.limits is not None else []
    return {ConditionType.CLIPPED: State(True, Reason.ABOVE_LIMIT, " ".join(beyond))} if beyond else {}


def finished(
    now: Situation, phase: Phase, counts: ImageCounts, wanted: Mapping[ConditionType, State], completion: datetime
) -> ImageJobStatus:
    """The status of a job that has ended."""
    told = conditions(now.before, {**wanted, **_clipped(now)}, now.generation, now.seen.now)
    return ImageJobStatus(
        observed_generation=now.generation,
        phase=phase,
        conditions=told,
        reason=reason_now(told),
        images=counts,
        progress=_progress(counts),
        shards=shard_counts(now),
        bottleneck=now.before.bottleneck,
        utilisation=now.before.utilisation,
        start_time=format_time(now.started) if now.started is not None else None,
        completion_time=format_time(completion),
    )


def _progress(counts: ImageCounts) -> str:
    return f"{done(counts)}/{counts.total}" if counts.total else ""


def as_json(status: ImageJobStatus) -> Json:
    """A status as it is written: what nobody has counted yet is left out."""
    content: Json = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    if not status.images.total:
        del content["images"]
    if not status.shards.total:
        del content["shards"]
    return {key: value for key, value in content.items() if value != ""}


def status_patch(before: Json, after: Json) -> Json:
    """The merge patch that turns one status into another; empty if they are the same."""
    patch: Json = {key: value for key, value in after.items() if before.get(key) != value}
    return patch | dict.fromkeys(before.keys() - after.keys())


def only_numbers(before: Json, after: Json) -> bool:
    """Whether nothing has changed but numbers and the words of conditions: no reason to write at once."""
    return _essence(before) == _essence(after)


def _essence(status: Json) -> Json:
    essence = {key: value for key, value in status.items() if key not in _NUMBERS}
    essence["conditions"] = [_without_message(each) for each in status.get("conditions") or ()]
    return essence


def _without_message(each: Mapping[str, Any]) -> Sequence[tuple[str, Any]]:
    return sorted((key, value) for key, value in each.items() if key != "message")
