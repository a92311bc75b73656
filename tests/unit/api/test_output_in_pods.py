"""Which outputs lie inside the pods, and when that cannot work."""

from typing import Any

import pytest

from imagejob_api.imagejob import ImageJobSpec
from imagejob_api.output_in_pods import place_in_pods, why_not

PREFIX = {"prefix": {"url": "s3://photos"}}


def spec(url: str = "file:///out", images: int = 10, **fields: Any) -> ImageJobSpec:  # noqa: ANN401  fields of the job
    urls = [{"url": f"https://photos.example/{number}.jpg"} for number in range(images)]
    return ImageJobSpec.model_validate({"source": {"urls": urls}, "pipelineRef": {"name": "p"}, "output": {"url": url}, **fields})


def mounted(path: str, *, at: str = "data", **volume: Any) -> dict[str, Any]:  # noqa: ANN401  a kind of volume
    return {"volumes": [{"name": at, **volume}], "volumeMounts": [{"name": at, "mountPath": path}]}


def on_claim(path: str) -> dict[str, Any]:
    return mounted(path, persistentVolumeClaim={"claimName": "rows"})


@pytest.mark.parametrize("url", ["file:///out", "file://localhost/out", "/out", "results", "file:///data-other", "/data/../out"])
def test_a_folder_that_no_volume_covers_is_inside_each_pod(url: str) -> None:
    assert place_in_pods(spec(url, template=on_claim("/data"))) == f"the output {url} is a folder inside each pod"


@pytest.mark.parametrize("url", ["s3://bucket/out", "gs://bucket/out", "az://bucket/out", "file:///data/out", "/data", "file:///d%61ta/x"])
def test_buckets_and_claims_stay(url: str) -> None:
    assert place_in_pods(spec(url, template=on_claim("/data/"))) is None
    assert why_not(spec(url, source=PREFIX, template=on_claim("/data/"))) is None


def test_a_folder_that_the_kubelet_makes_for_a_pod_is_the_pod_s() -> None:
    place = place_in_pods(spec("/data/x", template=mounted("/data", emptyDir={})))
    assert place == "the output /data/x is on the volume data, which each pod has for itself"
    claim, scratch = on_claim("/data"), mounted("/data/scratch", at="scratch", emptyDir={})
    both = {key: claim[key] + scratch[key] for key in claim}
    assert "on the volume scratch" in str(place_in_pods(spec("/data/scratch/x", template=both)))
    assert place_in_pods(spec("/data/x", template=both)) is None
    assert place_in_pods(spec("/data/x", template=mounted("/data", csi={"driver": "files.example"}))) is None


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"source": PREFIX}, "the pod that lists the source"),
        ({"images": 200, "parallelism": 2}, "4 pods work"),
        ({"parallelism": 2}, "2 pods work"),
        ({"shards": 2, "chunkSize": 5}, "its 2 shards may be several pods' work"),
        ({"failurePolicy": {"retryFailed": True}}, "retryFailed"),
    ],
)
def test_more_than_one_pod_cannot_share_a_folder_of_its_own(fields: dict[str, Any], why: str) -> None:
    said = why_not(spec(**fields))
    assert said is not None
    assert said.startswith("the output file:///out is a folder inside each pod, and ")
    assert why in said


@pytest.mark.parametrize("fields", [{}, {"images": 1, "parallelism": 4}, {"images": 200, "shards": 1}])
def test_what_one_pod_does_by_itself_may_be_tried(fields: dict[str, Any]) -> None:
    assert why_not(spec(**fields)) is None
