import pytest

from imagejob_api.reasons import FAULTS, Fault, Reason
from imagejob_cli.cluster import words
from imagejob_cli.cluster.conclusion import conclusion
from imagejob_cli.cluster.constants import PLUGIN
from imagejob_cli.cluster.job import JobView
from imagejob_cli.cluster.kubeconfig import Access
from imagejob_runner.constants import ExitCode
from tests.unit.cli.cluster.views import NOW, Json, condition, finished, job, running


def test_a_job_at_work() -> None:
    assert words.state(running(), NOW) == ("Running, 81%, 97 images/s, 0:12 left, 2:10 elapsed, 4 pods, 3 waiting for a slot, 1 skipped")
    assert list(words.hindrances(running())) == []
    assert words.progress(running()) == "812/1,000"


def test_a_finished_job() -> None:
    done = finished("Succeeded", phase="Succeeded")
    assert words.state(done, NOW) == "Succeeded, 100%, 1:05 in all"
    assert list(words.hindrances(done)) == []


def test_a_new_job() -> None:
    new = JobView.of({"metadata": {"name": "demo", "namespace": "team", "generation": 1}, "spec": {}})
    assert words.state(new, NOW) == "New"
    assert words.progress(new) == ""
    (why,) = words.hindrances(new)
    assert why.startswith("the operator has not looked at it yet")


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ([condition("Stalled", "ImagePullFailed", "no such image")], ["ImagePullFailed: no such image"]),
        ([condition("Suspended", "Queued")], ["Queued"]),
        (
            [condition("Reconciling", "Stopping", "3 pods end"), condition("Suspended", "Suspended", "by spec.suspend")],
            ["Suspended: by spec.suspend", "Stopping: 3 pods end"],
        ),
        ([condition("Stalled", "NotStalled", holds=False)], []),
    ],
)
def test_why_a_job_does_not_run(conditions: list[Json], told: list[str]) -> None:
    assert list(words.hindrances(job("demo", *conditions, phase="Pending"))) == told


def test_a_change_that_was_not_taken_in_yet() -> None:
    stale = running(observedGeneration=0)
    assert list(words.hindrances(stale)) == ["the operator has not taken in the last change yet"]


def test_what_fails_everywhere_is_told_once() -> None:
    failing = [condition(kind, "Crashed", "SIGSEGV") for kind in ("Stalled", "Retrying")]
    assert list(words.hindrances(job("demo", *failing, phase="Running"))) == ["Crashed: SIGSEGV"]
    assert list(words.hindrances(job("demo", failing[1], phase="Running"))) == ["Crashed: SIGSEGV"]


@pytest.mark.parametrize("reason", [reason for reason, fault in FAULTS.items() if fault is not Fault.IMAGES])
def test_whose_fault_a_failure_is(reason: Reason) -> None:
    failed = finished("Failed", condition("Failed", reason, "because"))
    (told,) = words.hindrances(failed)
    assert told.startswith(f"{reason} (a")
    assert told.endswith("): because")


@pytest.mark.parametrize(
    ("reason", "failed", "code"),
    [
        ("Succeeded", None, ExitCode.SUCCEEDED),
        ("PartiallySucceeded", None, ExitCode.PARTIAL),
        ("Cancelled", None, ExitCode.CANCELLED),
        ("Failed", "Crashed", ExitCode.JOB_FAILED),
        ("Failed", "DeadlineExceeded", ExitCode.TIMEOUT),
        ("Failed", "StartDeadlineExceeded", ExitCode.TIMEOUT),
        ("SomethingOfANewerOperator", None, ExitCode.JOB_FAILED),
    ],
)
def test_exit_codes(reason: str, failed: str | None, code: ExitCode) -> None:
    more = [] if failed is None else [condition("Failed", failed)]
    assert finished(reason, *more).exit_code is code
    assert running().exit_code is None


def test_the_end_of_a_job() -> None:
    done = finished("Succeeded", phase="Succeeded", images={"total": 2, "succeeded": 2})
    assert list(conclusion(done, Access(namespace="team"))) == [
        "demo: Succeeded",
        "  images    2 succeeded, 0 failed of 2",
        "  time      1:05",
        "  results   s3://b/x/",
        "  next      imagejob show s3://b/x/",
        "            imagejob verify --job demo -n team",
    ]


def test_kubectls_users_are_led_to_kubectl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagejob_cli.cluster.conclusion.program", lambda: PLUGIN)
    monkeypatch.setattr("imagejob_cli.cluster.options.program", lambda: PLUGIN)
    assert list(conclusion(finished("PartiallySucceeded"), Access()))[-2:] == [
        "  next      kubectl imagejob show s3://b/x/",
        "            kubectl imagejob verify demo",
    ]


def test_commands_that_cannot_work_are_not_printed() -> None:
    *_, after = conclusion(finished("Succeeded", output="file:///data"), Access())
    assert after.startswith("  next      it is a folder inside the job's pods, which this machine does not see")


def test_the_end_of_a_failed_job_leads_to_the_logs() -> None:
    lines = list(conclusion(finished("Failed", condition("Failed", "Crashed", "boom")), Access()))
    assert lines[1] == "  Crashed (a fault of the job's code or of the cluster): boom"
    assert lines[-1] == "  next      imagejob logs demo --failed"


HOSTILE = ["x", 7, None, [], {"images": "many"}, {"conditions": [{"type": 3}, "x"]}, {"images": {"total": True, "failed": -3}}]


@pytest.mark.parametrize("status", HOSTILE)
def test_a_status_that_is_none_counts_as_not_there(status: object) -> None:
    view = JobView.of({"metadata": {"name": "demo", "namespace": "team"}, "spec": "x", "status": status})
    assert (view.total, view.failed, view.finished) == (0, 0, None)
    assert words.state(view, NOW) == "New"
    assert all(words.hindrances(view))


def test_words_of_others_cannot_move_the_cursor() -> None:
    evil = job("demo", condition("Stalled", "Bad\x1b[2J", "clear\x1b[2J\nscreen"), phase="Pend\x1bing")
    assert "\x1b" not in words.state(evil, NOW) + "".join(words.hindrances(evil))
