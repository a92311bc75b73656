import pytest

from imagejob_api.imagejob import ImageJobSpec
from imagejob_api.pod import JobFile
from imagejob_operator.objects.job_file import pods_digest


def file(batch: dict[str, int], spec: dict[str, int]) -> JobFile:
    infer = {"name": "classify", "infer": {"model": {"architecture": "a:b"}, **batch}}
    job = ImageJobSpec.model_validate(
        {
            "source": {"urls": [{"url": "https://example.com/1.jpg"}]},
            "pipeline": {"steps": [{"name": "download", "download": {}}, infer, {"name": "save", "save": {}}]},
            "output": {"url": "s3://results/job"},
            **spec,
        }
    )
    assert job.pipeline is not None
    return JobFile(name="job", namespace="team", uid="u", spec=job, pipeline=job.pipeline)


@pytest.mark.parametrize(
    ("batch", "spec", "digest"),
    [
        ({}, {}, "47414691ba6789473e168c9ab34796ff"),
        ({"batchSize": 32}, {"chunkSize": 128}, "47414691ba6789473e168c9ab34796ff"),
        ({"batchSize": 8}, {"chunkSize": 10}, "7399b84076ee1ebe2fc49b6ee2c0a58b"),
    ],
)
def test_pods_of_the_operator_that_had_128_and_32_as_defaults_are_kept(batch: dict[str, int], spec: dict[str, int], digest: str) -> None:
    assert pods_digest(file(batch, spec)) == digest, "as that operator made it"
