"""Metrics of a working pod, read from what is counted anyhow when somebody asks for them."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from imagejob_runner.pod.standing import WAIT_BOUNDS, Standing
from imagejob_runner.utilisation import Utilisation

PREFIX: Final = "imagejob_runner"
_BATCH_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, float("inf"))

logger = logging.getLogger(__name__)


class PodMetrics(Collector):
    """What Prometheus is told.

    Args:
        standing: Tells how the pod stands; called from the thread of the server.
    """

    def __init__(self, standing: Callable[[], Standing]) -> None:
        self._standing = standing

    def collect(self) -> Iterator[Metric]:
        """All metrics, as they are now."""
        now = self._standing()
        images = {"ok": now.images.succeeded, "failed": now.images.failed, "skipped": now.images.skipped}
        yield _gauge("images_wanted", "Inputs of the pod's shards.", {(): now.total}, ())
        yield _gauge("images", "Inputs of the pod's shards that have a row in the output.", _by(images), ("status",))
        yield _counter("errors", "Images that failed under this pod.", _by(now.errors), ("code",))
        yield _counter("step_seconds", "Working time, summed over the workers of a step.", _by(now.stage_seconds), ("step",))
        yield _counter("step_images", "Images that a step has worked on.", _by(now.stage_images), ("step",))
        yield _batches(now.batches)
        yield from _utilisation(now.utilisation)
        yield _gauge("limit_waiting", "Workers that wait for a slot.", _by(now.waiting), ("limit",))
        yield _gauge("limit_holding", "Workers that hold a slot.", _by(now.holding), ("limit",))
        uses = now.limits.items()
        held = {name: use.held_seconds for name, use in uses}
        busy = {name: use.busy_seconds for name, use in uses}
        writes = {name: use.writes for name, use in uses}
        yield _counter("limit_held_seconds", "Time that slots were held.", _by(held), ("limit",))
        yield _counter("limit_busy_seconds", "Time worked while holding a slot.", _by(busy), ("limit",))
        yield _counter("lease_writes", "Writes to Leases.", _by(writes), ("limit",))
        waits = HistogramMetricFamily(f"{PREFIX}_limit_wait_seconds", "Time from asking for a slot to holding it.", labels=("limit",))
        for name, use in uses:
            waits.add_metric([name], _cumulative(use.waits, WAIT_BOUNDS), use.wait_seconds)
        yield waits


def serve(port: int, metrics: PodMetrics) -> Callable[[], None]:
    """Answers Prometheus on a port, from a thread; that the port cannot be had is no reason to fail.

    Returns:
        What ends it.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    try:
        server, thread = start_http_server(port, registry=registry)
    except OSError as error:
        logger.warning("No metrics: port %d cannot be had: %s", port, error.strerror or error)
        return lambda: None

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end


def _by(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(name,): value for name, value in values.items()}


def _gauge(name: str, text: str, values: Mapping[tuple[str, ...], float], labels: Sequence[str]) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, text: str, values: Mapping[tuple[str, ...], float], labels: Sequence[str]) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _utilisation(found: Utilisation) -> Iterator[Metric]:
    busy = {name: use.busy for name, use in found.stages.items()}
    waiting = {name: use.waiting for name, use in found.stages.items()}
    yield _gauge("step_busy_ratio", "Part of the time in which a step's workers worked, of late.", _by(busy), ("step",))
    yield _gauge("step_waiting_ratio", "Part of the time in which a step's workers waited for slots, of late.", _by(waiting), ("step",))
    device: dict[tuple[str, ...], float] = {} if found.device is None else {(): found.device}
    cpus: dict[tuple[str, ...], float] = {} if found.cpus is None else {(): found.cpus}
    yield _gauge("device_busy_ratio", "Part of the time in which the model's device computed, of late.", device, ())
    yield _gauge("cpu_busy_ratio", "Part of the pod's CPUs that was used, of late.", cpus, ())
    one = found.bottleneck
    limiting: dict[tuple[str, ...], float] = {} if one is None else {(one.cause.value, one.step): one.share}
    yield _gauge("bottleneck_ratio", "How busy the step is that limits the pod, where one does.", limiting, ("cause", "step"))


def _batches(batches: Mapping[str, Mapping[int, int]]) -> Metric:
    family = HistogramMetricFamily(f"{PREFIX}_batch_size", "Images in a batch.", labels=("step",))
    for step, sizes in batches.items():
        family.add_metric([step], _cumulative(sizes, _BATCH_BOUNDS), sum(size * count for size, count in sizes.items()))
    return family


def _cumulative(counts: Mapping[float, int] | Mapping[int, int], bounds: Sequence[float]) -> list[tuple[str, float]]:
    return [
        ("+Inf" if bound == float("inf") else f"{bound:g}", sum(count for value, count in counts.items() if value <= bound))
        for bound in bounds
    ]
