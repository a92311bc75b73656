import asyncio

import pytest

from imagejob_operator.metrics import Metrics
from imagejob_operator.work_queue import Outcome, WorkQueue
from tests.unit.operator.virtual_time import run


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_jobs_by_phase() -> None:
    metrics = Metrics()
    metrics.job("a", "one", "Pending")
    metrics.job("a", "two", "Pending")
    metrics.job("a", "one", "Running")
    metrics.job("a", "one", "Running")
    assert value(metrics, "imagejob_operator_jobs", phase="Pending") == 1
    assert value(metrics, "imagejob_operator_jobs", phase="Running") == 1
    metrics.job("a", "one", None)
    metrics.job("a", "one", None)
    assert value(metrics, "imagejob_operator_jobs", phase="Running") == 0


def test_reconciles_and_errors_by_kind() -> None:
    metrics = Metrics()
    metrics.reconciled(Outcome(("Lease", "n", "gpu"), 0.02, None))
    metrics.reconciled(Outcome(("Lease", "n", "gpu"), 3.0, ValueError()))
    assert value(metrics, "imagejob_operator_reconcile_seconds_count", kind="Lease") == 2
    assert value(metrics, "imagejob_operator_reconcile_seconds_sum", kind="Lease") == pytest.approx(3.02)
    assert value(metrics, "imagejob_operator_reconcile_errors_total", kind="Lease") == 1


def test_the_queue_is_read_when_asked_for() -> None:
    async def reconcile(_key: tuple[str, ...]) -> None:
        """Is not called: nothing runs the queue."""

    async def scenario() -> None:
        metrics = Metrics()
        queue = WorkQueue(reconcile, workers=1)
        metrics.show_queue(queue)
        queue.add(("ImageJob", "a", "b"))
        await asyncio.sleep(7)
        assert value(metrics, "imagejob_operator_queue_depth") == 1
        assert value(metrics, "imagejob_operator_queue_oldest_seconds") == 7

    run(scenario())


def test_a_limit_that_is_gone_is_not_shown() -> None:
    metrics = Metrics()
    metrics.limit("gpu", "node-1", slots=4, held=3, waiting=2)
    read = [value(metrics, f"imagejob_limit_{name}", limit="gpu", node="node-1") for name in ("slots", "held", "waiting")]
    assert read == [4, 3, 2]
    metrics.limit_gone("gpu", "node-1")
    assert value(metrics, "imagejob_limit_slots", limit="gpu", node="node-1") is None


@pytest.mark.parametrize(
    ("method", "path", "verb", "resource"),
    [
        ("POST", "/apis/batch/v1/namespaces/a/jobs", "create", "jobs"),
        ("PATCH", "/apis/imagejob.dev/v1alpha1/namespaces/a/imagejobs/b/status", "patch", "imagejobs/status"),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/imagejob-system/leases/node-1", "update", "leases"),
        ("PATCH", "/apis/imagejob.dev/v1alpha1/nodelimits/gpu/status", "patch", "nodelimits/status"),
        ("DELETE", "/api/v1/namespaces/a/pods/b", "delete", "pods"),
        ("DELETE", "/api/v1/namespaces/a", "delete", "namespaces"),
    ],
)
def test_writes_by_verb_and_resource(method: str, path: str, verb: str, resource: str) -> None:
    metrics = Metrics()
    metrics.request("GET", path)
    metrics.request(method, path)
    writes = [
        sample for family in metrics.registry.collect() for sample in family.samples if sample.name == "imagejob_operator_api_writes_total"
    ]
    assert [(sample.labels, sample.value) for sample in writes] == [({"verb": verb, "resource": resource}, 1.0)]
