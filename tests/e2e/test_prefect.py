"""Prefect's example of a global concurrency limit as an ImageJob: ten pods on one node, two slots, twenty images.

Each is downloaded (1 s), goes through inference (3 s) and is saved (0.5 s). With both slots always busy that takes 31.5 s.
"""

from collections.abc import Callable
from typing import Final

from imagejob_runner.audit import Hold, LimitTally
from imagejob_runner.constants import HOLDS_FOLDER
from imagejob_runner.statistics import percentile
from tests.e2e.team import Team, call, gpu

_IMAGES: Final = 20
_PODS: Final = 10
_IDEAL_SECONDS: Final = 31.5
_RATIO: Final = 1.05
_P50_MS: Final = 10
_P99_MS: Final = 50


def test_ten_pods_share_two_slots_almost_without_a_gap(team: Team, workers: list[str], measured: Callable[[str], None]) -> None:
    steps = [
        call("work", step="download", seconds=1),
        call("work", step="infer", seconds=3, limits=[gpu()]),
        call("work", step="save", seconds=0.5),
    ]
    template = {"nodeSelector": {"kubernetes.io/hostname": workers[1]}}
    team.apply(team.image_job("prefect", steps, images=_IMAGES, chunkSize=_IMAGES // _PODS, parallelism=_PODS, template=template))
    team.wait_until_finished("prefect")
    rows = team.check_output("prefect")

    outputs = [row["outputs"] for row in rows]
    assert len({output["infer"]["pod"] for output in outputs}) == _PODS
    elapsed = max(output["save"]["ended"] for output in outputs) - min(output["download"]["began"] for output in outputs)
    tally = LimitTally()
    for record in team.servers.read(team.key("prefect"), HOLDS_FOLDER):
        tally.add(Hold(**record))
    figures = tally.figures(writes=0)
    p50, p99 = (percentile(figures.hand_over_ms, part) for part in (50, 99))
    hand_overs = f"{len(figures.hand_over_ms)} hand-overs between pods: p50 {p50} ms, p99 {p99} ms"
    measured(f"Prefect's example: {elapsed:.2f} s, {elapsed / _IDEAL_SECONDS:.3f} x ideal; {hand_overs}")
    assert figures.max_holders == 2
    assert elapsed <= _RATIO * _IDEAL_SECONDS
    assert p50 is not None
    assert p99 is not None
    assert p50 <= _P50_MS
    assert p99 <= _P99_MS
