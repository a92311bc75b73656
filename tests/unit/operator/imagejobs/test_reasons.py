"""Every reason that a condition may have, each from the state of a cluster that brings it about."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from imagejob_api.pod import Part, PodProgress, RunnerExit
from imagejob_api.reasons import FAULTS, Fault, Reason
from imagejob_operator.constants import ANNOTATION_STOP, LABEL_KUEUE_QUEUE
from imagejob_operator.imagejobs.job_view import Stop
from imagejob_operator.imagejobs.observed import Hindrance, Observed
from imagejob_operator.imagejobs.planner import REFUSED_AGAIN_SECONDS, plan
from imagejob_operator.imagejobs.pod_view import PodView
from imagejob_operator.imagejobs.stalled import ASK_AGAIN_SECONDS, ASK_SOON_SECONDS
from imagejob_operator.limits.view import LimitFacts
from imagejob_operator.timestamps import format_time
from tests.unit.operator.imagejobs.builders import (
    START,
    after,
    conditions_of,
    ended_pod,
    error,
    image_job,
    image_pipeline,
    images,
    limits,
    planned,
    pod,
    seen,
    started,
    summary,
    unschedulable_pod,
    waiting_pod,
    with_condition,
)

BOUNDED = limits(gpu=LimitFacts(active=True, node_selector={}, on_nodes=True, max_hold="1m", max_priority=9))


@dataclass(frozen=True)
class Case:
    """A state, and the condition that it leads to."""

    reason: Reason
    kind: str
    holds: bool
    says: str
    state: Callable[[], Observed]
    name: str = ""

    @property
    def title(self) -> str:
        return f"{self.kind}-{self.reason}{'-' + self.name if self.name else ''}"


def complete(*pods: dict, **spec: object) -> Observed:
    now = started(image_job(**spec), pods=pods, at=60)
    with_condition(now.jobs[0], "Complete", at=50)
    return now


def failed(*pods: dict, message: str = "Job has failed", part: Part = Part.WORK, failed_indexes: str = "", **spec: object) -> Observed:
    now = started(image_job(**spec), part, pods=pods, at=60)
    with_condition(now.jobs[0], "Failed", at=50, reason="BackoffLimitExceeded", message=message)
    now.jobs[0]["status"]["failedIndexes"] = failed_indexes
    return now


def stopped(reason: Reason, message: str) -> Observed:
    now = started(image_job(), at=60)
    now.jobs[0]["metadata"]["annotations"][ANNOTATION_STOP] = Stop(reason, message).encoded()
    now.jobs[0]["spec"]["suspend"] = True
    with_condition(now.jobs[0], "Suspended")
    return now


def resumed() -> Observed:
    condition = {"type": "Suspended", "status": "True", "reason": "Suspended", "lastTransitionTime": format_time(START)}
    return started(image_job(status={"conditions": [condition]}))


def exited(code: RunnerExit, message: str) -> Observed:
    return failed(ended_pod(code, result=error(message)))


def in_pods_words(reason: str) -> Observed:
    waits = PodProgress(waiting=1, reason=reason)
    return started(image_job(), pods=[pod(progress=waits), pod(index=1, progress=waits)])


def storage_away(part: Part, *others: dict) -> Observed:
    """A pod that has reported that it cannot write, and one that has not reported yet."""
    away = PodProgress(storage="cannot write s3://results/flowers: http://s3 cannot be reached: Connection refused")
    spec = {} if part is Part.WORK else {"source": {"manifest": {"url": "s3://lists/flowers.txt"}}}
    return started(image_job(**spec), part, pods=[pod(part, progress=away), pod(part, index=2), *others], at=10)


def no_pods(complaint: Hindrance | None) -> Observed:
    return started(image_job(), at=10, complaint=complaint)


def limit_on(**labels: str) -> LimitFacts:
    return LimitFacts(active=True, node_selector=labels, on_nodes=False)


def taken() -> Hindrance:
    return Hindrance(Reason.NAME_TAKEN, "The Job flowers is not this job's")


def changed_template() -> Observed:
    now = started(image_job())
    now.job["spec"]["template"] = {"resources": {"limits": {"memory": "8Gi"}}}
    return now


CASES = [
    # Finished and Complete
    Case(Reason.NOT_FINISHED, "Finished", False, "", lambda: seen(image_job())),
    Case(Reason.SUCCEEDED, "Finished", True, "All 10 images", lambda: complete(ended_pod(0, result=summary(10)))),
    Case(Reason.SUCCEEDED, "Complete", True, "All 10 images", lambda: complete(ended_pod(0, result=summary(10)))),
    Case(Reason.PARTIALLY_SUCCEEDED, "Finished", True, "2 of 10 images", lambda: complete(ended_pod(0, result=summary(8, 2)))),
    Case(Reason.PARTIALLY_SUCCEEDED, "Complete", True, "errors.jsonl", lambda: complete(ended_pod(0, result=summary(8, 2)))),
    Case(Reason.FAILED, "Finished", True, "no GPU", lambda: exited(RunnerExit.DEVICE, "no GPU")),
    Case(Reason.CANCELLED, "Finished", True, "Cancelled by spec.cancel", lambda: seen(image_job(cancel=True))),
    Case(Reason.CANCELLED, "Failed", True, "Cancelled by spec.cancel", lambda: stopped(Reason.CANCELLED, "Cancelled by spec.cancel.")),
    # Failed
    Case(
        Reason.TOO_MANY_FAILURES,
        "Failed",
        True,
        "3 of 10 images failed",
        lambda: complete(ended_pod(0, result=summary(7, 3, within_policy=False))),
        "at the end",
    ),
    Case(
        Reason.TOO_MANY_FAILURES, "Failed", True, "12 of 100", lambda: stopped(Reason.TOO_MANY_FAILURES, "12 of 100 images failed"), "early"
    ),
    Case(Reason.DEADLINE_EXCEEDED, "Failed", True, "30 s", lambda: stopped(Reason.DEADLINE_EXCEEDED, "activeDeadlineSeconds, 30 s")),
    Case(
        Reason.START_DEADLINE_EXCEEDED,
        "Failed",
        True,
        "startDeadlineSeconds, 30 s",
        lambda: seen(image_job(pipeline=None, pipelineRef={"name": "none"}, startDeadlineSeconds=30), at=31),
    ),
    Case(Reason.STORAGE_REFUSED, "Failed", True, "no such bucket", lambda: exited(RunnerExit.STORAGE_REFUSED, "no such bucket")),
    Case(Reason.INVALID_JOB, "Failed", True, "no module nets", lambda: exited(RunnerExit.INVALID_JOB, "no module nets")),
    Case(
        Reason.INVALID_SOURCE,
        "Failed",
        True,
        "stands twice",
        lambda: failed(
            ended_pod(RunnerExit.INVALID_SOURCE, result=error("a.jpg stands twice"), part=Part.PLAN),
            part=Part.PLAN,
            source={"prefix": {"url": "s3://photos"}},
        ),
    ),
    Case(Reason.MODEL_REFUSED, "Failed", True, "digest", lambda: exited(RunnerExit.MODEL_REFUSED, "the digest differs")),
    Case(
        Reason.MODEL_REFUSED,
        "Failed",
        True,
        "exit code 12",
        lambda: failed(message="Container runner for pod a/b failed with exit code 12 matching FailJob rule at index 2"),
        "of a pod that is gone",
    ),
    Case(
        Reason.MODEL_REFUSED,
        "Failed",
        True,
        "exit code 12",
        lambda: failed(ended_pod(1), message="Container runner for pod a/b failed with exit code 12 matching FailJob rule at index 2"),
        "of a pod that is gone, after one that crashed",
    ),
    Case(Reason.OUTPUT_REFUSED, "Failed", True, "another job", lambda: exited(RunnerExit.OUTPUT_REFUSED, "belongs to another job")),
    Case(Reason.STORAGE_UNREACHABLE, "Failed", True, "timed out", lambda: exited(RunnerExit.STORAGE, "s3://results timed out")),
    Case(Reason.DEVICE_FAILED, "Failed", True, "ECC", lambda: exited(RunnerExit.DEVICE, "uncorrectable ECC error")),
    Case(
        Reason.OUT_OF_MEMORY,
        "Failed",
        True,
        "2 of 5 shards were given up. The container was killed because it used more memory",
        lambda: failed(ended_pod(137, reason="OOMKilled"), failed_indexes="0,3"),
    ),
    Case(
        Reason.EVICTED,
        "Failed",
        True,
        "Evicted (pod flowers-0-0 on node-1). The node was low on resource: memory.",
        lambda: failed({**ended_pod(137, reason=" ")} | evicted()),
    ),
    Case(Reason.CRASHED, "Failed", True, "exit code 1: Error (pod flowers-0-0 on node-1)", lambda: failed(ended_pod(1))),
    Case(Reason.CRASHED, "Failed", True, "SIGSEGV, a crash in native code", lambda: failed(ended_pod(139)), "by a signal"),
    Case(Reason.CONTAINER_START_FAILED, "Failed", True, "has no imagejob-runner", lambda: failed(not_started()), "for good"),
    Case(Reason.CRASHED, "Failed", True, "Job has failed", failed, "with no pod left"),
    Case(
        Reason.INCOMPLETE,
        "Failed",
        True,
        "1 of 10 images have no row",
        lambda: complete(ended_pod(0, result=summary(9, total=10))),
    ),
    # Suspended
    Case(Reason.SUSPENDED, "Suspended", True, "spec.suspend", lambda: seen(image_job(suspend=True))),
    Case(Reason.QUEUED, "Suspended", True, "queue gpus", lambda: seen(image_job(labels={LABEL_KUEUE_QUEUE: "gpus"}))),
    Case(Reason.NOT_SUSPENDED, "Suspended", False, "", lambda: seen(image_job())),
    Case(Reason.RESUMED, "Suspended", False, "", resumed),
    # Reconciling
    Case(
        Reason.PREPARING, "Reconciling", True, "The Job flowers of an earlier", lambda: replace(seen(image_job()), leftover="Job flowers")
    ),
    Case(Reason.REPLACING_JOB, "Reconciling", True, "what is committed is kept", changed_template),
    Case(Reason.STOPPING, "Reconciling", True, "Cancelled", lambda: started(image_job(cancel=True), pods=[pod()])),
    Case(Reason.RECONCILED, "Reconciling", False, "", lambda: seen(image_job())),
    # Stalled
    Case(Reason.NOT_STALLED, "Stalled", False, "", lambda: seen(image_job())),
    Case(
        Reason.INVALID_SPEC,
        "Stalled",
        True,
        "spec.chunkSize: must be a whole number, not",
        lambda: seen(image_job(chunkSize="two")),
        "type",
    ),
    Case(Reason.INVALID_SPEC, "Stalled", True, "spec.source: exactly one of", lambda: seen(image_job(source={})), "rule"),
    Case(Reason.INVALID_SPEC, "Stalled", True, "put its URLs into a manifest", lambda: seen(too_large()), "too large"),
    Case(Reason.OUTPUT_IN_PODS, "Stalled", True, "5 pods work", lambda: seen(image_job(output={"url": "file:///out"})), "shards"),
    Case(Reason.OUTPUT_IN_PODS, "Reconciling", False, "write to a bucket", lambda: seen(image_job(output={"url": "file:///out"}))),
    Case(
        Reason.OUTPUT_IN_PODS,
        "Stalled",
        True,
        "The output /out is a folder inside each pod, and the pod that lists the source",
        lambda: seen(image_job(output={"url": "/out"}, source={"prefix": {"url": "s3://photos"}})),
        "plan",
    ),
    Case(Reason.NOT_STALLED, "Stalled", False, "", lambda: seen(image_job(output={"url": "/out"}, chunkSize=10)), "one pod"),
    Case(Reason.NOT_STALLED, "Stalled", False, "", lambda: started(image_job(output={"url": "/out"})), "an output in running pods"),
    Case(
        Reason.PIPELINE_NOT_FOUND,
        "Stalled",
        True,
        "There is no ImagePipeline classify in namespace team-a.",
        lambda: seen(image_job(pipeline=None, pipelineRef={"name": "classify"})),
    ),
    Case(
        Reason.INVALID_PIPELINE,
        "Stalled",
        True,
        "ImagePipeline classify: spec.steps: must have 1 entries or more",
        lambda: seen(image_job(pipeline=None, pipelineRef={"name": "classify"}), pipeline=image_pipeline(steps=[])),
    ),
    Case(
        Reason.LIMIT_NOT_FOUND,
        "Stalled",
        True,
        "Step infer takes the limit gpu, and there is no valid NodeLimit of that name; see kubectl describe nodelimit gpu.",
        lambda: seen(image_job(), limits=limits(gpu=None)),
    ),
    Case(
        Reason.LIMIT_INACTIVE,
        "Stalled",
        True,
        "switched off",
        lambda: seen(image_job(), limits=limits(gpu=LimitFacts(active=False, node_selector={}, on_nodes=True))),
    ),
    Case(
        Reason.LIMIT_ON_NO_NODE,
        "Stalled",
        True,
        "on nodes with pool=gpus, and the job needs nodes with pool=cpus",
        lambda: seen(image_job(template={"nodeSelector": {"pool": "cpus"}}), limits=limits(gpu=limit_on(pool="gpus"))),
        "contradiction",
    ),
    Case(
        Reason.LIMIT_ON_NO_NODE,
        "Stalled",
        True,
        "No node has the limit gpu. The scheduler says: 0/2 nodes",
        lambda: started(image_job(), at=10, pods=[unschedulable_pod("0/2 nodes are available")], limits=limits(gpu=limit_on(pool="gpus"))),
        "no node",
    ),
    Case(Reason.LIMIT_UNAVAILABLE, "Stalled", True, "gpu is inactive on node-1", lambda: in_pods_words("gpu is inactive on node-1")),
    Case(Reason.STORAGE_UNREACHABLE, "Stalled", True, "Connection refused", lambda: storage_away(Part.WORK), "work"),
    Case(Reason.STORAGE_UNREACHABLE, "Stalled", True, "Connection refused", lambda: storage_away(Part.PLAN), "plan"),
    Case(Reason.NOT_STALLED, "Stalled", False, "", lambda: storage_away(Part.WORK, pod(index=1, progress=PodProgress())), "one pod writes"),
    Case(Reason.NAME_TAKEN, "Stalled", True, "not this job's", lambda: replace(seen(image_job()), refused=taken())),
    Case(
        Reason.OBJECT_REFUSED,
        "Stalled",
        True,
        "exceeded quota",
        lambda: replace(seen(image_job()), refused=Hindrance(Reason.OBJECT_REFUSED, "exceeded quota: count/jobs.batch")),
    ),
    Case(
        Reason.PODS_REFUSED,
        "Stalled",
        True,
        "violates PodSecurity",
        lambda: no_pods(Hindrance(Reason.PODS_REFUSED, 'pods "flowers-" is forbidden: violates PodSecurity')),
    ),
    Case(
        Reason.UNSCHEDULABLE,
        "Stalled",
        True,
        "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        lambda: started(image_job(), at=10, pods=[unschedulable_pod("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")]),
    ),
    Case(
        Reason.IMAGE_PULL_FAILED,
        "Stalled",
        True,
        "not found",
        lambda: started(image_job(), pods=[waiting_pod("ErrImagePull", 'failed to pull image "x": not found')]),
    ),
    Case(
        Reason.CONTAINER_CONFIG_ERROR,
        "Stalled",
        True,
        'secret "s3" not found',
        lambda: started(image_job(), pods=[waiting_pod("CreateContainerConfigError", 'secret "s3" not found')]),
    ),
    Case(
        Reason.CONTAINER_START_FAILED,
        "Stalled",
        True,
        "RunContainerError",
        lambda: started(image_job(), pods=[waiting_pod("RunContainerError")]),
    ),
    Case(
        Reason.CONTAINER_START_FAILED,
        "Stalled",
        True,
        "The container did not start (pod flowers-0-0 on node-1). The kubelet says: no device nodes. It was attempt 1 of 4",
        lambda: started(image_job(), pods=[not_started("no device nodes")]),
        "of a container that ended",
    ),
    Case(
        Reason.UNSCHEDULABLE,
        "Stalled",
        True,
        "The scheduler has found no node for pod flowers-0-0 since 10:00:00 UTC",
        lambda: started(image_job(), at=12, pods=[pod(phase="Pending", node="")]),
        "of a silent scheduler",
    ),
    Case(
        Reason.CONTAINER_START_FAILED,
        "Stalled",
        True,
        "has not started since 10:00:00 UTC, and the kubelet of node-1 does not say why",
        lambda: started(image_job(), at=12, pods=[waiting_pod("ContainerCreating")]),
        "of a silent kubelet",
    ),
    Case(
        Reason.PODS_REFUSED,
        "Stalled",
        True,
        "The Job flowers has had no pod since 10:00:00 UTC",
        lambda: started(image_job(), at=12),
        "of a silent controller",
    ),
    Case(
        Reason.NOT_STALLED,
        "Stalled",
        False,
        "",
        lambda: started(image_job(), at=60, pods=[waiting_pod("ContainerCreating")], pulling=True),
        "while an image is pulled",
    ),
    Case(
        Reason.NOT_STALLED,
        "Stalled",
        False,
        "",
        lambda: started(image_job(), at=609, pods=[placed(600)]),
        "of a pod that had to wait for its node",
    ),
    Case(
        Reason.CONTAINER_START_FAILED,
        "Stalled",
        True,
        "has not started since 10:10:00 UTC",
        lambda: started(image_job(), at=610, pods=[placed(600)]),
        "after a wait for a node",
    ),
    *(
        Case(
            Reason.NOT_STALLED,
            "Stalled",
            False,
            "",
            lambda kind=kind: started(image_job(), at=59, pods=[placed(0, {kind: {}})]),  # type: ignore[misc]
            f"of a volume that is attached: {kind}",
        )
        for kind in ("persistentVolumeClaim", "csi", "ephemeral")
    ),
    Case(
        Reason.CONTAINER_START_FAILED,
        "Stalled",
        True,
        "has not started since 10:00:00 UTC",
        lambda: started(image_job(), at=60, pods=[placed(0, {"persistentVolumeClaim": {}})]),
        "of a volume that nobody attaches",
    ),
    Case(
        Reason.VOLUME_UNAVAILABLE,
        "Stalled",
        True,
        'secret "labels" not found. Make it in the job\'s namespace, or correct template.volumes.',
        lambda: started(
            image_job(),
            at=10,
            pods=[waiting_pod("ContainerCreating")],
            complaint=Hindrance(Reason.VOLUME_UNAVAILABLE, 'MountVolume.SetUp failed: secret "labels" not found'),
        ),
    ),
    # Retrying
    Case(Reason.NOT_RETRYING, "Retrying", False, "", lambda: started(image_job(), pods=[pod()])),
    Case(
        Reason.OUT_OF_MEMORY,
        "Retrying",
        True,
        "resources.limits.memory more. It was attempt 1 of 4; the next begins at 10:00:10 UTC.",
        lambda: started(image_job(), at=1, pods=[ended_pod(137, reason="OOMKilled"), pod(index=1)]),
    ),
    Case(
        Reason.STORAGE_UNREACHABLE,
        "Retrying",
        True,
        "no route to s3://results (pod flowers-0-0 on node-1). It was attempt 1 of 4; flowers-0-1 is the next.",
        lambda: started(image_job(), at=12, pods=[ended_pod(20, result=error("no route to s3://results")), pod(attempt=1, created=11)]),
    ),
    Case(
        Reason.EVICTED,
        "Retrying",
        True,
        "It is tried again, and not counted.",
        lambda: started(image_job(), at=1, pods=[{**ended_pod(137)} | evicted()]),
    ),
    # Clipped
    *(
        Case(
            Reason.ABOVE_LIMIT,
            "Clipped",
            True,
            "Step infer asks to hold gpu for 99999h, and gets 1m: maxHold of the NodeLimit. "
            "Priority 50 counts as 9 in the queues of gpu: maxPriority of the NodeLimit.",
            state,
            name,
        )
        for name, state in (
            ("before it has pods", lambda: seen(greedy(), limits=BOUNDED)),
            (
                "of a pipeline by name",
                lambda: seen(
                    greedy(pipeline=None, pipelineRef={"name": "other"}), pipeline={"spec": greedy()["spec"]["pipeline"]}, limits=BOUNDED
                ),
            ),
            ("with pods", lambda: started(greedy(), pods=[pod()], limits=BOUNDED)),
            ("of one that has ended", lambda: seen(greedy(cancel=True), limits=BOUNDED)),
        )
    ),
]


def greedy(**spec: object) -> dict:
    steps = [{"name": "infer", "call": {"function": "m:f"}, "limits": [{"name": "gpu", "hold": "99999h"}]}]
    return image_job(**{"pipeline": {"steps": steps}, "priority": 50, **spec})


def placed(at: float, *volumes: dict) -> dict:
    """A pod that was made at the beginning, and has a node since then."""
    one = waiting_pod("ContainerCreating")
    one["status"]["conditions"] = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": format_time(after(at))}]
    one["spec"]["volumes"] = [{"name": "job", "configMap": {}}, *volumes]
    return one


def not_started(said: str = 'exec: "imagejob-runner": executable file not found in $PATH') -> dict:
    one = ended_pod(128, reason="StartError")
    one["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = said
    return one


def evicted() -> dict:
    one = ended_pod(137)
    disrupted = {"type": "DisruptionTarget", "status": "True"}
    one["status"] |= {"reason": "Evicted", "message": "The node was low on resource: memory.", "conditions": [disrupted]}
    one["status"].pop("containerStatuses")
    return {"status": one["status"]}


def too_large() -> dict:
    return image_job(source={"urls": [{"url": f"https://photos.example/{index:04}/{'x' * 1000}"} for index in range(1000)]})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_a_state_leads_to_its_condition(case: Case) -> None:
    made = plan(case.state())

    assert made.status is not None
    status, reason, message = conditions_of(made.status)[case.kind]
    assert (status, reason) == ("True" if case.holds else "False", case.reason)
    assert case.says in message


@pytest.mark.parametrize("hold", ["5s", "60s", "1m"])
def test_what_the_limits_allow_is_not_worth_a_condition(hold: str) -> None:
    job = greedy(priority=9)
    job["spec"]["pipeline"]["steps"][0]["limits"][0]["hold"] = hold
    for known in (BOUNDED, None):  # None: another operator's limits
        status = plan(seen(job, limits=known)).status
        assert status is not None
        assert "Clipped" not in conditions_of(status)


def test_every_reason_has_a_case() -> None:
    assert {case.reason for case in CASES} == set(Reason)


def test_every_condition_belongs_to_this_generation() -> None:
    for case in CASES:
        state = case.state()
        state.job["metadata"]["generation"] = 7
        status = plan(state).status
        assert status is not None
        assert status.observed_generation == 7
        assert {each.observed_generation for each in status.conditions} == {7}


def test_a_job_is_either_complete_or_failed_and_only_when_it_is_finished() -> None:
    for case in CASES:
        status = plan(case.state()).status
        assert status is not None
        kinds = conditions_of(status)
        finished = kinds["Finished"][0] == "True"
        assert ("Complete" in kinds) + ("Failed" in kinds) == finished
        assert all(kinds[kind][0] == "True" for kind in ("Complete", "Failed") if kind in kinds)
        assert "Ready" not in kinds


def test_a_job_never_reconciles_and_stalls_at_once() -> None:
    for case in CASES:
        status = plan(case.state()).status
        assert status is not None
        kinds = conditions_of(status)
        assert not (kinds["Reconciling"][0] == "True" and kinds["Stalled"][0] == "True")


def test_every_reason_means_something() -> None:
    meanings = [reason.meaning for reason in Reason]

    assert all(meaning.endswith(".") for meaning in meanings)
    assert len(set(meanings)) == len(meanings)


def test_every_reason_of_a_failure_says_whose_fault_it_was() -> None:
    reasons = {case.reason for case in CASES if case.kind == "Failed"}

    assert reasons == set(FAULTS)
    assert {FAULTS[reason] for reason in reasons} == set(Fault)


def test_a_state_is_written_as_json_that_the_status_can_hold() -> None:
    for case in CASES:
        status = plan(case.state()).status
        assert status is not None
        json.dumps(status.model_dump(mode="json", by_alias=True))


def test_patience_comes_before_a_complaint() -> None:
    early = started(image_job(), at=2, pods=[unschedulable_pod("0/3 nodes are available", since=1)])
    made = plan(early)

    assert made.status is not None
    assert conditions_of(made.status)["Stalled"][:2] == ("False", Reason.NOT_STALLED)
    assert made.again_after == pytest.approx(4)


def test_silence_is_no_news_for_long() -> None:
    def pause(waited: float) -> float | None:
        inquiry = plan(started(image_job(), at=600 + waited, pods=[placed(600)])).inquiry
        return inquiry and inquiry.fresh_seconds

    assert [pause(waited) for waited in (4, 5, 10, 59, 60)] == [None, *[ASK_SOON_SECONDS] * 3, ASK_AGAIN_SECONDS]


def test_a_crash_before_is_no_last_word_of_what_no_attempt_can_help() -> None:
    now = failed(ended_pod(1), message="Container runner for pod a/b failed with exit code 12 matching FailJob rule at index 2")
    told_early = plan(replace(now, now=after(51)))
    last = filter(None, [PodView.of(ended_pod(12, result=error("the digest differs"), attempt=1))])
    told_all = plan(replace(now, now=after(51), pods=(*now.pods, *last)))

    assert told_early.status is not None
    assert conditions_of(told_early.status)["Finished"][0] == "False"
    assert told_early.again_after == pytest.approx(4)
    assert told_all.status is not None
    assert conditions_of(told_all.status)["Failed"][1] == Reason.MODEL_REFUSED


@pytest.mark.parametrize("spec", [{"cancel": True}, {"suspend": True}], ids=str)
def test_a_refusal_is_told_while_there_is_something_to_do(spec: dict) -> None:
    refused = Hindrance(Reason.OBJECT_REFUSED, "jobs.batch is forbidden")
    now = replace(started(image_job(**spec), pods=[pod()]), refused=refused)
    made = plan(now)
    with_condition(now.jobs[0], "Suspended")
    now.jobs[0]["spec"]["suspend"] = True
    now.jobs[0]["metadata"]["annotations"][ANNOTATION_STOP] = Stop(Reason.CANCELLED, "Cancelled by spec.cancel.").encoded()
    done = plan(now)

    assert made.actions, "it is tried again"
    assert made.again_after == REFUSED_AGAIN_SECONDS
    assert made.status is not None
    assert conditions_of(made.status)["Stalled"] == ("True", Reason.OBJECT_REFUSED, "jobs.batch is forbidden")
    assert conditions_of(made.status)["Reconciling"][0] == "False"
    assert done.status is not None
    assert conditions_of(done.status)["Stalled"][0] == "False"
    assert conditions_of(done.status)["Reconciling"][:2] == ("True", Reason.STOPPING)


def test_a_pod_that_runs_says_that_nothing_is_wrong() -> None:
    made = plan(started(image_job(), at=60, pods=[pod(progress=PodProgress(images=images(1))), unschedulable_pod("no GPU left", index=1)]))

    assert made.status is not None
    assert conditions_of(made.status)["Stalled"][:2] == ("False", Reason.NOT_STALLED)


def test_a_kubelet_that_backs_off_says_no_less_than_before() -> None:
    first = plan(started(image_job(), pods=[waiting_pod("ErrImagePull", "manifest unknown")]))
    assert first.status is not None
    job = image_job(status=first.status.model_dump(mode="json", by_alias=True, exclude_none=True))
    second = plan(started(job, at=20, pods=[waiting_pod("ImagePullBackOff", 'Back-off pulling image "x"')]))

    assert second.status is not None
    assert conditions_of(second.status)["Stalled"][2] == "manifest unknown"


def test_conditions_keep_the_time_since_when_they_hold() -> None:
    first = plan(seen(image_job(pipeline=None, pipelineRef={"name": "classify"})))
    assert first.status is not None
    job = image_job(
        pipeline=None, pipelineRef={"name": "classify"}, status=first.status.model_dump(mode="json", by_alias=True, exclude_none=True)
    )
    later = plan(seen(job, at=100))
    found = plan(seen(job, at=200, pipeline=image_pipeline()))

    assert later.status == first.status
    assert found.status is not None
    times = {each.type: each.last_transition_time for each in found.status.conditions}
    assert times["Stalled"] == format_time(after(200))
    assert times["Finished"] == format_time(START)


def test_a_plan_is_reported_and_the_work_follows() -> None:
    now = started(
        image_job(source={"prefix": {"url": "s3://photos"}}), Part.PLAN, pods=[ended_pod(0, result=planned(1000, 4), part=Part.PLAN)], at=60
    )
    with_condition(now.jobs[0], "Complete", at=50)
    made = plan(now)

    assert made.status is not None
    assert (made.status.images.total, made.status.shards.total, made.status.phase) == (1000, 4, "Running")
