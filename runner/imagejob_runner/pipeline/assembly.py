"""Which stages a pipeline has, how wide each is, and where the gate stands.

Each kind of step is imported here and only when a pipeline has it: a pipeline of plain functions starts without torch and Pillow.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from imagejob_api.pipeline import Decode, ImagePipelineSpec, Step, Transform
from imagejob_runner.exceptions import InvalidJobError
from imagejob_runner.functions import find_callable
from imagejob_runner.pipeline.batch_stage import BatchStage
from imagejob_runner.pipeline.channel import Channel
from imagejob_runner.pipeline.flight import Flight
from imagejob_runner.pipeline.progress import Progress
from imagejob_runner.pipeline.stages import Finish, ImageStage, PassStage, Stage
from imagejob_runner.pipeline.works.base import Memory, PlainWork
from imagejob_runner.preparation.recipe import BANDS, UNIT, PreparationRecipe

if TYPE_CHECKING:
    from imagejob_runner.pipeline.preparation_stage import PreparationStage
    from imagejob_runner.planning import PlannedModel
    from imagejob_runner.storage import OutputStore

DEFAULT_CONCURRENCY: Final = {"download": 16, "save": 8, "call": 4}
PASSED_AT_ONCE: Final = 256
"""Images that a stage without work of its own takes up at once."""
FILE_BYTES: Final = 512 * 1024
"""Of a slot, where a GPU may decode: most photos of up to 1600x1200 fit in. Larger ones are decoded on the CPUs, which are quicker then."""

W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Part(Generic[W]):
    """One stage to be.

    Attributes:
        stage: Its kind.
        step: Its definition.
        work: What it does.
        concurrency: Its workers.
        at_once: Images that it takes up at once.
    """

    stage: type[Stage[W]]
    step: Step
    work: W
    concurrency: int
    at_once: int


@dataclass(frozen=True, slots=True)
class Preparation:
    """Downloading and decoding in worker processes, before all stages.

    Attributes:
        recipe: What is done with each image.
        workers: Processes.
        slots: Images that may be under way in them, or have their model input in shared memory.
        slot_bytes: Bytes of each.
        batch: Images in a batch of the model.
        following: The stage after it.
    """

    recipe: PreparationRecipe
    workers: int
    slots: int
    slot_bytes: int
    batch: int
    following: Part[Any]

    @property
    def steps(self) -> Sequence[tuple[Step, int]]:
        """Its steps, and on how many images each may work at once."""
        download, decode = self.recipe.download_step, self.recipe.decode_step
        downloads = [] if download is None else [(download, download.concurrency or DEFAULT_CONCURRENCY["download"])]
        return [*downloads, (decode, self.workers)]

    def stage(
        self, inbox: Channel[Flight], outbox: Channel[Flight], *, finish: Finish, progress: Progress, memory: Memory
    ) -> "PreparationStage":
        """The stage that does it."""
        from imagejob_runner.pipeline.preparation_stage import PreparationStage

        work = self.following.work
        return PreparationStage(
            self.recipe,
            inbox,
            outbox,
            workers=self.workers,
            slots=self.slots,
            slot_bytes=self.slot_bytes,
            batch=self.batch,
            device_decodes=lambda: getattr(work, "decodes", False),
            finish=finish,
            progress=progress,
            memory=memory,
        )


@dataclass(frozen=True, slots=True)
class Assembly:
    """All stages of a pipeline.

    Attributes:
        preparation: What worker processes do with images first; None where the pipeline does not begin like that.
        parts: The stages in order.
        gated: Number of the stage that the gate stands before.
        window: Images that may be on the way to the gate.
    """

    preparation: Preparation | None
    parts: tuple[Part[Any], ...]
    gated: int
    window: int


def assemble(
    pipeline: ImagePipelineSpec,
    cpus: int,
    memory: Memory,
    threads: ThreadPoolExecutor,
    output: "OutputStore | None",
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
        InvalidJobError: A `call` names a function that there is not, or that cannot be imported; or a GPU is to decode what cannot go
            straight to it.
    """
    steps = _with_decoding(pipeline)
    recipe = _recipe(steps)
    begin = 0 if recipe is None else 2
    decode = _straight_to_model(recipe)
    _refuse_other_gpu_decoding(steps, recipe)
    parts = [
        _part(step, steps[place:], cpus, memory, threads, output, models, decode if place == begin else None)
        for place, step in enumerate(steps)
        if place >= begin
    ]
    gated = next((place for place, part in enumerate(parts) if part.step.limits or part.stage is BatchStage), 0)
    at_once, ahead = parts[gated].at_once, sum(part.concurrency for part in parts[:gated])
    if recipe is None:
        return Assembly(None, tuple(parts), gated, window=2 * max(at_once, ahead))
    workers = steps[1].concurrency or cpus
    window = 2 * max(at_once, ahead, UNIT * workers)
    slots = window + 2 * at_once
    slot_bytes = 0
    if recipe.preprocess is not None:
        slot_bytes, room = BANDS * recipe.preprocess.size**2, memory.decoded.limit
        if decode is not None and _may_be_left_to_device(decode, steps[2]):
            slot_bytes, room = max(slot_bytes, FILE_BYTES), room + memory.bytes.limit
        most = max(1, room // slot_bytes)
        window, slots = max(1, window * min(slots, most) // slots), min(slots, most)
    return Assembly(Preparation(recipe, workers, slots, slot_bytes, at_once, parts[0]), tuple(parts), gated, window)


def _with_decoding(pipeline: ImagePipelineSpec) -> list[Step]:
    """The steps; decoding gets a stage of its own, so that it never happens under the model's slot."""
    steps = list(pipeline.steps)
    for place in range(len(steps) - 1, -1, -1):
        step = steps[place]
        if step.infer is not None and (place == 0 or steps[place - 1].kind != "transform"):
            before = Step(name=step.name, transform=Transform(), timeout=step.timeout).model_copy(update={"name": f"{step.name}.decode"})
            steps.insert(place, before)
    return steps


def _straight_to_model(recipe: PreparationRecipe | None) -> Decode | None:
    """How pictures are decoded that go from their download to a model and nowhere else; None where there are none."""
    straight = recipe is not None and recipe.preprocess is not None and not recipe.operations and not recipe.keep_image
    return recipe.decode if recipe is not None and straight else None


def _refuse_other_gpu_decoding(steps: Sequence[Step], recipe: PreparationRecipe | None) -> None:
    """Raises InvalidJobError if a GPU is to decode elsewhere than in the one step where it can."""
    possible = steps[1] if _straight_to_model(recipe) is not None else None
    for step in steps:
        if step is not possible and step.transform is not None and step.transform.decode.device == "gpu":
            raise InvalidJobError(
                f"step {step.name}: transform.decode.device: gpu cannot be met, since a GPU decodes only what goes straight from its "
                f"download to a model: the steps begin with download, a transform without operations, and infer, the first two without "
                f"limits, and no later step uses the picture (call, save.image, another infer); write auto or cpu, or change the steps"
            )


def _may_be_left_to_device(decode: Decode, step: Step) -> bool:
    """Whether the model's device may come to decode files: it is not told to leave that, and there seems to be a GPU."""
    from imagejob_runner.models.batching import sees_gpu

    return decode.device != "cpu" and step.infer is not None and step.infer.device != "cpu" and sees_gpu()


def _recipe(steps: Sequence[Step]) -> PreparationRecipe | None:
    """What worker processes do first, in a pipeline that begins with a download and a picture, neither of them under a limit."""
    if len(steps) < 3 or steps[0].download is None or steps[1].transform is None or steps[0].limits or steps[1].limits:  # noqa: PLR2004
        return None
    infer = steps[2].infer
    later = steps[2:] if infer is None else steps[3:]
    return PreparationRecipe(
        download=steps[0].download,
        download_step=steps[0],
        decode=steps[1].transform.decode,
        operations=tuple(steps[1].transform.operations),
        preprocess=infer.preprocess if infer is not None else None,
        keep_image=any(step.save is None or step.save.image is not None for step in later),
        decode_step=steps[1],
    )


def pixel_cpus(pipeline: ImagePipelineSpec, cpus: int) -> int:
    """CPUs to decode on: those that inference leaves when a step names fewer threads than there are, else all.

    A decoding thread too many takes inference's core away from it again and again: with one thread each on two cores the forward pass ran
    at 0.96 of its speed alone, with two decoding threads at 0.94.
    """
    left = [cpus - step.infer.threads for step in pipeline.steps if step.infer is not None and step.infer.threads is not None]
    return min((some for some in left if some > 0), default=cpus)


def check_code(pipeline: ImagePipelineSpec) -> None:
    """Imports the Python functions that a pipeline names, and looks where a GPU is to decode.

    So what is wrong is found before a plan makes it a part of an output.

    Raises:
        InvalidJobError: A `call` names a function that there is not, or that cannot be imported; or a GPU is to decode what cannot go
            straight to it.
        ModelError: A model's architecture is one that there is not, or that cannot be imported.
    """
    steps = _with_decoding(pipeline)
    _refuse_other_gpu_decoding(steps, _recipe(steps))
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
    output: "OutputStore | None",
    models: "Mapping[str, PlannedModel]",
    decode: Decode | None,
) -> Part[Any]:
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

        work = InferenceWork(step.name, step.infer, models.get(step.name), memory, concurrency=concurrency, decode=decode)
        return Part(BatchStage, step, work, concurrency, at_once=concurrency * work.batch_size)
    elif step.call is not None:
        from imagejob_runner.pipeline.works.call import CallWork

        work = CallWork(step.name, step.call, concurrency=concurrency)
    elif step.save is not None and step.save.image is not None:
        from imagejob_runner.pipeline.works.save import SaveWork

        if output is None:
            raise ValueError(f"step {step.name} writes images, and there is no output")
        work = SaveWork(step.name, step.save.image, output, threads)
    elif step.save is not None and not step.limits:
        return Part(PassStage, step, work, 1, at_once=PASSED_AT_ONCE)
    return Part(ImageStage, step, work, concurrency, at_once=concurrency)


def _concurrency(step: Step, cpus: int) -> int:
    if step.concurrency is not None:
        return step.concurrency
    if step.limits or step.infer is not None:
        return 1
    return DEFAULT_CONCURRENCY.get(step.kind, cpus)
