"""What a pod reads of its environment."""

from typing import Any

import pytest

from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_api.pod import default_chunk_size, shard_count
from imagejob_runner.exceptions import InvalidJobError
from imagejob_runner.pod.environment import DEFAULT_PROGRESS_SECONDS, PodEnvironment

FULL = {
    "IMAGEJOB_POD_NAMESPACE": "team",
    "IMAGEJOB_POD_NAME": "job-3-x7k2p",
    "IMAGEJOB_NODE_NAME": "node-1",
    "IMAGEJOB_LEASE_NAMESPACE": "imagejob-system",
    "JOB_COMPLETION_INDEX": "3",
    "IMAGEJOB_COMPLETIONS": "8",
    "IMAGEJOB_PROGRESS_SECONDS": "12.5",
}


def test_all_that_the_operator_tells() -> None:
    assert PodEnvironment.read(FULL) == PodEnvironment("team", "job-3-x7k2p", "node-1", "imagejob-system", 3, 8, 12.5)


def test_a_pod_that_is_told_nothing_is_the_only_one() -> None:
    pod = PodEnvironment.read({})
    assert (pod.index, pod.pods, pod.progress_seconds) == (0, 1, DEFAULT_PROGRESS_SECONDS)
    assert pod.shards(3) == (0, 1, 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOB_COMPLETION_INDEX", "one"),
        ("JOB_COMPLETION_INDEX", "-1"),
        ("JOB_COMPLETION_INDEX", "8"),
        ("JOB_COMPLETION_INDEX", "1.5"),
        ("IMAGEJOB_COMPLETIONS", "0"),
        ("IMAGEJOB_PROGRESS_SECONDS", "nan"),
        ("IMAGEJOB_PROGRESS_SECONDS", "inf"),
    ],
)
def test_a_number_that_cannot_be_meant(name: str, value: str) -> None:
    with pytest.raises(InvalidJobError, match=name):
        PodEnvironment.read({**FULL, name: value})


@pytest.mark.parametrize(("pods", "shards"), [(1, 7), (3, 8), (8, 8), (10, 8), (4, 1)])
def test_each_shard_is_of_one_pod(pods: int, shards: int) -> None:
    owned = [shard for index in range(pods) for shard in PodEnvironment(index=index, pods=pods).shards(shards)]
    assert sorted(owned) == list(range(shards))


@pytest.mark.parametrize(
    ("total", "chunk", "shards", "parallelism", "expected"),
    [
        (1000, 10, None, 3, 64),
        (1000, 10, None, 20, 80),
        (15, 10, None, 3, 2),
        (1000, 10, 5, 3, 5),
        (1000, None, None, 1, 16),
        (1000, None, None, 20, 20),
        (1_000_000, None, None, 2, 64),
        (4096, None, None, 1, 64),
        (100_000, None, None, 1, 64),
    ],
)
def test_the_number_of_shards(total: int, chunk: int | None, shards: int | None, parallelism: int, expected: int) -> None:
    assert shard_count(total, chunk, shards, parallelism, ()) == expected


@pytest.mark.parametrize(
    ("total", "parallelism", "expected"),
    [
        (1, 1, 1),
        (20, 1, 20),
        (20, 3, 7),
        (3, 8, 1),
        (100, 1, 64),
        (6_000, 1, 93),
        (100_000, 1, 1562),
        (6_000, 4, 64),
        (1_000_000, 1, 4096),
        (1_000_000, 16, 1953),
        (10**9, 1, 4096),
    ],
)
def test_the_size_of_a_chunk_that_nobody_has_set(total: int, parallelism: int, expected: int) -> None:
    assert default_chunk_size(total, parallelism, ()) == expected


@pytest.mark.parametrize(
    ("steps", "largest"),
    [
        ([{"name": "classify", "infer": {"model": {"architecture": "a:b"}}}], 4096),
        ([{"name": "embed", "infer": {"model": {"architecture": "a:b"}, "outputs": {"embedding": "l2"}}}], 256),
        ([{"name": "map", "infer": {"model": {"architecture": "a:b"}, "outputs": {"tensor": True}}}], 128),
        ([{"name": "note", "call": {"function": "a:b"}}], 256),
        (
            [
                {"name": "note", "call": {"function": "a:b"}},
                {"name": "map", "infer": {"model": {"architecture": "a:b"}, "outputs": {"tensor": True}}},
                {"name": "save", "save": {}},
            ],
            128,
        ),
    ],
)
def test_chunks_are_smaller_by_themselves_where_rows_are_large(steps: list[dict[str, Any]], largest: int) -> None:
    pipeline = ImagePipelineSpec.model_validate({"steps": [{"name": "download", "download": {}}, *steps]}).steps
    assert default_chunk_size(10**9, 1, pipeline) == largest
    assert shard_count(10_000, None, 1000, 1, pipeline) == -(-10_000 // min(10_000 // 64, largest))
