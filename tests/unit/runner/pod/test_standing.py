"""What a pod tells of itself: to the operator, to Prometheus and in its log."""

import json
import logging
import socket
import urllib.request
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from imagejob_api.pipeline import Call, Step, Transform
from imagejob_api.pod import FailedImages, PodImages
from imagejob_runner.audit import Hold
from imagejob_runner.output import UNREAD
from imagejob_runner.pipeline.progress import Progress
from imagejob_runner.pod.logs import LINE_SECONDS, ProgressLog, set_up_logs
from imagejob_runner.pod.metrics import PodMetrics, serve
from imagejob_runner.pod.standing import LimitUse, Observer, Standing
from imagejob_runner.shard import ShardRun
from imagejob_runner.utilisation import Recent
from nodelease import Counters, LeaseClient


class Run:
    """A run whose numbers a test sets."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.engine = SimpleNamespace(progress=self.progress, look=lambda: self.progress)
        self.already: Counter[str] = Counter()
        self.holds: list[Hold] = []

    def take_holds(self) -> list[Hold]:
        taken, self.holds = self.holds, []
        return taken


class Client:
    """A client that waits for what a test says."""

    def __init__(self) -> None:
        self.obstacles: dict[str, str] = {}

    def obstacle(self, limit: str) -> str | None:
        return self.obstacles.get(limit)

    def counters(self, limit: str) -> Counters:
        return Counters(writes=len(limit))


def observed() -> tuple[Observer, Run, Client]:
    run, client = Run(), Client()
    observer = Observer(100, ["disk", "gpu"], cast("LeaseClient", client))
    observer.run = cast("ShardRun", run)
    return observer, run, client


def hold(limit: str, asked: float, start: float, end: float, busy: float) -> Hold:
    return Hold("n", "b", limit, 0, 1, "x", asked, start, end, busy, waited=True)


def test_rows_that_were_there_count_as_what_they_are() -> None:
    observer, run, _ = observed()
    run.already = Counter({"ok": 10, "failed": 3, "skipped": 1, UNREAD: 6})
    run.engine.progress.committed = Counter({("ok", ""): 5, ("failed", "NotFound"): 2, ("failed", "Timeout"): 1})
    run.engine.progress.ended = Counter({("ok", ""): 9, ("failed", "NotFound"): 2, ("failed", "Timeout"): 1})
    run.engine.progress.examples = {"NotFound": "a.jpg: HTTP 404"}
    standing = observer.look()
    most = FailedImages(code="NotFound", count=2, example="a.jpg: HTTP 404")
    assert standing.images == PodImages(succeeded=15, failed=6, skipped=1, most_failed=most)
    assert standing.errors == {"NotFound": 2, "Timeout": 1}
    assert observer.latest is standing


def test_before_the_work_begins_there_is_nothing() -> None:
    observer = Observer(100, [], None)
    assert (
        observer.look().report().encoded()
        == '{"images":{"succeeded":0,"failed":0,"skipped":0},"rate":0.0,"holding":0,"waiting":0,"reason":""}'
    )


def test_the_reason_is_what_keeps_it_waiting_besides_its_turn() -> None:
    observer, run, client = observed()
    run.engine.progress.waiting["gpu"] += 2
    run.engine.progress.holding["disk"] += 1
    report = observer.look().report()
    assert (report.waiting, report.holding, report.reason) == (2, 1, "")
    client.obstacles = {"gpu": "limit 'gpu' is not active " + "." * 600}
    assert observer.look().report().reason.startswith("limit 'gpu' is not active")
    assert len(observer.look().report().reason) == 512


def test_holds_are_added_up_and_not_kept() -> None:
    observer, run, _ = observed()
    run.holds = [hold("gpu", 0, 2, 5, 2.5)]
    observer.look()
    run.holds = [hold("gpu", 5, 5.0005, 6, 1), hold("disk", 0, 400, 401, 1)]
    uses = observer.look().limits
    assert uses["gpu"] == LimitUse(2, pytest.approx(3.9995), 3.5, pytest.approx(2.0005), Counter({10.0: 1, 0.001: 1}), writes=3)
    assert uses["disk"].waits == {float("inf"): 1}


def test_what_was_seen_does_not_change_any_more() -> None:
    observer, run, _ = observed()
    run.engine.progress.stage_seconds["look"] += 1
    before = observer.look()
    run.engine.progress.stage_seconds["look"] += 1
    run.engine.progress.batches["look"][8] += 1
    assert before.stage_seconds == {"look": 1}
    assert before.batches == {}


STANDING = Standing(
    total=100,
    images=PodImages(succeeded=40, failed=2, skipped=1),
    rate=12.3,
    waiting={"gpu": 1},
    holding={"disk": 2},
    errors={"NotFound": 2},
    stage_seconds={"look": 4.5},
    stage_images={"look": 43},
    batches={"look": {32: 1, 11: 1}},
    limits={"gpu": LimitUse(3, 9.0, 8.5, 12.0, Counter({10.0: 2, 0.01: 1}), writes=6)},
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_metrics_are_served() -> None:
    port = free_port()
    end = serve(port, PodMetrics(lambda: STANDING))
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    finally:
        end()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert {name: float(value) for name, value in values.items()} | EXPECTED == {name: float(value) for name, value in values.items()}
    helped = {line.split()[2] for line in lines if line.startswith("# HELP")}
    assert all(name.startswith("imagejob_runner_") for name in helped)


EXPECTED = {
    "imagejob_runner_images_wanted": 100.0,
    'imagejob_runner_images{status="ok"}': 40.0,
    'imagejob_runner_images{status="failed"}': 2.0,
    'imagejob_runner_errors_total{code="NotFound"}': 2.0,
    'imagejob_runner_step_seconds_total{step="look"}': 4.5,
    'imagejob_runner_batch_size_bucket{le="16",step="look"}': 1.0,
    'imagejob_runner_batch_size_bucket{le="32",step="look"}': 2.0,
    'imagejob_runner_batch_size_count{step="look"}': 2.0,
    'imagejob_runner_batch_size_sum{step="look"}': 43.0,
    'imagejob_runner_limit_waiting{limit="gpu"}': 1.0,
    'imagejob_runner_limit_holding{limit="disk"}': 2.0,
    'imagejob_runner_limit_held_seconds_total{limit="gpu"}': 9.0,
    'imagejob_runner_limit_busy_seconds_total{limit="gpu"}': 8.5,
    'imagejob_runner_lease_writes_total{limit="gpu"}': 6.0,
    'imagejob_runner_limit_wait_seconds_bucket{le="0.01",limit="gpu"}': 1.0,
    'imagejob_runner_limit_wait_seconds_bucket{le="+Inf",limit="gpu"}': 3.0,
    'imagejob_runner_limit_wait_seconds_sum{limit="gpu"}': 12.0,
}


def test_a_port_that_is_taken_is_no_reason_to_fail(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))  # noqa: S104  as the server would
        taken.listen()
        serve(taken.getsockname()[1], PodMetrics(lambda: STANDING))()
    assert "No metrics: port" in caplog.text


def test_the_log_says_how_far_it_is_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = ProgressLog()
    log.update(STANDING, 100.0)
    assert "43 of 100 images, 2 failed, 1 skipped, 2 of disk held, 1 of gpu awaited, 12.3 a second" in caplog.text
    assert "2 images have failed here: NotFound 2" in caplog.text
    caplog.clear()
    more = Standing(total=100, images=PodImages(succeeded=60, failed=2))
    log.update(more, 100.0 + LINE_SECONDS / 2)
    assert not caplog.records, "too soon"
    log.update(more, 100.0 + LINE_SECONDS)
    log.update(more, 100.0 + 3 * LINE_SECONDS)
    assert [record.getMessage() for record in caplog.records] == ["62 of 100 images, 2 failed, 0 a second"], "said once"


def test_what_it_waits_for_in_vain_is_said_at_once_and_once(caplog: pytest.LogCaptureFixture) -> None:
    log = ProgressLog()
    for moment in (0.0, 0.1, 0.2):
        log.update(Standing(reason="limit 'gpu' does not exist"), moment)
    log.update(Standing(), 0.3)
    log.update(Standing(reason="limit 'gpu' is not active"), 0.4)
    assert [record.getMessage() for record in caplog.records] == [
        "Waiting: limit 'gpu' does not exist",
        "Waiting: limit 'gpu' is not active",
    ]


@pytest.mark.parametrize("form", ["json", "text", ""])
def test_the_log_s_form(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        set_up_logs({"IMAGEJOB_LOG_FORMAT": form})
        logging.getLogger("imagejob_runner.pod").error("Ended: %d", 5, exc_info=ValueError("inside"))
        lines = capsys.readouterr().err.splitlines()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    if form == "json":
        (line,) = lines
        found: dict[str, Any] = json.loads(line)
        assert (found["level"], found["message"], found["logger"]) == ("ERROR", "Ended: 5", "imagejob_runner.pod")
        assert "ValueError: inside" in found["exception"]
    else:
        assert "Z ERROR Ended: 5" in lines[0]
        assert lines[-1] == "ValueError: inside"


def test_how_busy_a_pod_is_is_told_to_the_operator_and_to_prometheus() -> None:
    observer, run, _ = observed()
    assert observer.look().report().utilisation is None, "nothing has begun"
    run.progress.describe(Step(name="decode", transform=Transform()), 4)
    run.progress.describe(Step(name="solve", call=Call(function="a:b")), 1)
    run.progress.stage_seconds.update(decode=38.8, solve=3.0)
    run.progress.first_start, run.progress.seen, run.progress.cpus, run.progress.cpu_seconds = 10.0, 20.0, 4, 30.0
    standing = observer.look()
    told = standing.report().utilisation
    assert told is not None
    assert [(stage.name, stage.busy) for stage in told.stages] == [("decode", 97), ("solve", 30)]
    assert (told.device, told.cpus) == (None, 75)
    assert told.bottleneck == "decoding on 4 CPUs limits this job: give it more CPUs"
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in PodMetrics(lambda: standing).collect()
        for sample in metric.samples
    }
    assert samples["imagejob_runner_step_busy_ratio", "decode"] == pytest.approx(0.97)
    assert samples["imagejob_runner_cpu_busy_ratio",] == pytest.approx(0.75)
    assert samples["imagejob_runner_bottleneck_ratio", "decode", "decode"] == pytest.approx(0.97)


def test_a_share_that_moves_a_little_changes_no_report() -> None:
    observer, run, _ = observed()
    run.progress.describe(Step(name="solve", call=Call(function="a:b")), 1)
    run.progress.first_start, run.progress.seen, run.progress.cpus = 10.0, 20.0, 1
    told = []
    for share in (0.12, 0.13, 0.11, 0.08, 0.13, 0.14, 0.12):
        observer._recent = Recent()
        run.progress.cpu_seconds = 10.0 * share
        run.progress.stage_seconds["solve"] = 10.0 * (0.5 + share)
        use = observer.report().utilisation
        assert use is not None
        told.append((use.cpus, use.stages[0].busy))
    assert told == [(10, 60), (10, 60), (10, 60), (10, 60), (10, 60), (15, 65), (15, 65)]
