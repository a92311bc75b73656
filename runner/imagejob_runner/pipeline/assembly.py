"""Which stages a pipeline has, how wide each is, and where the gate stands.

Each kind of step is imported here and only when a pipeline has it: a pipeline of plain functions starts without torch and Pillow.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from imagejob_api.pipeline import ImagePipelineSpec, Step, Transform
from imagejob_runner.functions import find_callable
from imagejob_runner.pipeline.works.base import Memory, PlainWork

if TYPE_CHECKING:
    from imagejob_runner.planning import PlannedModel
    from imagejob_runner.storage import OutputStore

DEFAULT_CONCURRENCY: Final = {"download": 16, "save": 8, "call": 4}


@dataclass(frozen=True, slots=True)
class Part:
    """One stage to be.

    Attributes:
        step: Its definition.
        work: What it does.
        concurrency: Its workers.
        batch: Whether it works on batches.
        at_once: Images that it takes up at once.
    """

    step: Step
    work: Any
    concurrency: int
    batch: bool
    at_once: int


@dataclass(frozen=True, slots=True)
class Assembly:
    """All stages of a pipeline.

    Attributes:
        parts: The stages in order.
        gated: Number of the stage that the gate stands before.
        window: Images that may be on the way to the gate.
    """

    parts: tuple[Part, ...]
    gated: int
    window: int


def assemble(
    pipeline: ImagePipelineSpec,
    cpus: int,
    memory: Memory,
    threads: ThreadPoolExecutor,
    output: "OutputStore",
    models: "Mapping[str, PlannedModel]",
) -> Assembly:
    """Makes the stages of a pipeline.

    Args:
        pipeline: The steps.
        cpus: CPUs to decode on, as `pixel_cpus` says.
        memory: Budgets of the images in flight.
        threads: Where pixels are worked on.
        output: Where derived images go.
        models: What the output was planned with, by step.

    Raises:
        InvalidJobError: A `call` names a function that there is not, or that cannot be imported.
    """
    parts: list[Part] = []
    steps = pipeline.steps
    for place, step in enumerate(steps):
        if step.infer is not None and (place == 0 or steps[place - 1].kind != "transform"):
            # Decoding gets a stage of its own, so that it never happens under the model's slot.
            prepare = Step(name=step.name, transform=Transform(), timeout=step.timeout).model_copy(update={"name": f"{step.name}.decode"})
            parts.append(_part(prepare, [prepare, *steps[place:]], cpus, memory, threads, output, models))
        parts.append(_part(step, steps[place:], cpus, memory, threads, output, models))
    gated = next((place for place, part in enumerate(parts) if part.step.limits or part.batch), 0)
    before = sum(part.concurrency for part in parts[:gated])
    return Assembly(tuple(parts), gated, window=2 * max(parts[gated].at_once, before))


def pixel_cpus(pipeline: ImagePipelineSpec, cpus: int) -> int:
    """CPUs to decode on: those that inference leaves when a step names fewer threads than there are, else all.

    A decoding thread too many takes inference's core away from it again and again: with one thread each on two cores the forward pass ran
    at 0.96 of its speed alone, with two decoding threads at 0.94.
    """
    left = [cpus - step.infer.threads for step in pipeline.steps if step.infer is not None and step.infer.threads is not None]
    return min((some for some in left if some > 0), default=cpus)


def check_code(pipeline: ImagePipelineSpec) -> None:
    """Imports the Python functions that a pipeline names, so that a wrong name is found before a plan makes it a part of an output.

    Raises:
        InvalidJobError: A `call` names a function that there is not, or that cannot be imported.
        ModelError: A model's architecture is one that there is not, or that cannot be imported.
    """
    for step in pipeline.steps:
        if step.call is not None:
            find_callable(step.call.function, "call.function")
        elif step.infer is not None and step.infer.model.architecture is not None:
            from imagejob_runner.models.architecture import find_factory

            find_factory(step.infer.model.architecture)


def _part(
    step: Step,
    rest: Sequence[Step],
    cpus: int,
    memory: Memory,
    threads: ThreadPoolExecutor,
    output: "OutputStore",
    models: "Mapping[str, PlannedModel]",
) -> Part:
    concurrency = _concurrency(step, cpus)
    work: Any = PlainWork()
    if step.download is not None:
        from imagejob_runner.pipeline.works.download import DownloadWork

        work = DownloadWork(step.download, memory)
    elif step.transform is not None:
        from imagejob_runner.pipeline.works.pixels import PixelWork

        infer = rest[1].infer if len(rest) > 1 else None
        later = rest[2:] if infer is not None else rest[1:]
        work = PixelWork(
            step.transform.decode,
            list(step.transform.operations),
            infer.preprocess if infer is not None else None,
            keep_image=any(other.save is None or other.save.image is not None for other in later),
            threads=threads,
            memory=memory,
        )
    elif step.infer is not None:
        from imagejob_runner.pipeline.works.inference import InferenceWork

        work = InferenceWork(step.name, step.infer, models.get(step.name), concurrency=concurrency)
        return Part(step, work, concurrency, batch=True, at_once=concurrency * work.batch_size)
    elif step.call is not None:
        from imagejob_runner.pipeline.works.call import CallWork

        work = CallWork(step.name, step.call, concurrency=concurrency)
    elif step.save is not None and step.save.image is not None:
        from imagejob_runner.pipeline.works.save import SaveWork

        work = SaveWork(step.name, step.save.image, output, threads)
    return Part(step, work, concurrency, batch=False, at_once=concurrency)


def _concurrency(step: Step, cpus: int) -> int:
    if step.concurrency is not None:
        return step.concurrency
    if step.limits or step.infer is not None:
        return 1
    return DEFAULT_CONCURRENCY.get(step.kind, cpus)
