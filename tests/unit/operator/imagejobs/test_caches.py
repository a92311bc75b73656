import copy
import tracemalloc
from dataclasses import replace
from typing import Any, Final

import pytest

from imagejob_api.pod import PodProgress
from imagejob_api.reasons import Reason
from imagejob_operator.constants import ANNOTATION_STOP
from imagejob_operator.imagejobs.caches import PROGRESS_SECONDS, Caches
from imagejob_operator.imagejobs.job_summary import JobSummary
from imagejob_operator.imagejobs.job_view import JobView, Stop, without_what_no_view_shows
from imagejob_operator.imagejobs.pod_view import PodView
from imagejob_operator.kubernetes import KubernetesApi
from imagejob_operator.kubernetes.kinds import IMAGE_JOB
from imagejob_operator.objects.naming import belongs_to
from tests.unit.operator.imagejobs.builders import (
    NAMESPACE,
    STEPS,
    image_job,
    image_pipeline,
    images,
    pod,
    started,
    waiting_pod,
    with_condition,
)
from tests.unit.operator.imagejobs.fake_cluster import FakeCluster

Json = dict[str, Any]


class Looks:
    """Caches, and what they want to be looked at."""

    def __init__(self) -> None:
        self.wanted: list[tuple[str, float]] = []
        self.cluster = FakeCluster()
        self.caches = Caches(KubernetesApi(self.cluster), (), lambda _namespace, name, within: self.wanted.append((name, within)))
        self.version = 100

    def tell(self, cache: str, thing: dict, event_type: str = "MODIFIED") -> list[tuple[str, float]]:
        self.version += 1
        self.wanted.clear()
        thing["metadata"]["resourceVersion"] = str(self.version)
        getattr(self.caches, cache).report(event_type, thing)
        return list(self.wanted)


@pytest.fixture
def looks() -> Looks:
    found = Looks()
    found.tell("image_jobs", image_job())
    return found


def test_a_pod_that_only_tells_how_far_it_is_may_wait(looks: Looks) -> None:
    assert looks.tell("pods", pod()) == [("flowers", 0.0)]
    assert looks.tell("pods", pod(progress=PodProgress(images=images(1)))) == [("flowers", PROGRESS_SECONDS)]
    assert looks.tell("pods", pod(phase="Failed", progress=PodProgress(images=images(1)))) == [("flowers", 0.0)]
    assert looks.tell("pods", pod(phase="Failed"), "DELETED") == [("flowers", 0.0)]
    assert looks.caches.pods.of_job(NAMESPACE, "flowers") == []


def test_pods_of_nobody_are_not_looked_at(looks: Looks) -> None:
    stranger = pod()
    stranger["metadata"]["labels"]["imagejob.dev/job"] = "another"

    assert looks.tell("pods", stranger) == []


def test_a_pod_that_gets_another_label_is_the_other_jobs(looks: Looks) -> None:
    looks.tell("image_jobs", image_job("roses"))
    looks.tell("pods", pod())
    relabelled = pod()
    relabelled["metadata"]["labels"]["imagejob.dev/job"] = "roses"

    assert looks.tell("pods", relabelled) == [("flowers", 0.0), ("roses", 0.0)]
    assert len(looks.caches.pods.of_job(NAMESPACE, "roses")) == 1
    looks.tell("pods", relabelled, "DELETED")
    assert looks.caches.pods.of_job(NAMESPACE, "flowers") == []
    assert looks.caches.pods.of_job(NAMESPACE, "roses") == []


def test_an_own_write_is_not_news_when_the_watch_tells_of_it(looks: Looks) -> None:
    job = image_job(parallelism=3)
    looks.tell("image_jobs", job)
    looks.wanted.clear()
    looks.caches.image_jobs.report("MODIFIED", job)

    assert looks.wanted == []


async def test_what_is_older_than_what_is_known_is_no_news(looks: Looks) -> None:
    old = image_job(parallelism=7)
    old["metadata"]["resourceVersion"] = "5"
    looks.wanted.clear()
    looks.caches.image_jobs.report("MODIFIED", old)

    known = await looks.caches.image_jobs.whole(NAMESPACE, "flowers")
    assert known is not None
    assert known["spec"]["parallelism"] == 2
    assert looks.wanted == []


def test_an_object_that_cannot_be_understood_is_left_aside(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    looks.tell("pods", pod())

    def broken(_pod: dict) -> PodView:
        raise ValueError("what is this?")

    monkeypatch.setattr(looks.caches.pods, "_keep", broken)
    assert looks.tell("pods", pod(phase="Failed")) == [("flowers", 0.0)]
    assert looks.caches.pods.names() == []


def test_an_index_may_be_anything() -> None:
    for index in ("9" * 5000, "-1", "", "one"):
        odd = pod()
        odd["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] = index
        view = PodView.of(odd)
        assert view is not None
        assert view.index == 0


def test_a_pipeline_is_news_for_the_jobs_that_name_it(looks: Looks) -> None:
    looks.tell("image_jobs", image_job("roses", pipeline=None, pipelineRef={"name": "classify"}))

    assert looks.tell("pipelines", image_pipeline()) == [("roses", 0.0)]
    assert looks.tell("pipelines", image_pipeline("another")) == []


def test_a_malformed_reference_names_no_pipeline() -> None:
    for spec in ("text", [], {"pipelineRef": "classify"}, {"pipelineRef": {"name": 5}}, {"pipelineRef": {"name": "x" * 300}}, None):
        assert JobSummary.of({**image_job(), "spec": spec, "status": spec}).pipeline == ""


LARGEST: Final = 200 * 1024
MANY: Final = 5
KEPT_BYTES: Final = 10 * 1024


def largest(thing: Json, name: str) -> Json:
    """An object that is as long as it may be, in each of the places where users can write."""
    metadata = {
        "name": name,
        "uid": f"uid-of-{name}",
        "annotations": {"notes": "x" * LARGEST, **thing["metadata"].get("annotations", {})},
        "labels": {**thing["metadata"].get("labels", {}), **{f"label-{number}": "y" * 63 for number in range(100)}},
        "managedFields": [{"fieldsV1": {"z": "z" * LARGEST}}],
    }
    return {**copy.deepcopy(thing), "metadata": {**thing["metadata"], **metadata}}


def objects() -> dict[str, Json]:
    """One of each kind, without their names."""
    urls = [{"url": f"https://photos.example/{index}/{'u' * 100}.jpg"} for index in range(1000)]
    child = started(image_job()).jobs[0]
    with_condition(child, "Failed", message="m" * LARGEST)
    odd, even = (",".join(map(str, range(first, 10_000, 2))) for first in (1, 0))
    child["status"] |= {"failedIndexes": odd, "completedIndexes": even}
    return {
        "image_jobs": image_job(source={"urls": urls}, pipeline={"steps": STEPS, "note": "x" * LARGEST}),
        "pipelines": image_pipeline(labelNames=["n" * 20] * 10_000),
        "jobs": child,
        "pods": waiting_pod("ErrImagePull", "w" * LARGEST),
    }


@pytest.mark.parametrize("kind", objects())
def test_an_object_takes_no_more_than_ten_kilobytes_whatever_it_holds(looks: Looks, kind: str) -> None:
    thing = objects()[kind]
    for name in ("warm", "up"):
        looks.tell(kind, largest(thing, name))
    tracemalloc.start()
    try:
        for number in range(MANY):
            looks.tell(kind, largest(thing, f"object-{number}"))
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown <= MANY * KEPT_BYTES


async def test_what_is_too_long_to_be_kept_is_read_when_it_is_needed(looks: Looks) -> None:
    cluster = looks.cluster
    cluster.create(IMAGE_JOB, largest(image_job(), "roses"))
    await looks.caches.first()
    reads = cluster.reads

    whole = await looks.caches.image_jobs.whole(NAMESPACE, "roses")
    assert whole is not None
    assert len(whole["metadata"]["annotations"]["notes"]) == LARGEST
    assert cluster.reads == reads + 1
    assert await looks.caches.image_jobs.whole(NAMESPACE, "roses") is not None
    assert cluster.reads == reads + 1, "while it is in use it is kept"

    cluster.change_spec("roses", parallelism=9)
    cluster.remove(("imagejobs", NAMESPACE, "roses"))
    looks.caches.image_jobs.listing.versions.update((NAMESPACE, "roses"), 1)
    looks.caches.image_jobs._bodies.forget((NAMESPACE, "roses"))
    assert await looks.caches.image_jobs.whole(NAMESPACE, "roses") is None, "it has been deleted, and no watch has told of it yet"
    assert looks.caches.image_jobs.get(NAMESPACE, "roses") is None


def test_a_job_as_it_is_kept_looks_as_before() -> None:
    child = objects()["jobs"]
    child["metadata"]["annotations"][ANNOTATION_STOP] = Stop(Reason.CANCELLED, "Enough.").encoded()
    whole, kept = JobView.of(child), JobView.of(without_what_no_view_shows(child))
    assert whole is not None
    assert whole.failure is not None
    assert kept == replace(whole, failure=(whole.failure[0], whole.failure[1][:2000]))
    assert belongs_to(without_what_no_view_shows(child), "uid-of-flowers")
