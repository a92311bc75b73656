"""More reasons why jobs do not run or fail, beside those in test_never_starts.py."""

import pytest

from tests.e2e.team import Json, Team, call
from tests.e2e.waiting import eventually


@pytest.mark.parametrize(
    ("limits", "volumes", "reason", "words"),
    [
        ([], [{"name": "none", "secret": {"secretName": "no-such-secret"}}], "VolumeUnavailable", "no-such-secret"),
        ([{"name": "no-such-limit"}], [], "LimitNotFound", "no-such-limit"),
    ],
)
def test_what_keeps_a_job_from_running_is_said(team: Team, limits: list[Json], volumes: list[Json], reason: str, words: str) -> None:
    job = team.image_job("held-up", [call("work", seconds=1, limits=limits)], images=1)
    job["spec"]["template"]["volumes"] += volumes
    job["spec"]["template"]["volumeMounts"] += [{"name": volume["name"], "mountPath": f"/{volume['name']}"} for volume in volumes]
    team.apply(job)
    eventually(lambda: team.condition("held-up", "Stalled").get("reason"), reason)
    assert words in team.condition("held-up", "Stalled")["message"]
    assert team.condition("held-up", "Finished")["status"] == "False"


def test_a_job_that_no_attempt_can_help_fails_at_once(team: Team) -> None:
    team.apply(team.image_job("wrong", [call("no_such_function", step="wrong")], images=4, parallelism=2, chunkSize=1))
    assert team.wait_until_finished("wrong")["phase"] == "Failed"
    failed = team.condition("wrong", "Failed")
    assert failed["reason"] == "InvalidJob"
    assert "no_such_function" in failed["message"]
    assert len(team.pods("wrong")) <= 2
    assert team.running("wrong") == []
