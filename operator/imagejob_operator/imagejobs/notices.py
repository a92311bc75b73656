"""The few Kubernetes Events that `kubectl describe imagejob` shows: one for each turn in a job's life."""

from imagejob_api.imagejob import ImageJobStatus
from imagejob_api.reasons import ConditionType, Reason
from imagejob_operator.imagejobs.actions import Notice
from imagejob_operator.imagejobs.situation import condition, holds


def of_change(before: ImageJobStatus, after: ImageJobStatus) -> tuple[Notice, ...]:
    """What a change of status is worth telling."""
    finished = condition(after, ConditionType.FINISHED)
    if finished is not None and finished.status == "True":
        if holds(before, ConditionType.FINISHED):
            return ()
        cause = condition(after, ConditionType.FAILED) or finished
        return (Notice("Warning" if finished.reason == Reason.FAILED else "Normal", cause.reason, finished.message),)
    found = []
    if after.start_time is not None and before.start_time is None:
        found.append(Notice("Normal", "Started", "The job's pods are being created."))
    for kind in (ConditionType.RETRYING, ConditionType.STALLED, ConditionType.CLIPPED, ConditionType.SUSPENDED):
        known, new = condition(before, kind), condition(after, kind)
        if new is not None and new.status == "True" and (known is None or known.reason != new.reason):
            notice = Notice("Normal" if kind is ConditionType.SUSPENDED else "Warning", new.reason, new.message)
            found += [notice] if notice not in found else []
    return tuple(found)
