"""Outputs that cannot be written to are told soon, with what to do; one whose storage is away for a moment is waited for."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from imagejob_api.output_in_pods import FIX
from imagejob_api.reasons import ConditionType
from tests.cluster.cluster import Cluster
from tests.e2e.promptness import Measured, told
from tests.e2e.servers import NAMESPACE
from tests.e2e.team import Team, call

_SERVICE: Final = "s3-away"
_PORT: Final = 7070


def told_with_event(team: Team, job: dict[str, Any], kind: ConditionType, reason: str, measured: Measured) -> str:
    """The message of a condition that is `told`, and of the Event."""
    name, message = job["metadata"]["name"], str(told(team, job, kind, reason, measured)["message"])
    events = team.kubectl("get", "events", f"--field-selector=involvedObject.name={name},reason={reason}", "--output=json")
    assert message in {event["message"] for event in json.loads(events)["items"]}
    return message


def with_environment(team: Team, **variables: str) -> dict[str, Any]:
    """A template whose pods have these variables instead."""
    template = team.template()
    template["env"] = [entry for entry in template["env"] if entry["name"] not in variables]
    template["env"] += [{"name": name, "value": value} for name, value in variables.items()]
    return template


@pytest.fixture
def away(cluster: Cluster, team: Team) -> Iterator[str]:
    """A name of the S3 server that nothing answers at."""
    del team  # the servers are there
    service = {"selector": {"app": "nobody"}, "ports": [{"port": _PORT}]}
    metadata = {"name": _SERVICE, "namespace": NAMESPACE}
    cluster.kubectl(
        "apply", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service})
    )
    yield f"http://{_SERVICE}.{NAMESPACE}.svc.cluster.local:{_PORT}"
    cluster.kubectl(f"--namespace={NAMESPACE}", "delete", f"service/{_SERVICE}")


@pytest.mark.parametrize("source", ["urls", "prefix"])
def test_a_bucket_that_is_not_there(team: Team, source: str, measured: Measured) -> None:
    job = team.image_job(f"bucket-{source}", [call("work", seconds=0)], images=20, output={"url": "s3://no-such-bucket/rows"})
    if source == "prefix":
        job["spec"]["source"] = {"prefix": {"url": team.servers.output("photos")}}
    message = told_with_event(team, job, ConditionType.FAILED, "StorageRefused", measured)
    assert "s3://no-such-bucket/rows" in message
    assert "make the bucket s3://no-such-bucket, or correct output.url" in message


def test_wrong_credentials(team: Team, measured: Measured) -> None:
    job = team.image_job("credentials", [call("work", seconds=0)], images=20, parallelism=4, chunkSize=1)
    job["spec"]["template"] = with_environment(team, AWS_SECRET_ACCESS_KEY="wrong")  # noqa: S106  that is the point
    message = told_with_event(team, job, ConditionType.FAILED, "StorageRefused", measured)
    assert "check the credentials in the environment" in message
    assert len(team.pods("credentials")) <= 4, "no pod was tried again"


def test_a_storage_that_is_away_is_said_and_waited_for(cluster: Cluster, team: Team, away: str, measured: Measured) -> None:
    job = team.image_job("away", [call("work", seconds=0)], images=20)
    job["spec"]["template"] = with_environment(team, AWS_ENDPOINT_URL=away)
    message = told_with_event(team, job, ConditionType.STALLED, "StorageUnreachable", measured)
    assert f"{away} cannot be reached" in message
    assert "check the endpoint and the network" in message
    cluster.kubectl(f"--namespace={NAMESPACE}", "patch", f"service/{_SERVICE}", "--patch", '{"spec": {"selector": {"app": "s3"}}}')
    status = team.wait_until_finished("away")
    assert status["images"]["succeeded"] == 20
    assert status["shards"]["failed"] == 0
    assert team.condition("away", ConditionType.STALLED)["status"] == "False"
    assert len(team.pods("away")) == 1
    team.check_output("away")


@pytest.mark.parametrize("source", ["urls", "prefix"])
def test_an_output_inside_the_pods(team: Team, source: str, measured: Measured) -> None:
    name = f"inside-{source}"
    good = team.image_job(name, [call("work", seconds=0)], images=20, parallelism=2, chunkSize=10)
    job = {**good, "spec": {**good["spec"], "output": {"url": "file:///tmp/rows"}}}
    if source == "prefix":
        job["spec"]["source"] = {"prefix": {"url": team.servers.output("photos")}}
    message = told_with_event(team, job, ConditionType.STALLED, "OutputInPods", measured)
    assert "file:///tmp/rows is a folder inside each pod" in message
    assert FIX in message
    assert team.pods(name) == team.pods(name, "plan") == []
    if source == "urls":
        team.apply(good)
        assert team.wait_until_finished(name)["images"]["succeeded"] == 20
