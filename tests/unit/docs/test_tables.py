"""What pages list is what the code has: reasons, metrics, exit codes. Nothing is missing, and nothing is left over."""

from typing import Final

from prometheus_client import Metric

from imagejob_api.pod import PodImages, RunnerExit
from imagejob_api.reasons import FAULTS, Fault, Reason
from imagejob_operator.limits import notices
from imagejob_operator.metrics import Metrics
from imagejob_operator.work_queue import Outcome
from imagejob_runner.constants import ExitCode
from imagejob_runner.pod.metrics import PodMetrics
from imagejob_runner.pod.standing import LimitUse, Standing
from imagejob_runner.utilisation import Bottleneck, Cause, StageUse, Utilisation
from tests.unit.docs.pages import DOCS, headings, table

EXIT_COLUMNS: Final = ("code", "name", "meaning", "what follows")


def test_every_reason_has_a_heading() -> None:
    of_limits = [notices.REASON_INVALID, notices.REASON_MALFORMED, notices.REASON_NAME_TAKEN]
    found = headings(DOCS / "troubleshooting.md", depth=3)
    assert sorted(found) == sorted([*map(str, Reason), *of_limits])


def test_whose_fault_a_failure_is() -> None:
    rows = table(DOCS / "troubleshooting.md", "kind", "reasons")
    told = {row["kind"].partition(",")[0]: set(row["reasons"].split(", ")) for row in rows}
    assert told == {fault.value: {str(reason) for reason, whose in FAULTS.items() if whose is fault} for fault in Fault}


def test_every_exit_code_of_pods_is_told() -> None:
    rows = table(DOCS / "operations.md", *EXIT_COLUMNS)
    assert [(int(row["code"]), row["name"]) for row in rows] == [(int(code), code.name) for code in RunnerExit]
    assert [row["name"] for row in rows if "whole job fails" in row["what follows"]] == [code.name for code in RunnerExit if code.permanent]


def test_every_exit_code_of_the_command_is_told() -> None:
    rows = table(DOCS / "cli.md", "code", "meaning")
    assert {int(code) for code in ExitCode} <= {int(row["code"]) for row in rows if row["code"].isdecimal()}


def test_every_metric_is_told() -> None:
    rows = table(DOCS / "metrics.md", "metric", "type", "labels", "meaning")
    told = {row["metric"]: (row["type"], {*filter(None, row["labels"].split(", "))}) for row in rows}
    assert len(told) == len(rows)
    assert told == described([*operator_metrics(), *PodMetrics(busy_pod).collect()])


def described(metrics: list[Metric]) -> dict[str, tuple[str, set[str]]]:
    """Type and labels by the name that Prometheus shows."""
    found = {}
    for metric in metrics:
        assert metric.samples, f"{metric.name} has labels that cannot be seen, since nothing was counted"
        labels = {label for sample in metric.samples for label in sample.labels} - {"le"}
        found[f"{metric.name}_total" if metric.type == "counter" else metric.name] = (metric.type, labels)
    return found


def operator_metrics() -> list[Metric]:
    metrics = Metrics()
    metrics.job("namespace", "job", "Running")
    metrics.reconciled(Outcome(("ImageJob", "namespace", "job"), 0.1, ValueError()))
    metrics.limit("gpu", "node", slots=2, held=1, waiting=0)
    metrics.request("POST", "/apis/batch/v1/namespaces/namespace/jobs")
    return [metric for metric in metrics.registry.collect() if not metric.name.startswith("process_")]


def busy_pod() -> Standing:
    once = {"some": 1}
    return Standing(
        total=1,
        images=PodImages(succeeded=1),
        waiting=once,
        holding=once,
        errors=once,
        stage_seconds={"some": 1.0},
        stage_images=once,
        batches={"some": {1: 1}},
        limits={"gpu": LimitUse()},
        utilisation=Utilisation({"some": StageUse(0.9, 0.1, 1, 1.0, 1)}, 0.9, 0.9, Bottleneck(Cause.MODEL, "some", 0.9, "it limits")),
    )
