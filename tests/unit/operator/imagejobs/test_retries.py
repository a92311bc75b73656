"""Pods that fail and are tried again: told at once, with the next attempt; and ended where no other attempt helps."""

from dataclasses import replace

import pytest

from imagejob_api.pod import Part, PodProgress, PodResult
from imagejob_api.reasons import Reason
from imagejob_operator.constants import ANNOTATION_STOP
from imagejob_operator.imagejobs.actions import PatchJob
from imagejob_operator.imagejobs.observed import Hindrance, Observed
from imagejob_operator.imagejobs.planner import plan
from imagejob_operator.timestamps import format_time
from tests.unit.operator.imagejobs.builders import after, conditions_of, ended_pod, error, image_job, images, pod, started, with_condition
from tests.unit.operator.imagejobs.test_reasons import not_started

CASES = "Stalled", "Retrying"


def told(now: Observed) -> tuple[tuple[str, str], tuple[str, str]]:
    """Status and reason of Stalled and Retrying."""
    status = plan(now).status
    assert status is not None
    stalled, retrying = (conditions_of(status)[kind][:2] for kind in CASES)
    return stalled, retrying


def message(now: Observed) -> str:
    status = plan(now).status
    assert status is not None
    return conditions_of(status)["Retrying"][2]


def stop_of(now: Observed) -> str:
    """What is written to the Job that is to end."""
    (action,) = plan(now).actions
    assert isinstance(action, PatchJob)
    assert action.patch["spec"] == {"suspend": True}
    return str(action.patch["metadata"]["annotations"][ANNOTATION_STOP])


def segfault(index: int = 0, attempt: int = 0, at: float = 0.0) -> dict:
    one = ended_pod(139, index=index, attempt=attempt)
    one["metadata"]["creationTimestamp"] = format_time(after(at))
    one["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = format_time(after(at))
    return one


def given_up(*pods: dict, indexes: str, **spec: object) -> Observed:
    now = started(image_job(**spec), at=100, pods=pods)
    now.jobs[0]["status"]["failedIndexes"] = indexes
    return now


def test_the_first_crash_is_told_at_once_and_so_is_the_next_attempt() -> None:
    now = started(image_job(), at=1, pods=[segfault(), pod(index=1)])
    made = plan(now)

    assert told(now) == (("False", Reason.NOT_STALLED), ("True", Reason.CRASHED))
    assert "SIGSEGV" in message(now)
    assert "(pod flowers-0-0 on node-1)" in message(now)
    assert message(now).endswith("It was attempt 1 of 4; the next begins at 10:00:10 UTC.")
    assert [(notice.kind, notice.reason) for notice in made.notices] == [("Warning", Reason.CRASHED)]
    assert made.status is not None
    assert made.status.reason == Reason.CRASHED


def test_a_job_whose_pods_all_fail_is_stalled_also_while_the_next_attempt_runs() -> None:
    down = started(image_job(), at=1, pods=[segfault(0), segfault(1)])
    again = started(
        image_job(), at=12, pods=[segfault(0), segfault(1), pod(index=0, attempt=1, created=11), pod(index=1, attempt=1, created=11)]
    )

    assert told(down) == (("True", Reason.CRASHED), ("True", Reason.CRASHED))
    assert [notice.reason for notice in plan(down).notices] == [Reason.CRASHED], "one Event says it"
    assert told(again) == (("True", Reason.CRASHED), ("True", Reason.CRASHED))
    assert "The same has befallen 2 of 2 indexes of the Job." in message(down)
    assert message(again).endswith("It was attempt 1 of 4; flowers-1-1 is the next.")


@pytest.mark.parametrize(
    "later",
    [
        pod(attempt=1, created=11, progress=PodProgress(images=images(3))),
        {**ended_pod(0, attempt=1, result=PodResult(images=images(4)))},
    ],
    ids=["rows", "success"],
)
def test_what_has_gone_on_since_is_no_setback(later: dict) -> None:
    later["metadata"]["creationTimestamp"] = format_time(after(11))

    assert told(started(image_job(), at=30, pods=[segfault(), later])) == (("False", Reason.NOT_STALLED), ("False", Reason.NOT_RETRYING))


def test_each_attempt_waits_twice_as_long() -> None:
    attempts = [segfault(attempt=attempt, at=at) for attempt, at in enumerate((0, 13, 36))]

    assert message(started(image_job(), at=37, pods=attempts)).endswith("It was attempt 3 of 4; the next begins at 10:01:16 UTC.")
    last = [*attempts, segfault(attempt=3, at=80)]
    assert message(started(image_job(), at=81, pods=last)).endswith("It was the last of 4 attempts.")


def test_between_two_attempts_nobody_is_asked_for_pods() -> None:
    made = plan(started(image_job(), at=8, pods=[segfault(0), segfault(1)]))

    assert made.inquiry is None
    assert made.again_after is not None


def test_a_plan_that_is_tried_again_is_told_too() -> None:
    job = image_job(source={"prefix": {"url": "s3://photos"}})
    now = started(job, Part.PLAN, at=1, pods=[ended_pod(20, part=Part.PLAN, result=error("s3://photos does not answer"))])

    assert told(now) == (("True", Reason.STORAGE_UNREACHABLE), ("True", Reason.STORAGE_UNREACHABLE))
    assert "s3://photos does not answer" in message(now)


def test_a_stop_and_what_no_attempt_can_help_are_not_tried_again() -> None:
    for code in (30, 10, 14):
        assert told(started(image_job(), at=1, pods=[ended_pod(code), pod(index=1)]))[1] == ("False", Reason.NOT_RETRYING)


def test_an_image_without_the_runner_ends_the_job_at_the_first_pod() -> None:
    now = started(image_job(template={"image": "mine:1"}), at=2, pods=[not_started(), pod(index=1)])

    assert Reason.CONTAINER_START_FAILED in stop_of(now)
    assert "The image mine:1 has no imagejob-runner" in stop_of(now)


def test_a_job_ends_when_its_first_shard_is_given_up_and_all_others_fail_in_the_same_way() -> None:
    attempts = [segfault(attempt=attempt, at=20.0 * attempt) for attempt in range(4)]

    hopeless = given_up(*attempts, segfault(1, at=70), indexes="0")
    assert [type(action) for action in plan(hopeless).actions] == [PatchJob]
    assert (
        "Every index of the Job that was tried has failed like this"
        in plan(hopeless).actions[0].patch["metadata"]["annotations"]["imagejob.dev/stop"]
    )
    for other in (pod(index=1), ended_pod(20, index=1, result=error("away"))):
        assert plan(given_up(*attempts, other, indexes="0")).actions == (), "one shard may hold an image that kills every pod"
    assert plan(given_up(*attempts, indexes="0")).actions == ()


def test_a_job_of_which_something_works_is_not_hopeless() -> None:
    attempts = [segfault(attempt=attempt, at=20.0 * attempt) for attempt in range(4)]
    hopeless = [*attempts, segfault(3, at=70)]
    done = [ended_pod(0, index=index, result=PodResult(images=images(2))) for index in (1, 2)]

    succeeded = given_up(*hopeless, *done, indexes="0")
    succeeded.jobs[0]["status"]["succeeded"] = 2
    assert plan(succeeded).actions == ()
    collected = given_up(*hopeless, indexes="0")
    collected.jobs[0]["status"]["succeeded"] = 2
    assert plan(collected).actions == (), "the pods of those that succeeded may be gone"
    rows = {3: images(1)}
    assert plan(replace(given_up(*hopeless, indexes="0"), reports=rows)).actions == (), "the index that fails has rows"


def test_a_job_that_has_just_failed_says_no_less_than_before() -> None:
    now = started(image_job(), at=81, pods=[segfault(attempt=attempt, at=20.0 * attempt) for attempt in range(4)])
    with_condition(now.jobs[0], "Failed", at=80, message="Container runner for pod a/b failed with exit code 12 matching")

    assert told(now) == (("True", Reason.CRASHED), ("True", Reason.CRASHED))


def test_a_quota_that_lets_some_pods_through_is_nothing_to_stall_for() -> None:
    done = ended_pod(0, result=PodResult(images=images(2)))
    refused = Hindrance(Reason.PODS_REFUSED, "exceeded quota: pods")
    now = started(image_job(), at=30, pods=[done], complaint=refused)

    assert told(now) == (("False", Reason.NOT_STALLED), ("False", Reason.NOT_RETRYING))
    assert plan(now).inquiry is None
    assert told(started(image_job(), at=70, pods=[done], complaint=refused))[0] == ("True", Reason.PODS_REFUSED)
    assert told(started(image_job(), at=7, complaint=refused))[0] == ("True", Reason.PODS_REFUSED)
