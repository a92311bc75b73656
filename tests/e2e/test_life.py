"""Jobs are cancelled, suspended and resumed while they run."""

import json
from functools import partial
from typing import Final

from imagejob_api.imagejob import Phase
from imagejob_api.pod import RunnerExit
from tests.e2e.team import Json, Team, call, gpu
from tests.e2e.timeline import shown
from tests.e2e.waiting import eventually
from tests.tools.chart import NAMESPACE as LEASES

_IMAGES: Final = 80
_CHUNK: Final = 2
_PODS: Final = 4
_PROMPT_SECONDS: Final = 15
_STEP: Final = call("work", seconds=1, limits=[gpu("5s")])


def long_job(team: Team, name: str) -> Json:
    """A job of twenty seconds on the four slots of the two workers, if nothing ends it."""
    return team.image_job(name, [_STEP], images=_IMAGES, chunkSize=_CHUNK, shards=_PODS, parallelism=_PODS)


def exit_codes(team: Team, name: str) -> set[int]:
    """Of a job's containers, all of which have ended."""
    return {pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] for pod in team.pods(name)}


def test_a_cancelled_job_leaves_whole_outputs_with_which_another_goes_on(team: Team, workers: list[str]) -> None:
    first = long_job(team, "first")
    team.apply(first)
    team.wait_until_working("first", images=4)
    team.patch("first", cancel=True)
    status = team.wait_until_finished("first")
    assert status["phase"] == "Cancelled"
    assert (team.condition("first", "Finished")["reason"], team.condition("first", "Failed")["reason"]) == ("Cancelled", "Cancelled")
    assert exit_codes(team, "first") <= {RunnerExit.STOPPED, RunnerExit.DONE}
    assert team.held(workers) == set()

    before = {row["id"]: row for row in team.rows("first")}
    assert 0 < len(before) < _IMAGES
    assert len(before) % _CHUNK == 0
    assert status["images"]["succeeded"] == len(before)
    problems = json.loads(team.verify("first", "--json").stdout)["problems"]
    assert all("have no row" in problem["message"] for problem in problems), problems

    rest = long_job(team, "second")
    rest["spec"]["output"] = first["spec"]["output"]
    team.apply(rest)
    team.wait_until_finished("second")
    assert team.held(workers) == set()
    assert team.condition("second", "Finished")["reason"] == "Succeeded"
    after = {row["id"]: row for row in team.check_output("first")}
    assert len(after) == _IMAGES
    assert after.items() >= before.items(), "what was done has been done again"


def test_a_suspended_job_ends_its_pods_and_goes_on_when_it_is_resumed(team: Team, workers: list[str]) -> None:
    with shown(team.cluster, team.namespace, Phase.SUCCEEDED) as table:
        team.apply(long_job(team, "paused"))
        team.wait_until_working("paused", images=4)
        team.patch("paused", suspend=True)
        team.wait_for_condition("paused", "Suspended")
        team.wait_for_condition("paused", "Reconciling=False")
        assert team.phase("paused") == "Suspended"
        assert team.pods("paused") == [] or exit_codes(team, "paused") <= {RunnerExit.STOPPED, RunnerExit.DONE}
        assert team.running("paused") == []
        assert team.held(workers) == set()
        before = {row["id"]: row for row in team.rows("paused")}
        assert 0 < len(before) < _IMAGES
        assert len(before) % _CHUNK == 0

        team.patch("paused", suspend=False)
        team.wait_until_finished("paused")
    assert team.held(workers) == set()
    assert team.condition("paused", "Finished")["reason"] == "Succeeded"
    assert team.condition("paused", "Suspended")["status"] == "False"
    after = {row["id"]: row for row in team.check_output("paused")}
    assert len(after) == _IMAGES
    assert after.items() >= before.items(), "what was done has been done again"

    phases = [phase for phase in table.phases if phase != Phase.PENDING]
    assert phases == [Phase.RUNNING, Phase.SUSPENDED, Phase.RUNNING, Phase.SUCCEEDED]
    assert table.done == sorted(table.done)
    assert set(table.done) - {0, _IMAGES}, "it was seen on its way"


def test_what_was_made_for_pods_is_made_again_when_somebody_deletes_it(team: Team) -> None:
    team.apply(long_job(team, "robbed"))
    team.wait_until_working("robbed", images=4)
    account = "imagejob-runner"
    made = (
        ("configmap", "robbed", team.namespace),
        ("serviceaccount", account, team.namespace),
        ("rolebinding", account, team.namespace),
        ("rolebinding", f"{account}.{team.namespace}", LEASES),
    )
    for kind, name, namespace in made:
        place = f"--namespace={namespace}"
        team.cluster.kubectl("delete", kind, name, place)
        found = f"{kind}{'.rbac.authorization.k8s.io' if kind == 'rolebinding' else ''}/{name}\n"
        eventually(partial(team.cluster.kubectl, "get", kind, name, place, "--output=name"), wanted=found, seconds=_PROMPT_SECONDS)
    robbed = team.running("robbed")[0]["metadata"]["name"]
    team.kubectl("delete", "pod", robbed, "--wait=false")  # its successor needs all of it
    team.wait_until_finished("robbed")
    assert team.condition("robbed", "Finished")["reason"] == "Succeeded"
    assert len(team.check_output("robbed")) == _IMAGES
