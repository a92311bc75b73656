"""What the operator and the pods tell each other."""

from imagejob_api.imagejob import ImageJobSpec
from imagejob_api.pod import JobFile


def test_a_job_file_says_nothing_that_the_job_does_not_say() -> None:
    spec = {
        "source": {"manifest": {"url": "s3://b/list.csv"}},
        "pipeline": {"steps": [{"name": "download", "download": {}}, {"name": "score", "call": {"function": "a:b"}}]},
        "output": {"url": "s3://b/out"},
    }
    parsed = ImageJobSpec.model_validate(spec)
    assert parsed.pipeline is not None
    file = JobFile(name="flowers", namespace="team", uid="u", spec=parsed, pipeline=parsed.pipeline)
    said = JobFile.model_validate_json(file.encoded())
    assert said == file
    assert said.spec.source.manifest is not None
    assert said.spec.source.manifest.model_fields_set == {"url"}, "older runners refuse allowedSources, and idField asks for a column"
    assert said.encoded() == file.encoded()
