"""The release changes under a running job: it is upgraded, removed, and installed again."""

from pathlib import Path
from typing import Final

from tests.cluster.release import Release
from tests.e2e.team import Team, call, gpu
from tests.tools.chart import older_chart

_IMAGES: Final = 200
_PODS: Final = 4


def identities(team: Team) -> dict[str, str]:
    """UIDs of the pods that run, by their names."""
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in team.running("lasting")}


def kinds(team: Team) -> list[str]:
    """Our kinds that the cluster has."""
    names = team.cluster.kubectl("get", "customresourcedefinitions", "--output=jsonpath={.items[*].metadata.name}").split()
    return sorted(name.partition(".")[0] for name in names if name.endswith(".imagejob.dev"))


def test_a_job_outlives_an_upgrade_and_the_removal_of_the_release(release: Release, team: Team, tmp_path: Path) -> None:
    release.remove()
    release.install(older_chart(tmp_path))
    steps = [call("work", seconds=1, limits=[gpu("2s")])]
    team.apply(team.image_job("lasting", steps, images=_IMAGES, chunkSize=2, shards=_PODS, parallelism=_PODS))
    team.wait_until_working("lasting", images=8)
    job, pods = team.get("lasting")["metadata"]["uid"], identities(team)
    assert len(pods) == _PODS
    assert team.kubectl("get", "imagejobs").split()[:2] == ["NAME", "AGE"], "the older kind has no other column"

    release.upgrade()
    assert identities(team) == pods, "an upgrade restarts no pod"
    assert "PROGRESS" in team.kubectl("get", "imagejobs").split()
    release.uninstall()
    assert kinds(team) == ["imagejobs", "imagepipelines", "nodelimits"]
    assert team.get("lasting")["metadata"]["uid"] == job
    assert len(team.rows("lasting")) >= 8
    assert team.lease(team.cluster.nodes("worker")[0]).slots == 2

    release.install()
    team.wait_until_finished("lasting")
    assert team.condition("lasting", "Finished")["reason"] == "Succeeded"
    assert {name: pod["metadata"]["uid"] for pod in team.pods("lasting") if (name := pod["metadata"]["name"])} == pods
    assert len(team.check_output("lasting")) == _IMAGES
