import pytest

from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_runner.pipeline.assembly import pixel_cpus

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
