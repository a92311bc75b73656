"""The right of a namespace's pods to use Leases goes when the namespace does, and no other does."""

import pytest

from imagejob_operator.kubernetes import KubernetesApi, RefusedError
from imagejob_operator.kubernetes.kinds import NAMESPACE, ROLE_BINDING
from imagejob_operator.manifest import Json
from imagejob_operator.objects.access import access_objects, lease_binding
from imagejob_operator.stale_access import LOOK_SECONDS, Access, accesses, is_stale, remove_stale_access
from tests.unit.operator.imagejobs.builders import SETTINGS
from tests.unit.operator.imagejobs.fake_cluster import FakeCluster

BEFORE, AT, AFTER = "2026-05-04T09:59:59Z", "2026-05-04T10:00:00Z", "2026-05-04T10:00:01Z"


def binding(namespace: str, **metadata: object) -> Json:
    made = lease_binding(namespace, SETTINGS)
    return {**made, "metadata": {**made["metadata"], "uid": f"uid-{namespace}", "creationTimestamp": AT, **metadata}}


@pytest.mark.parametrize(("created", "stale"), [(None, True), (BEFORE, False), (AT, False), (AFTER, True)])
def test_when_an_access_is_stale(created: str | None, stale: bool) -> None:  # noqa: FBT001  a parameter of the table
    assert is_stale(Access("team-a", "imagejob-runner.team-a", "1", AT), created) is stale


def test_only_what_this_installation_has_made() -> None:
    other = binding("team-b")
    other["roleRef"] = {**other["roleRef"], "name": "admin"}
    (_, account), (_, runner), (_, lease) = access_objects("team-c", SETTINGS)
    assert lease == lease_binding("team-c", SETTINGS)
    made = [{**each, "metadata": {**each["metadata"], "uid": "1", "creationTimestamp": AT}} for each in (account, runner)]
    found = [binding("team-a"), other, binding("team-d", name="lease-user.team-d"), *made]
    assert [access.namespace for access in accesses(found, SETTINGS)] == ["team-a"]


@pytest.fixture
def cluster() -> FakeCluster:
    """Four namespaces: one there, one gone, one made anew, and one of which nothing is asked since it has jobs."""
    cluster = FakeCluster()
    for namespace, created in (("there", BEFORE), ("anew", AFTER), ("busy", AFTER)):
        cluster.create(NAMESPACE, {"metadata": {"name": namespace}})
        cluster.objects["namespaces", "", namespace]["metadata"]["creationTimestamp"] = created
    for namespace in ("there", "gone", "anew", "busy"):
        cluster.create(ROLE_BINDING, lease_binding(namespace, SETTINGS))
        name = f"{SETTINGS.runner_service_account}.{namespace}"
        cluster.objects["rolebindings", SETTINGS.namespace, name]["metadata"]["creationTimestamp"] = AT
    return cluster


def left(cluster: FakeCluster) -> list[str]:
    return sorted(name.rpartition(".")[2] for plural, _, name in cluster.objects if plural == "rolebindings")


async def test_those_of_namespaces_that_are_gone_are_deleted(cluster: FakeCluster) -> None:
    asked: list[str] = []
    cluster.refuse = lambda _method, path: asked.append(path)
    assert await remove_stale_access(KubernetesApi(cluster), SETTINGS, lambda: {"busy"}) == LOOK_SECONDS
    assert left(cluster) == ["busy", "there"]
    assert not [path for path in asked if path.endswith("/busy")], "a namespace with ImageJobs is there"


async def test_what_cannot_be_told_is_left(cluster: FakeCluster) -> None:
    cluster.refuse = lambda _method, path: (403, "forbidden") if path.startswith("/api/v1/namespaces") else None
    with pytest.raises(RefusedError):
        await remove_stale_access(KubernetesApi(cluster), SETTINGS, set)
    assert left(cluster) == ["anew", "busy", "gone", "there"]
