from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_runner.exceptions import InvalidJobError
from imagejob_runner.pipeline.assembly import Assembly, assemble, check_code, pixel_cpus
from imagejob_runner.pipeline.budget import Budget
from imagejob_runner.pipeline.suspects import Suspects
from imagejob_runner.pipeline.works.base import Memory
from imagejob_runner.storage import open_output

DOWNLOAD = {"name": "download", "download": {}}


def pipeline(*threads: int | None) -> ImagePipelineSpec:
    infers = [
        {"name": f"infer-{number}", "infer": {"model": {"architecture": "a:b"}, "outputs": {"embedding": "raw"}, "threads": some}}
        for number, some in enumerate(threads)
    ]
    return ImagePipelineSpec.model_validate({"steps": [DOWNLOAD, *infers]})


@pytest.mark.parametrize(
    ("threads", "cpus", "left"),
    [
        ((), 4, 4),
        ((None,), 4, 4),
        ((1,), 2, 1),
        ((3,), 16, 13),
        ((1,), 1, 1),
        ((4,), 4, 4),
        ((8,), 4, 4),
        ((1, 3), 4, 1),
        ((None, 1), 4, 3),
    ],
)
def test_images_are_decoded_on_the_cpus_that_inference_leaves(threads: tuple[int | None, ...], cpus: int, left: int) -> None:
    assert pixel_cpus(pipeline(*threads), cpus) == left


INFER = {"name": "infer", "infer": {"model": {"architecture": "a:b"}, "outputs": {"embedding": "raw"}, "batchSize": 4}}
SHRINK = {"name": "shrink", "transform": {"operations": [{"thumbnail": {"width": 8, "height": 8}}]}}
NOTE = {"name": "note", "call": {"function": "tests.unit.pipeline.levers:quiet"}}
SAVE, SAVE_IMAGE = {"name": "save", "save": {}}, {"name": "save", "save": {"image": {}}}
LIMITS = {"limits": [{"name": "gpu"}]}


def assembled(*steps: dict[str, Any], cpus: int = 2, max_decoded: int = 2**28) -> Assembly:
    memory = Memory(Budget(2**28), Budget(max_decoded), 2**28, Suspects(None))
    with ThreadPoolExecutor(1) as threads:
        return assemble(ImagePipelineSpec.model_validate({"steps": list(steps)}), cpus, memory, threads, open_output("/nowhere"), {})


@pytest.mark.parametrize(
    ("steps", "names", "keeps"),
    [
        ((DOWNLOAD, INFER, SAVE), ["infer", "save"], False),
        ((DOWNLOAD, INFER, NOTE), ["infer", "note"], True),
        ((DOWNLOAD, SHRINK, INFER, SAVE), ["infer", "save"], False),
        ((DOWNLOAD, SHRINK, INFER, SAVE_IMAGE), ["infer", "save"], True),
        ((DOWNLOAD, SHRINK, SAVE_IMAGE), ["save"], True),
        ((DOWNLOAD, SHRINK, SAVE), ["save"], False),
        ((DOWNLOAD, SHRINK, NOTE, SAVE), ["note", "save"], True),
        ((DOWNLOAD, {**INFER, "name": "first"}, INFER, SAVE), ["first", "infer.decode", "infer", "save"], True),
    ],
)
def test_worker_processes_download_and_decode_what_a_pipeline_begins_with(
    steps: tuple[dict[str, Any], ...], names: list[str], *, keeps: bool
) -> None:
    assembly = assembled(*steps)
    assert assembly.preparation is not None
    recipe = assembly.preparation.recipe
    assert [part.step.name for part in assembly.parts] == names
    assert (recipe.keep_image, recipe.preprocess is not None) == (keeps, steps[1] is not SHRINK or steps[2] is INFER)
    assert recipe.decode_step.name == ("shrink" if steps[1] is SHRINK else f"{steps[1]['name']}.decode")


@pytest.mark.parametrize(
    "steps",
    [
        (DOWNLOAD, NOTE, SAVE),
        (DOWNLOAD, NOTE, INFER, SAVE),
        ({**DOWNLOAD, **LIMITS}, INFER, SAVE),
        (DOWNLOAD, {**SHRINK, **LIMITS}, SAVE),
        (NOTE, SHRINK, SAVE),
    ],
)
def test_what_functions_or_limits_come_before_is_done_in_the_process_itself(steps: tuple[dict[str, Any], ...]) -> None:
    assembly = assembled(*steps)
    assert assembly.preparation is None
    kinds = [part.step.kind for part in assembly.parts if not part.step.name.endswith(".decode")]
    assert kinds == [next(key for key in step if key not in ("name", "limits")) for step in steps]


ON_GPU = {"name": "open", "transform": {"decode": {"device": "gpu"}}}


@pytest.mark.parametrize(
    "steps",
    [
        (DOWNLOAD, {"name": "open", "transform": {**SHRINK["transform"], **ON_GPU["transform"]}}, INFER, SAVE),  # type: ignore[dict-item]
        (DOWNLOAD, ON_GPU, INFER, NOTE),
        (DOWNLOAD, ON_GPU, INFER, SAVE_IMAGE),
        (DOWNLOAD, ON_GPU, {**INFER, "name": "first"}, INFER, SAVE),
        (DOWNLOAD, ON_GPU, SAVE),
        (DOWNLOAD, ON_GPU, SHRINK, INFER, SAVE),
        (DOWNLOAD, {**ON_GPU, **LIMITS}, INFER, SAVE),
        ({**DOWNLOAD, **LIMITS}, ON_GPU, INFER, SAVE),
        (DOWNLOAD, NOTE, ON_GPU, INFER, SAVE),
        (DOWNLOAD, INFER, ON_GPU, SAVE),
    ],
)
def test_a_job_does_not_start_whose_pictures_cannot_go_straight_to_the_gpu_that_decodes(
    steps: tuple[dict[str, Any], ...],
) -> None:
    with pytest.raises(InvalidJobError, match=r"step open: transform\.decode\.device: gpu cannot be met.*write auto or cpu"):
        assembled(*steps)
    with pytest.raises(InvalidJobError, match="step open"):
        check_code(ImagePipelineSpec.model_validate({"steps": list(steps)}))


def test_a_job_starts_whose_pictures_go_straight_to_the_model() -> None:
    assert [part.step.name for part in assembled(DOWNLOAD, ON_GPU, INFER, SAVE).parts] == ["infer", "save"]


@pytest.mark.parametrize(
    ("size", "cpus", "max_decoded"), [(32, 2, 2**28), (224, 16, 2**28), (1024, 4, 2**28), (8192, 2, 2**28), (4096, 2, 1)]
)
def test_there_is_a_slot_for_each_place_on_the_way_to_the_gate_and_memory_bounds_both(size: int, cpus: int, max_decoded: int) -> None:
    infer = {**INFER, "infer": {**INFER["infer"], "preprocess": {"size": size}}}  # type: ignore[dict-item]
    assembly = assembled(DOWNLOAD, infer, SAVE, cpus=cpus, max_decoded=max_decoded)
    assert assembly.preparation is not None
    assert 1 <= assembly.window <= assembly.preparation.slots
    assert assembly.preparation.slots == 1 or assembly.preparation.slots * 3 * size**2 <= max_decoded
