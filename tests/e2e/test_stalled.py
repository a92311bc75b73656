"""More reasons why jobs do not run or fail, beside those in test_never_starts.py."""

from tests.e2e.team import Team, call
from tests.e2e.waiting import eventually


def test_a_limit_that_is_not_there(team: Team) -> None:
    team.apply(team.image_job("held-up", [call("work", seconds=1, limits=[{"name": "no-such-limit"}])], images=1))
    eventually(lambda: team.condition("held-up", "Stalled").get("reason"), "LimitNotFound")
    assert "no-such-limit" in team.condition("held-up", "Stalled")["message"]
    assert team.condition("held-up", "Finished")["status"] == "False"


def test_a_job_that_no_attempt_can_help_fails_at_once(team: Team) -> None:
    team.apply(team.image_job("wrong", [call("no_such_function", step="wrong")], images=4, parallelism=2, chunkSize=1))
    assert team.wait_until_finished("wrong")["phase"] == "Failed"
    failed = team.condition("wrong", "Failed")
    assert failed["reason"] == "InvalidJob"
    assert "no_such_function" in failed["message"]
    assert len(team.pods("wrong")) <= 2
    assert team.running("wrong") == []
