"""How busy a job's stages, its device and its CPUs are, and which of them limits it: pure arithmetic over what engines count.

The stages of a pipeline work at the same time, so the slowest decides how fast the job is. It is the one that always works, while those
before it wait for room and those after it for images: the one with the highest utilisation.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

LEAST_SECONDS: Final = 5.0
"""Of a job that has worked for less nobody can tell: its first and last batch are most of it."""
LEAST_UTILISATION: Final = 0.6
"""Below this nothing limits a job all the time."""
OWN_SHARE: Final = 0.75
"""A stage that spends less than this part of its busy time at work, and the rest waiting for slots, is limited by who holds them."""

RECENT_SECONDS: Final = 30.0


class Cause(StrEnum):
    """What may limit a job."""

    DOWNLOAD = "download"
    DECODE = "decode"
    MODEL = "model"
    LIMIT = "limit"
    FUNCTION = "function"
    SAVE = "save"
    WRITE = "write"


CAUSE_OF_KIND: Final[Mapping[str, Cause]] = {
    "download": Cause.DOWNLOAD,
    "transform": Cause.DECODE,
    "infer": Cause.MODEL,
    "call": Cause.FUNCTION,
    "save": Cause.SAVE,
}
"""Cause by kind of step."""


@dataclass(frozen=True, slots=True)
class StageTimes:
    """What one stage has done, summed over all processes.

    Attributes:
        kind: Of its step.
        workers: How many images or batches it may work on at once in each process.
        capacity: Seconds that its workers could have worked.
        seconds: Seconds that they have worked.
        waited: Seconds that they have waited for slots of limits.
        images: Images through the stage.
        computing: Of `capacity`, what lies between the first and the last batch; 0 if the stage has none.
    """

    kind: str
    workers: int = 0
    capacity: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0
    images: int = 0
    computing: float = 0.0

    def __add__(self, other: "StageTimes") -> "StageTimes":
        return StageTimes(
            self.kind,
            max(self.workers, other.workers),
            self.capacity + other.capacity,
            self.seconds + other.seconds,
            self.waited + other.waited,
            self.images + other.images,
            self.computing + other.computing,
        )

    def since(self, before: "StageTimes") -> "StageTimes":
        """What was done between two moments; less than nothing is nothing."""
        return StageTimes(
            self.kind,
            self.workers,
            max(0.0, self.capacity - before.capacity),
            max(0.0, self.seconds - before.seconds),
            max(0.0, self.waited - before.waited),
            max(0, self.images - before.images),
            max(0.0, self.computing - before.computing),
        )


@dataclass(frozen=True, slots=True)
class Times:
    """What one or several processes have done.

    Attributes:
        stages: Each stage, in the order of the pipeline.
        wall: Seconds since the first image began, summed over the processes.
        writing: Seconds in which rows were written.
        cpu_capacity: Seconds that the CPUs could have worked.
        cpu_seconds: CPU time of the processes and of those that prepare images for them.
        cpus: CPUs that a process may use.
        device: Where models run, such as cpu or cuda:0; empty without one.
        slots: Seconds that the slots of a stage's limits could have been used, by stage; of a stage that takes none, or nobody knows, none.
    """

    stages: Mapping[str, StageTimes] = field(default_factory=dict)
    wall: float = 0.0
    writing: float = 0.0
    cpu_capacity: float = 0.0
    cpu_seconds: float = 0.0
    cpus: int = 0
    device: str = ""
    slots: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: "Times") -> "Times":
        stages = dict(self.stages)
        for name, stage in other.stages.items():
            stages[name] = stages[name] + stage if name in stages else stage
        return Times(
            stages,
            self.wall + other.wall,
            self.writing + other.writing,
            self.cpu_capacity + other.cpu_capacity,
            self.cpu_seconds + other.cpu_seconds,
            max(self.cpus, other.cpus),
            self.device or other.device,
            {**self.slots, **other.slots},
        )

    def since(self, before: "Times") -> "Times":
        """What was done between two moments; less than nothing is nothing."""
        return Times(
            {name: stage.since(before.stages[name]) if name in before.stages else stage for name, stage in self.stages.items()},
            max(0.0, self.wall - before.wall),
            max(0.0, self.writing - before.writing),
            max(0.0, self.cpu_capacity - before.cpu_capacity),
            max(0.0, self.cpu_seconds - before.cpu_seconds),
            self.cpus,
            self.device,
            {name: max(0.0, seconds - before.slots.get(name, 0.0)) for name, seconds in self.slots.items()},
        )

    def possible(self, name: str) -> float:
        """Seconds that a stage could have worked: no more than its workers have, and than the slots that it takes."""
        return min(self.stages[name].capacity, self.slots.get(name, float("inf")))


@dataclass(frozen=True, slots=True)
class StageUse:
    """One stage's part of the time of its workers; all shares are between 0 and 1.

    Attributes:
        busy: Worked on this stage.
        waiting: Waited for slots.
        images: Images through it.
        seconds: Seconds worked.
        workers: Its workers.
    """

    busy: float
    waiting: float
    images: int
    seconds: float
    workers: int


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """What limits a job.

    Attributes:
        cause: What.
        step: The stage, or the name of a limit's step.
        share: Part of the time in which it was busy or waited for, between 0 and 1.
        message: What limits the job and what would help, in words.
    """

    cause: Cause
    step: str
    share: float
    message: str


@dataclass(frozen=True, slots=True)
class Utilisation:
    """How busy everything is.

    Attributes:
        stages: By stage.
        device: Part of the time in which the model's device computed, between the first and the last batch; None without a model.
        cpus: Part of the CPUs that was used; None where it is not known.
        bottleneck: What limits the job; None where nothing does all the time, or it is too early to tell.
    """

    stages: Mapping[str, StageUse] = field(default_factory=dict)
    device: float | None = None
    cpus: float | None = None
    bottleneck: Bottleneck | None = None

    def as_json(self) -> dict[str, object]:
        """The object in ``summary.json`` and in what `imagejob run --json` prints."""
        return {
            "stages": {
                name: {
                    "busy": round(use.busy, 3),
                    "waiting": round(use.waiting, 3),
                    "images": use.images,
                    "seconds": round(use.seconds, 3),
                    "workers": use.workers,
                }
                for name, use in self.stages.items()
            },
            "device": None if self.device is None else round(self.device, 3),
            "cpus": None if self.cpus is None else round(self.cpus, 3),
            "bottleneck": None
            if self.bottleneck is None
            else {
                "cause": self.bottleneck.cause.value,
                "step": self.bottleneck.step,
                "share": round(self.bottleneck.share, 3),
                "message": self.bottleneck.message,
            },
        }


def utilisation(times: Times) -> Utilisation:
    """How busy everything was."""
    stages = {
        name: StageUse(
            share(stage.seconds, times.possible(name)), share(stage.waited, stage.capacity), stage.images, stage.seconds, stage.workers
        )
        for name, stage in times.stages.items()
    }
    # Several models take turns on one device: it is as busy as they are together.
    models = {name: stage for name, stage in times.stages.items() if stage.kind == "infer" and stage.computing > 0}
    computing = max((stage.computing * share(times.possible(name), stage.capacity) for name, stage in models.items()), default=0.0)
    device = share(sum(stage.seconds for stage in models.values()), computing) if models else None
    cpus = share(times.cpu_seconds, times.cpu_capacity) if times.cpu_capacity > 0 else None
    return Utilisation(stages, device, cpus, bottleneck(times))


def bottleneck(times: Times) -> Bottleneck | None:
    """What limits a job; None where nothing does all the time, or it is too early to tell."""
    if times.wall < LEAST_SECONDS:
        return None
    # The last of equals: the earlier ones wait for it, whatever they do meanwhile.
    part, cause, step = max(_candidates(times), key=lambda candidate: candidate[0])
    return Bottleneck(cause, step, part, _words(cause, step, times)) if part >= LEAST_UTILISATION else None


class Recent:
    """What has been done within the last `RECENT_SECONDS`, so that a job that has got slower, or waits for others now, tells so.

    Args:
        clock: Seconds of a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, Times]] = deque()

    def update(self, times: Times) -> Times:
        """Takes in what has been done until now, and returns what of it was done of late."""
        moment = self._clock()
        while len(self._seen) > 1 and self._seen[1][0] <= moment - RECENT_SECONDS:
            self._seen.popleft()
        if not self._seen or moment >= self._seen[-1][0] + 1:
            self._seen.append((moment, times))
        then, before = self._seen[0]
        return times.since(before) if then <= moment - RECENT_SECONDS else times


def _candidates(times: Times) -> list[tuple[float, Cause, str]]:
    candidates = [(share(times.writing, times.wall), Cause.WRITE, "")]
    for name, stage in reversed(list(times.stages.items())):
        worked = share(stage.seconds, times.possible(name))
        taken = max(worked, share(stage.seconds + stage.waited, stage.capacity))
        candidates.append((taken, Cause.LIMIT if worked < OWN_SHARE * taken else CAUSE_OF_KIND[stage.kind], name))
    return candidates


def _words(cause: Cause, step: str, times: Times) -> str:
    on_cpus = f"on {times.cpus} CPU{'' if times.cpus == 1 else 's'}"
    on_gpu = times.device not in ("", "cpu")
    at_once = f"{times.stages[step].workers} at once" if step else ""
    help_with: Mapping[Cause, str] = {
        Cause.DOWNLOAD: f"downloading limits this job ({at_once}): raise concurrency of step {step}, or work nearer to the images",
        Cause.DECODE: f"decoding {on_cpus} limits this job: give it more CPUs{', or decode on the GPU (decode.device)' if on_gpu else ''}",
        Cause.MODEL: f"the model of step {step} limits this job, and the GPU is busy: a lower precision or a smaller model would help"
        if on_gpu
        else f"the model of step {step} {on_cpus} limits this job: give it more CPUs or a GPU, or use a smaller model",
        Cause.LIMIT: f"waiting for slots limits this job: others hold what step {step} needs; add slots, or wait until they are done",
        Cause.FUNCTION: f"the function of step {step} limits this job ({at_once}): raise the step's concurrency, or the job's parallelism",
        Cause.SAVE: f"saving images limits this job ({at_once}): raise concurrency of step {step}, or write nearer to where it runs",
        Cause.WRITE: "writing rows limits this job: use a faster output, or one that is nearer",
    }
    return help_with[cause]


def share(part: float, whole: float) -> float:
    """A part of a whole, between 0 and 1; 0 of nothing."""
    return min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0
