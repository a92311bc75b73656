import pytest

from imagejob_api.pod import PodProgress
from imagejob_operator.imagejobs.caches import PROGRESS_SECONDS, Caches, named_pipeline
from imagejob_operator.imagejobs.pod_view import PodView
from imagejob_operator.kubernetes import KubernetesApi
from tests.unit.operator.imagejobs.builders import NAMESPACE, image_job, image_pipeline, images, pod
from tests.unit.operator.imagejobs.fake_cluster import FakeCluster


class Looks:
    """Caches, and what they want to be looked at."""

    def __init__(self) -> None:
        self.wanted: list[tuple[str, float]] = []
        self.caches = Caches(KubernetesApi(FakeCluster()), (), lambda _namespace, name, within: self.wanted.append((name, within)))
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


def test_what_is_older_than_what_is_known_is_no_news(looks: Looks) -> None:
    old = image_job(parallelism=7)
    old["metadata"]["resourceVersion"] = "5"
    looks.wanted.clear()
    looks.caches.image_jobs.report("MODIFIED", old)

    known = looks.caches.image_jobs.get(NAMESPACE, "flowers")
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
    for spec in ("text", [], {"pipelineRef": "classify"}, {"pipelineRef": {"name": 5}}, None):
        assert named_pipeline({"spec": spec}) == ""


def test_what_nobody_reads_is_not_kept(looks: Looks) -> None:
    job = {
        "metadata": {"name": "flowers", "namespace": NAMESPACE, "managedFields": [{}]},
        "spec": {"suspend": False, "template": {"spec": {}}},
    }
    looks.tell("jobs", job)

    known = looks.caches.jobs.get(NAMESPACE, "flowers")
    assert known is not None
    assert "managedFields" not in known["metadata"]
    assert known["spec"] == {"suspend": False}
