"""Names and numbers that more than one module of the operator relies on."""

from typing import Final

COMPONENT: Final = "imagejob-operator"
"""Who Kubernetes Events are from."""

ANNOTATION_DIGEST: Final = "imagejob.dev/spec-digest"
"""On a Job: what of the ImageJob its pods were made from. Another digest means other pods, so the Job is made anew."""
ANNOTATION_STOP: Final = "imagejob.dev/stop"
"""On a Job that was suspended for good: why, as JSON with reason and message. Once written the job ends, whatever its numbers do."""
LABEL_KUEUE_QUEUE: Final = "kueue.x-k8s.io/queue-name"
"""On an ImageJob, and so on its Jobs: Kueue decides when they run."""
ANNOTATION_INDEX: Final = "batch.kubernetes.io/job-completion-index"
"""On a pod of an Indexed Job, written by Kubernetes: its index."""

GRACE_SECONDS: Final = 60
"""Grace period of pods: time to finish a batch and to commit what is whole."""
GONE_NODE_SECONDS: Final = 30
"""How long pods stay on a node that does not answer, unless the template says otherwise."""
