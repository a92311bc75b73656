"""What every part of a job's pods works with."""

from dataclasses import dataclass, field

from imagejob_api.pod import JobFile, PodResult
from imagejob_runner.pod.environment import PodEnvironment
from imagejob_runner.pod.stopping import Stop


@dataclass(slots=True)
class Context:
    """One pod at work.

    Attributes:
        job: What it is told to do.
        pod: Which pod it is.
        stop: Whether it was asked to end.
        result: What it leaves behind; filled as the work goes on, so that a failure tells what was done before it.
    """

    job: JobFile
    pod: PodEnvironment
    stop: Stop
    result: PodResult = field(default_factory=PodResult)

    def tell(self, **found: object) -> None:
        """Adds to the result."""
        self.result = self.result.model_copy(update=found)
