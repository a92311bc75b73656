"""An API server in memory with a Job controller and a kubelet, for whole lives of ImageJobs in milliseconds.

It keeps to what the operator relies on: versions that grow, conflicts, merge patches, owners, and Jobs that make, suspend and count pods.
tests/integration shows the same with the real ones.
"""

import copy
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from imagejob_api.pod import ANNOTATION_PROGRESS, RUNNER_CONTAINER, PodProgress, PodResult, RunnerExit
from imagejob_operator.constants import ANNOTATION_INDEX
from imagejob_operator.imagejobs.caches import Caches
from imagejob_operator.imagejobs.controller import KIND, ImageJobController
from imagejob_operator.kubernetes import KubernetesApi
from imagejob_operator.kubernetes.kinds import JOB, POD, Kind
from imagejob_operator.limits.view import LimitFacts
from imagejob_operator.manifest import Json
from imagejob_operator.settings import Settings
from imagejob_operator.timestamps import format_time
from tests.unit.operator.imagejobs.builders import GPU, NAMESPACE, SETTINGS, START

_PATH = re.compile(r"/apis?(?:/[a-z0-9.-]+)?/v1(?:alpha1)?(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?(?:/(status))?")
Key = tuple[str, str, str]
"""Plural, namespace and name."""


class KilledError(BaseException):
    """The operator ended here; nothing in it may catch this."""


class FakeCluster:
    """The API server and what acts on its objects."""

    def __init__(self) -> None:
        self.now: datetime = START
        self.objects: dict[Key, Json] = {}
        self.writes: list[str] = []
        self.reads = 0
        """Objects that were asked for by name."""
        self.kill_after: int | None = None
        """Writes after which the operator is killed: the last one is done, and its answer never arrives."""
        self.refuse: Callable[[str, str], tuple[int, str] | None] = lambda _method, _path: None
        self._version = 1
        self._serial = 0

    # As the API server.

    async def __call__(
        self, method: str, path: str, query: Mapping[str, str], body: Json | None, _content_type: str, _timeout_seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        match = _PATH.fullmatch(path)
        assert match, path
        namespace, plural, name, subresource = match.group(1) or "", match.group(2), match.group(3), match.group(4)
        refused = self.refuse(method, path)
        if method != "GET":
            self.writes.append(f"{method} {plural}{'/' + subresource if subresource else ''}")
        if refused is not None:
            return refused[0], {}, json.dumps({"reason": "Forbidden", "message": refused[1]}).encode()
        status, answer = self._answer(method, (plural, namespace, name or ""), subresource, query, copy.deepcopy(body))
        if method != "GET" and self.kill_after is not None and len(self.writes) >= self.kill_after:
            raise KilledError
        return status, {}, json.dumps(answer).encode()

    def _answer(self, method: str, key: Key, subresource: str | None, query: Mapping[str, str], body: Json | None) -> tuple[int, Json]:
        if method == "GET" and not key[2]:
            return 200, {"items": self.matching(key[0], key[1], query.get("labelSelector", "")), "metadata": {"resourceVersion": "1"}}
        if method == "POST":
            return self._create(key[0], body or {})
        known = self.objects.get(key)
        if known is None:
            return 404, {"reason": "NotFound", "message": f"{key[2]} not found"}
        if method == "GET":
            self.reads += 1
            return 200, known
        return self._delete(key, known, body or {}) if method == "DELETE" else self._patch(key, known, subresource, body or {})

    def _create(self, plural: str, body: Json) -> tuple[int, Json]:
        key = (plural, body["metadata"]["namespace"], body["metadata"]["name"])
        if key in self.objects:
            return 409, {"reason": "AlreadyExists", "message": f"{key[2]} already exists"}
        return 201, self.put(key, body)

    def _patch(self, key: Key, known: Json, subresource: str | None, body: Json) -> tuple[int, Json]:
        version = body.get("metadata", {}).pop("resourceVersion", None)
        if version is not None and version != known["metadata"]["resourceVersion"]:
            return 409, {"reason": "Conflict", "message": "the object has been modified"}
        assert (subresource == "status") == ("status" in body)
        merged = _merge(known, body)
        if merged != known:
            if merged.get("spec") != known.get("spec"):
                merged["metadata"]["generation"] = known["metadata"].get("generation", 1) + 1
            self.put(key, merged)
        return 200, self.objects[key]

    def _delete(self, key: Key, known: Json, body: Json) -> tuple[int, Json]:
        if body.get("preconditions", {}).get("uid", known["metadata"]["uid"]) != known["metadata"]["uid"]:
            return 409, {"reason": "Conflict", "message": "another uid"}
        if body["propagationPolicy"] == "Foreground":
            known["metadata"]["deletionTimestamp"] = format_time(self.now)
            self.put(key, known)
            return 200, known
        self.remove(key)
        return 200, {"kind": "Status", "status": "Success", "metadata": {}}

    # As an onlooker and a user.

    def matching(self, plural: str, namespace: str = "", label_selector: str = "") -> list[Json]:
        wanted = [part.partition("=") for part in filter(None, label_selector.split(","))]
        return [
            copy.deepcopy(thing)
            for (kind, place, _), thing in sorted(self.objects.items())
            if kind == plural
            and namespace in ("", place)
            and all(
                (thing["metadata"].get("labels") or {}).get(key, None if sign else "") == value or not sign for key, sign, value in wanted
            )
            and all(key in (thing["metadata"].get("labels") or {}) for key, _, _ in wanted)
        ]

    def put(self, key: Key, thing: Json) -> Json:
        """Stores an object with a new version."""
        self._version += 1
        metadata = thing["metadata"]
        if key not in self.objects:
            self._serial += 1
            metadata |= {"uid": f"uid-{self._serial}", "creationTimestamp": format_time(self.now), "generation": 1}
        metadata["resourceVersion"] = str(self._version)
        self.objects[key] = thing
        return thing

    def remove(self, key: Key) -> None:
        """Removes an object, and what it owns."""
        gone = self.objects.pop(key)
        for child, thing in list(self.objects.items()):
            owners = thing["metadata"].get("ownerReferences") or ()
            if child in self.objects and any(owner["uid"] == gone["metadata"]["uid"] for owner in owners):
                self.remove(child)

    def get(self, plural: str, name: str, namespace: str = NAMESPACE) -> Json | None:
        return self.objects.get((plural, namespace, name))

    def create(self, kind: Kind, thing: Json) -> Json:
        fresh = copy.deepcopy(thing)
        return self.put((kind.plural, fresh["metadata"].get("namespace", ""), fresh["metadata"]["name"]), fresh)

    def change_spec(self, name: str, **fields: object) -> None:
        """What a user does with `kubectl apply`."""
        key = ("imagejobs", NAMESPACE, name)
        changed = copy.deepcopy(self.objects[key])
        changed["spec"] |= fields
        changed["metadata"]["generation"] += 1
        self.put(key, changed)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @property
    def running_pods(self) -> list[Json]:
        return [pod for pod in self.matching("pods") if pod["status"]["phase"] == "Running"]

    # As the Job controller and the kubelet.

    def run_jobs(self) -> None:
        """What the Job controller does about every Job until there is nothing left to do."""
        for key in [key for key in self.objects if key[0] == "jobs"]:
            self._run_job(key)

    def _run_job(self, key: Key) -> None:
        job = self.objects[key]
        pods = [pod for pod in self.matching("pods") if pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]]
        if "deletionTimestamp" in job["metadata"]:
            self.remove(key)
            return
        spec, status = job["spec"], copy.deepcopy(job.get("status") or {})
        conditions = {each["type"]: each for each in status.get("conditions", ())}
        if {"Complete", "Failed"} & set(conditions):
            return
        live = [pod for pod in pods if pod["status"]["phase"] not in ("Succeeded", "Failed")]
        done = {pod["metadata"]["annotations"][ANNOTATION_INDEX] for pod in pods if pod["status"]["phase"] == "Succeeded"}
        refused = [pod for pod in pods if (code := _exit_code(pod)) is not None and RunnerExit(code).permanent]
        if refused:
            for pod in live:
                self.remove(("pods", NAMESPACE, pod["metadata"]["name"]))
            live = []
            conditions["Failed"] = self._condition("Failed", "PodFailurePolicy")
        elif spec["suspend"]:
            for pod in live:
                self.remove(("pods", NAMESPACE, pod["metadata"]["name"]))
            live = []
            conditions["Suspended"] = self._condition("Suspended", "JobSuspended")
            status.pop("startTime", None)
        else:
            conditions.pop("Suspended", None)
            status.setdefault("startTime", format_time(self.now))
            busy = {pod["metadata"]["annotations"][ANNOTATION_INDEX] for pod in live}
            todo = [str(index) for index in range(spec["completions"]) if str(index) not in done | busy]
            for index in todo[: max(0, spec["parallelism"] - len(live))]:
                live.append(self._create_pod(job, index))
            if len(done) == spec["completions"]:
                conditions["Complete"] = self._condition("Complete", "CompletionsReached")
        new = {**status, "active": len(live), "succeeded": len(done), "conditions": list(conditions.values())}
        if new != (job.get("status") or {}):
            self.put(key, {**job, "status": new})

    def _condition(self, kind: str, reason: str) -> Json:
        return {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": format_time(self.now)}

    def _create_pod(self, job: Json, index: str) -> Json:
        self._serial += 1
        template = copy.deepcopy(job["spec"]["template"])
        pod = {
            "metadata": {
                **template["metadata"],
                "name": f"{job['metadata']['name']}-{index}-{self._serial}",
                "namespace": NAMESPACE,
                "annotations": {ANNOTATION_INDEX: index},
                "ownerReferences": [{"uid": job["metadata"]["uid"], "controller": True}],
            },
            "spec": {**template["spec"], "nodeName": "node-1"},
            "status": {"phase": "Pending"},
        }
        return self.create(POD, pod)

    def set_pod(self, name: str, status: Json, annotations: Mapping[str, str] | None = None) -> None:
        key = ("pods", NAMESPACE, name)
        pod = copy.deepcopy(self.objects[key])
        pod["metadata"]["annotations"] |= annotations or {}
        self.put(key, {**pod, "status": status})

    def start_pods(self) -> None:
        """All pods that are pending run."""
        for pod in self.matching("pods"):
            if pod["status"]["phase"] == "Pending":
                self.set_pod(pod["metadata"]["name"], {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})

    def report(self, pod: Json, progress: PodProgress) -> None:
        """A pod reports its progress."""
        self.set_pod(pod["metadata"]["name"], pod["status"], {ANNOTATION_PROGRESS: progress.encoded()})

    def end_pod(self, pod: Json, code: int, result: PodResult | None = None) -> None:
        """A pod ends."""
        terminated: Json = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "finishedAt": format_time(self.now)}
        if result is not None:
            terminated["message"] = result.encoded()
        status = {
            "phase": "Succeeded" if code == 0 else "Failed",
            "containerStatuses": [{"name": RUNNER_CONTAINER, "state": {"terminated": terminated}}],
        }
        self.set_pod(pod["metadata"]["name"], status)


class FakeOperator:
    """The operator's reconciles of ImageJobs, one at a time, until nothing is left to do."""

    def __init__(
        self, cluster: FakeCluster, settings: Settings = SETTINGS, limits: Callable[[str], LimitFacts | None] = {"gpu": GPU}.get
    ) -> None:
        self.cluster = cluster
        self._queued: dict[tuple[str, str], None] = {}
        self._api = KubernetesApi(cluster, sleep=_no_sleep)
        self.caches = Caches(self._api, settings.watch_namespaces, self._look_at)
        self._started = cluster.now
        self.controller = ImageJobController(
            self._api,
            self.caches,
            settings,
            limits=limits,
            utc=lambda: cluster.now,
            clock=lambda: 1000 + (cluster.now - self._started).total_seconds(),
        )
        self.again: dict[tuple[str, str], float | None] = {}

    def _look_at(self, namespace: str, name: str, _within: float) -> None:
        self._queued.setdefault((namespace, name))

    async def observe(self) -> None:
        """Everything that the watches would have told by now."""
        await self.caches.fill()
        for cache, plural in (
            (self.caches.image_jobs, "imagejobs"),
            (self.caches.pipelines, "imagepipelines"),
            (self.caches.jobs, JOB.plural),
            (self.caches.pods, POD.plural),
        ):
            there = {(thing["metadata"]["namespace"], thing["metadata"]["name"]): thing for thing in self.cluster.matching(plural)}
            for namespace, name in cache.names():
                if (namespace, name) not in there:
                    cache.report("DELETED", {"metadata": {"namespace": namespace, "name": name, "resourceVersion": "999999999"}})
            for thing in there.values():
                cache.report("MODIFIED", thing)

    async def settle(self) -> None:
        """Reconciles until the objects say nothing new."""
        for _ in range(20):
            await self.observe()
            if not self._queued:
                return
            for name in list(self._queued):
                del self._queued[name]
                self.again[name] = await self.controller.reconcile((KIND, *name))
        raise AssertionError("the operator never comes to rest")

    async def look_again(self) -> None:
        """Reconciles all ImageJobs, as after a while."""
        for job in self.cluster.matching("imagejobs"):
            self._queued.setdefault((job["metadata"]["namespace"], job["metadata"]["name"]))
        await self.settle()


async def _no_sleep(_seconds: float) -> None:
    return


def _exit_code(pod: Json) -> int | None:
    states = pod["status"].get("containerStatuses") or ()
    code: Any = states[0]["state"]["terminated"]["exitCode"] if states else None
    return code


def _merge(base: object, patch: object) -> Any:  # noqa: ANN401  any JSON
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged
