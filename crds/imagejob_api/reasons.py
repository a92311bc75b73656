"""Every reason that a condition of an ImageJob may have, each with what it means. docs/troubleshooting.md has a heading for each.

The reasons of `Failed` tell whose fault it was: the cluster's (`Fault.INFRASTRUCTURE`), the model's or the pipeline's code (`Fault.MODEL`),
the inputs' (`Fault.INPUT`), or what the job's author asked for (`Fault.JOB`). Where single images have failed, their error codes tell
(`Fault.IMAGES`; `imagejob_api.failure.fault_of`).
"""

from enum import Enum, StrEnum
from typing import Final, Self


class ConditionType(StrEnum):
    """The conditions of an ImageJob."""

    FINISHED = "Finished"
    COMPLETE = "Complete"
    FAILED = "Failed"
    SUSPENDED = "Suspended"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    RETRYING = "Retrying"
    CLIPPED = "Clipped"


class Fault(Enum):
    """Where the cause of a failure lies."""

    INFRASTRUCTURE = "infrastructure"
    MODEL = "model"
    INPUT = "input"
    JOB = "job"
    IMAGES = "images"


class Reason(StrEnum):
    """Reasons of conditions; `meaning` is one sentence for people."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """A reason and its meaning."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    # Finished, and Complete
    NOT_FINISHED = "NotFinished", "The job has not ended yet."
    SUCCEEDED = "Succeeded", "Every image has a row, and none failed."
    PARTIALLY_SUCCEEDED = "PartiallySucceeded", "Every image has a row, and no more failed than failurePolicy allows."
    FAILED = "Failed", "The job failed; the condition Failed says why."
    CANCELLED = "Cancelled", "The job was ended by spec.cancel; what was done by then is in the output."

    # Failed
    TOO_MANY_FAILURES = "TooManyFailures", "More images failed than failurePolicy allows."
    DEADLINE_EXCEEDED = "DeadlineExceeded", "The job ran for longer than activeDeadlineSeconds."
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded", "No pod of the job had started within startDeadlineSeconds."
    INVALID_JOB = "InvalidJob", "A pod found that the job, one of its steps or a function that it calls cannot work."
    INVALID_SOURCE = "InvalidSource", "The source holds duplicates, nothing at all, or a list that cannot be understood."
    MODEL_REFUSED = "ModelRefused", "The model has another digest than the pipeline says, is not safe to load, or does not fit."
    OUTPUT_REFUSED = "OutputRefused", "The output belongs to another job, or must be empty and is not."
    STORAGE_UNREACHABLE = "StorageUnreachable", "The source or the output cannot be reached or not be written."
    STORAGE_REFUSED = (
        "StorageRefused",
        "The output's bucket is not there, or the credentials are wrong or do not allow writing; found before anything was computed.",
    )
    DEVICE_FAILED = "DeviceFailed", "The GPU failed under a pod again and again."
    OUT_OF_MEMORY = "OutOfMemory", "Pods used more memory than they may, and were killed, again and again."
    EVICTED = "Evicted", "Pods were evicted from their nodes again and again."
    CRASHED = "Crashed", "Pods ended with an error that none of the other reasons covers, again and again."
    INCOMPLETE = "Incomplete", "All pods are done, and some images have no row; this is a defect."

    # Suspended
    SUSPENDED = "Suspended", "The job is suspended by spec.suspend; outputs stay."
    QUEUED = "Queued", "The job waits until its queue admits it."
    NOT_SUSPENDED = "NotSuspended", "The job is not suspended."
    RESUMED = "Resumed", "The job was suspended and goes on."

    # Reconciling
    PREPARING = "Preparing", "The operator is making the job's objects."
    REPLACING_JOB = "ReplacingJob", "The pods are being replaced, since the spec wants others, or several instead of one."
    STOPPING = "Stopping", "The job's pods are ending; the job is over when they are gone."
    RECONCILED = "Reconciled", "The job's objects are as the spec wants them."

    # Stalled
    NOT_STALLED = "NotStalled", "Nothing keeps the job from running."
    INVALID_SPEC = "InvalidSpec", "The spec is not valid."
    OUTPUT_IN_PODS = "OutputInPods", "The output is a folder inside the pods, and more than one pod must see it."
    PIPELINE_NOT_FOUND = "PipelineNotFound", "There is no ImagePipeline of that name in the job's namespace."
    INVALID_PIPELINE = "InvalidPipeline", "The ImagePipeline is not valid."
    LIMIT_NOT_FOUND = "LimitNotFound", "A step takes a limit that no NodeLimit defines."
    LIMIT_INACTIVE = "LimitInactive", "A step takes a limit that is switched off by active: false."
    LIMIT_ON_NO_NODE = "LimitOnNoNode", "A step takes a limit that no node has, or limits that no node has together."
    LIMIT_UNAVAILABLE = "LimitUnavailable", "The pods wait for a limit that is missing or inactive on their nodes."
    NAME_TAKEN = "NameTaken", "An object that is not the job's own has a name that the job needs."
    OBJECT_REFUSED = "ObjectRefused", "The API server refuses an object that the job needs."
    PODS_REFUSED = "PodsRefused", "Pods cannot be created: a quota, Pod Security or an admission policy refuses them."
    UNSCHEDULABLE = "Unschedulable", "The scheduler finds no node for the pods."
    IMAGE_PULL_FAILED = "ImagePullFailed", "The pods' image cannot be pulled."
    CONTAINER_CONFIG_ERROR = (
        "ContainerConfigError",
        "The pods' container cannot be made: a Secret, a ConfigMap or a key in it is missing.",
    )
    CONTAINER_START_FAILED = "ContainerStartFailed", "The pods' container does not start."
    VOLUME_UNAVAILABLE = "VolumeUnavailable", "A volume of the pods cannot be mounted."

    # Retrying; when it holds it has one of the reasons of Failed
    NOT_RETRYING = "NotRetrying", "No pod has failed, or its work has gone on since."

    # Clipped, which is there only while it holds
    ABOVE_LIMIT = "AboveLimit", "The job asks for a longer hold or a higher priority than a NodeLimit allows, and gets what that allows."


FAULTS: Final = {
    Reason.TOO_MANY_FAILURES: Fault.IMAGES,
    Reason.INVALID_SOURCE: Fault.INPUT,
    Reason.INVALID_JOB: Fault.MODEL,
    Reason.MODEL_REFUSED: Fault.MODEL,
    Reason.OUTPUT_REFUSED: Fault.JOB,
    Reason.STORAGE_REFUSED: Fault.JOB,
    Reason.CONTAINER_START_FAILED: Fault.JOB,
    Reason.DEADLINE_EXCEEDED: Fault.JOB,
    Reason.START_DEADLINE_EXCEEDED: Fault.JOB,
    Reason.CANCELLED: Fault.JOB,
    Reason.STORAGE_UNREACHABLE: Fault.INFRASTRUCTURE,
    Reason.DEVICE_FAILED: Fault.INFRASTRUCTURE,
    Reason.OUT_OF_MEMORY: Fault.INFRASTRUCTURE,
    Reason.EVICTED: Fault.INFRASTRUCTURE,
    Reason.CRASHED: Fault.INFRASTRUCTURE,
    Reason.INCOMPLETE: Fault.INFRASTRUCTURE,
}
"""Where the cause lies, for each reason that `Failed` may have."""
