from collections.abc import AsyncIterator, Mapping

import pytest

from imagejob_operator.app import REFILL, Operator
from imagejob_operator.imagejobs.controller import KIND
from imagejob_operator.kubernetes import Connection, KubernetesApi, RefusedError
from imagejob_operator.kubernetes.kinds import IMAGE_JOB, NODE, NODE_LIMIT
from imagejob_operator.metrics import Metrics
from tests.unit.operator.imagejobs.builders import NAMESPACE, SETTINGS, image_job
from tests.unit.operator.imagejobs.fake_cluster import FakeCluster
from tests.unit.operator.limits.objects import node, node_limit


async def no_stream(_path: str, _query: Mapping[str, str], _silent_seconds: float) -> AsyncIterator[bytes]:
    for nothing in ():
        yield nothing


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def operator_of(cluster: FakeCluster) -> Operator:
    return Operator(Connection(KubernetesApi(cluster), no_stream, no_stream), SETTINGS, Metrics())


async def test_a_list_that_fails_holds_up_only_the_next_one(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = operator_of(cluster)
    cluster.refuse = lambda method, path: (403, "forbidden") if method == "GET" and path.endswith("/imagepipelines") else None
    with pytest.raises(RefusedError):
        await operator.reconcile((KIND, NAMESPACE, "flowers"))
    cluster.refuse = lambda _method, _path: None
    await operator.reconcile(REFILL)
    monkeypatch.setattr("imagejob_operator.lists.RELIST_SECONDS", 0.0)
    cluster.refuse = lambda method, path: (403, "forbidden") if method == "GET" and path.endswith("/imagepipelines") else None
    with pytest.raises(RefusedError):
        await operator.reconcile(REFILL)
    assert await operator.reconcile((KIND, NAMESPACE, "flowers")) is None
    assert await operator.reconcile(("Lease", "node-1", "gpu")) is None


async def test_a_limit_that_changes_is_news_for_jobs_that_have_not_ended(cluster: FakeCluster) -> None:
    cluster.create(IMAGE_JOB, image_job("done", status={"completionTime": "2026-05-04T10:00:00Z"}))
    cluster.create(IMAGE_JOB, image_job("waits"))
    cluster.create(IMAGE_JOB, {**image_job("odd"), "status": "text"})
    operator = operator_of(cluster)
    await operator.reconcile(REFILL)
    operator._queue._ready.clear()

    report = operator._reports()
    report[NODE]("ADDED", node())
    report[NODE_LIMIT]("ADDED", node_limit())

    assert {key for key in operator._queue._ready if key[0] == KIND} == {(KIND, NAMESPACE, "waits"), (KIND, NAMESPACE, "odd")}
    operator._queue._ready.clear()
    report[NODE]("ADDED", node("node-2"))
    assert not [key for key in operator._queue._ready if key[0] == KIND], "that one node more has it is no news"
