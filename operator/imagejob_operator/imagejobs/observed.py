"""What is known about an ImageJob when it is planned: nothing else goes into a plan."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from imagejob_api.pod import PodImages
from imagejob_api.reasons import Reason
from imagejob_operator.imagejobs.pod_view import PodView
from imagejob_operator.limits.view import LimitFacts
from imagejob_operator.manifest import Json
from imagejob_operator.objects.job_file import StoredFile
from imagejob_operator.settings import Settings


@dataclass(frozen=True, slots=True)
class Hindrance:
    """What keeps a job from running, as its condition Stalled says it."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Observed:
    """An ImageJob and all that is its own."""

    job: Json
    """The ImageJob."""
    now: datetime
    settings: Settings
    pipeline: Json | None = None
    """The ImagePipeline that it names, if there is one."""
    stored: StoredFile | None = None
    """The job file that its pods are told, as far as it has been read."""
    file_ready: bool = True
    """Whether the ConfigMap with the file is known to be there, if there is a file."""
    jobs: Sequence[Json] = ()
    """Its Jobs."""
    pods: Sequence[PodView] = ()
    """The pods of these."""
    reports: Mapping[int, PodImages] = field(default_factory=dict)
    """The last counts of pods that are gone, by index."""
    limits: Callable[[str], LimitFacts | None] | None = None
    """What is known of a limit by its name; None as a whole where this operator does not know of limits."""
    lost_nodes: frozenset[str] = frozenset()
    """Nodes that are not ready."""
    access_ready: bool = False
    """Whether the namespace's service account and role bindings are known to be there."""
    refused: Hindrance | None = None
    """Why the API server did not take what this job needs."""
    leftover: str = ""
    """What of an earlier ImageJob of this name is still being deleted, and in the way."""
    complaint: Hindrance | None = None
    """What Kubernetes' Events say about pods that are missing or do not start."""
    pulling: bool = False
    """Whether they say that an image is being pulled, which takes its time."""
