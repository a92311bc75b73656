"""What Prometheus reads of the operator."""

from collections import Counter as Tally
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from imagejob_operator.work_queue import Outcome, WorkQueue

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_CORE_PATH: Final = 2
"""Parts of the path before what is in the core's group: ``api/v1``."""
_GROUP_PATH: Final = 3
"""And before what is in another: ``apis/batch/v1``."""


class Metrics:
    """All metrics, in a registry of their own, so that tests and others in the process do not share them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._jobs = Gauge("imagejob_operator_jobs", "ImageJobs by phase.", ["phase"], registry=self.registry)
        self._seconds = Histogram(
            "imagejob_operator_reconcile_seconds", "How long reconciles took.", ["kind"], buckets=_SECONDS, registry=self.registry
        )
        self._errors = Counter(
            "imagejob_operator_reconcile_errors", "Reconciles that ended with an error.", ["kind"], registry=self.registry
        )
        self._depth = Gauge("imagejob_operator_queue_depth", "Keys that wait for a worker.", registry=self.registry)
        self._oldest = Gauge("imagejob_operator_queue_oldest_seconds", "How long the oldest of them has waited.", registry=self.registry)
        self._slots = Gauge("imagejob_limit_slots", "Slots of a limit on a node.", ["limit", "node"], registry=self.registry)
        self._held = Gauge("imagejob_limit_held", "Slots in use.", ["limit", "node"], registry=self.registry)
        self._waiting = Gauge("imagejob_limit_waiting", "Requests in the queue.", ["limit", "node"], registry=self.registry)
        self._writes = Counter(
            "imagejob_operator_api_writes", "Writes to the API server that were asked for.", ["verb", "resource"], registry=self.registry
        )
        self._phases: dict[tuple[str, str], str] = {}
        self._in_phase: Tally[str] = Tally()

    def reconciled(self, outcome: Outcome) -> None:
        """A reconcile ended."""
        kind = outcome.key[0]
        self._seconds.labels(kind).observe(outcome.seconds)
        if outcome.error is not None:
            self._errors.labels(kind).inc()

    def show_queue(self, queue: WorkQueue) -> None:
        """Read the queue whenever metrics are asked for; then an event loop must run."""
        self._depth.set_function(lambda: queue.depth)
        self._oldest.set_function(lambda: queue.oldest_seconds)

    def job(self, namespace: str, name: str, phase: str | None) -> None:
        """An ImageJob is in this phase; None: it is gone."""
        known = self._phases.pop((namespace, name), None)
        if phase is not None:
            self._phases[namespace, name] = phase
        for changed, by in ((known, -1), (phase, 1)):
            if changed is not None:
                self._in_phase[changed] += by
                self._jobs.labels(changed).set(self._in_phase[changed])

    def limit(self, limit: str, node: str, *, slots: int, held: int, waiting: int) -> None:
        """A limit has these slots on a node, so many in use, and so many requests for them."""
        self._slots.labels(limit, node).set(slots)
        self._held.labels(limit, node).set(held)
        self._waiting.labels(limit, node).set(waiting)

    def limit_gone(self, limit: str, node: str) -> None:
        """A node does not have the limit any more."""
        for gauge in (self._slots, self._held, self._waiting):
            gauge.remove(limit, node)

    def request(self, method: str, path: str) -> None:
        """A request goes to the API server; counted if it writes."""
        verb = _VERBS.get(method)
        if verb is not None:
            self._writes.labels(verb, _resource(path)).inc()


def _resource(path: str) -> str:
    """``jobs`` or ``imagejobs/status`` of a path such as ``/apis/imagejob.dev/v1alpha1/namespaces/a/imagejobs/b/status``."""
    parts = path.strip("/").split("/")
    parts = parts[_CORE_PATH if parts[0] == "api" else _GROUP_PATH :]
    if parts[:1] == ["namespaces"] and len(parts) > _CORE_PATH:
        parts = parts[2:]
    return "/".join((parts[0], *parts[2:])) if parts else ""
