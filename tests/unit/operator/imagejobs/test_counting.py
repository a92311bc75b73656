from imagejob_api.imagejob import ImageCounts, StageUtilisation, UtilisationStatus
from imagejob_api.pod import Part, PodImages, PodProgress, PodResult, StageReport, UtilisationReport
from imagejob_operator.imagejobs.counting import (
    bottleneck,
    count_images,
    expected_end,
    images_per_second,
    newest_reports,
    utilisation,
    waiting_pods,
)
from imagejob_operator.imagejobs.pod_view import PodView
from tests.unit.operator.imagejobs.builders import START, ended_pod, images, pod

NONE = ImageCounts(total=10)


def views(*pods: dict) -> list[PodView]:
    found = [PodView.of(each) for each in pods]
    return [view for view in found if view is not None]


def test_the_newest_pod_of_an_index_counts() -> None:
    old = pod(index=0, attempt=0, created=0, progress=PodProgress(images=images(5)))
    new = pod(index=0, attempt=1, created=10, progress=PodProgress(images=images(6)))
    silent = pod(index=0, attempt=2, created=20)

    assert newest_reports(views(new, silent, old), {}) == {0: images(6)}


def test_the_last_word_goes_before_the_progress() -> None:
    ended = ended_pod(0, result=PodResult(images=images(4)))
    ended["metadata"]["annotations"]["imagejob.dev/progress"] = PodProgress(images=images(3)).encoded()

    assert newest_reports(views(ended), {}) == {0: images(4)}


def test_pods_that_are_gone_are_remembered() -> None:
    assert newest_reports(views(pod(index=1, progress=PodProgress(images=images(1)))), {0: images(5)}) == {0: images(5), 1: images(1)}


def test_only_pods_that_work_count() -> None:
    assert newest_reports(views(pod(Part.PLAN, progress=PodProgress(images=images(5)))), {}) == {}


def test_counts_do_not_go_back() -> None:
    before = ImageCounts(total=10, succeeded=5, failed=1)

    assert count_images({0: images(3)}, 10, before) == before
    assert count_images({0: images(7)}, 10, before) == ImageCounts(total=10, succeeded=7)


def test_a_sum_that_cannot_be_true_is_left_aside() -> None:
    assert count_images({0: images(10**9)}, 10, NONE) == NONE


def test_what_a_pod_writes_may_be_anything() -> None:
    for text in ("", "{", "[]", "null", '{"images": {"succeeded": -1}}', '{"rate": "NaN"}', '{"images": 5}', "x" * 100_000):
        malformed = pod()
        malformed["metadata"]["annotations"]["imagejob.dev/progress"] = text
        (view,) = views(malformed)
        assert view.progress is None
    odd = pod()
    odd["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] = "-1"
    assert views(odd)[0].index == 0


def test_the_rate_is_that_of_the_pods_that_run() -> None:
    reporting = PodProgress(images=PodImages(), rate=2.5)

    assert (
        images_per_second(
            views(pod(progress=reporting), pod(index=1, progress=reporting), pod(index=2, phase="Failed", progress=reporting))
        )
        == 5
    )


def test_the_end_is_expected_at_the_rate_of_late() -> None:
    half = ImageCounts(total=100, succeeded=40)

    assert expected_end(half, 1.0, START) == "2026-05-04T10:01:10Z"
    assert expected_end(half, 0.0, START) is None
    assert expected_end(ImageCounts(), 1.0, START) is None
    assert expected_end(ImageCounts(total=2**31), 0.001, START.replace(year=9990)) is None


def test_pods_that_hold_a_slot_do_not_wait() -> None:
    waits, works = PodProgress(waiting=1), PodProgress(waiting=1, holding=1)

    assert waiting_pods(views(pod(progress=waits), pod(index=1, progress=works), pod(index=2))) == 1


def reporting(index: int, busy: int, *, says: str = "", device: int | None = None) -> dict:
    use = UtilisationReport(stages=[StageReport(name="look", busy=busy, waiting=2)], device=device, cpus=50, bottleneck=says)
    return pod(index=index, progress=PodProgress(utilisation=use))


def test_utilisation_is_the_mean_of_the_pods_that_tell_in_steps_that_seldom_change() -> None:
    told = views(reporting(0, 92, device=90), reporting(1, 97, device=98), reporting(2, 90), pod(index=3, progress=PodProgress()))

    assert utilisation(told) == UtilisationStatus(stages=[StageUtilisation(name="look", busy=95, waiting=0)], device=95, cpus=50)
    assert utilisation(views(pod())) is None


def test_the_bottleneck_is_what_most_pods_name() -> None:
    told = views(reporting(0, 90, says="decoding"), reporting(1, 90, says="the model"), reporting(2, 90, says="decoding"), reporting(3, 1))

    assert bottleneck(told) == "decoding"
    assert bottleneck(told[1:2] + told[0:1]) == "decoding"  # the first in the alphabet of equals
    assert bottleneck(views(reporting(0, 1))) == ""


def test_nothing_limits_a_job_where_more_pods_say_so_than_name_anything() -> None:
    told = views(reporting(0, 90, says="decoding"), reporting(1, 1), reporting(2, 1), pod(index=3, progress=PodProgress()))

    assert bottleneck(told) == ""
    assert bottleneck(told[:2] + told[3:]) == "decoding", "of as many, what is named; a pod that tells nothing does not count"
