"""Both decode at once, each what it does sooner than the other."""

import heapq
import math
from collections import deque
from collections.abc import Sequence

import pytest

from imagejob_runner.device.split import Cost, Split, cost

TARGET = (256, 256)
SMALL, MEDIUM, LARGE = (cost(width, height, TARGET) for width, height in ((500, 375), (1600, 1200), (4000, 3000)))
CPUS, BATCH, UNIT = 16, 256, 32
HANDLING = 1e-4
"""Seconds of a CPU for a picture that it hands on as it is."""
MEASURED = [(SMALL, 27_800, 187), (MEDIUM, 3_576, 255), (LARGE, 669, 74)]


@pytest.mark.parametrize(("found", "gpu", "cpu"), MEASURED)
def test_costs_are_near_what_was_measured(found: Cost, gpu: int, cpu: int) -> None:
    assert found.gpu * gpu == pytest.approx(1, rel=0.15)
    assert found.cpu * cpu == pytest.approx(1, rel=0.3)


def seconds(pictures: Sequence[Cost], model: float = 0.0) -> float:
    """How long a run takes: each CPU takes the next unit when it is free; the GPU works on whatever batch is complete."""
    split = Split(CPUS, BATCH, model)
    free = [0.0] * CPUS
    coming: list[tuple[float, float]] = []
    batch: list[float] = []
    on_gpu: deque[tuple[float, float]] = deque()
    end = 0.0

    def until(now: float) -> None:
        nonlocal end
        while coming and coming[0][0] <= now:
            came, took = heapq.heappop(coming)
            batch.append(took)
            if len(batch) == BATCH or (not coming and now == math.inf):
                end = max(end, came) + sum(batch) + model * len(batch)
                on_gpu.append((end, sum(batch)))
                batch.clear()

    for unit in (pictures[place : place + UNIT] for place in range(0, len(pictures), UNIT)):
        now = heapq.heappop(free)
        until(now)
        while on_gpu and on_gpu[0][0] <= now:
            on_gpu.popleft()
        chosen = split.to_gpu(unit, sum(took for _, took in on_gpu) + sum(batch))
        for each, gpu in zip(unit, chosen, strict=True):
            now += HANDLING if gpu else each.cpu
            heapq.heappush(coming, (now, each.gpu if gpu else 0.0))
        heapq.heappush(free, now)
    until(math.inf)
    return end


@pytest.mark.parametrize("model", [0.0, 1 / 15_000])
@pytest.mark.parametrize("picture", [SMALL, MEDIUM, LARGE])
def test_pictures_of_one_size_go_to_both(picture: Cost, model: float) -> None:
    count = 20_480
    # Of x pictures a second the GPU decodes what it has time for beside the model, and the CPUs the rest.
    both = (1 / picture.gpu + CPUS / picture.cpu) / (1 + model / picture.gpu)
    assert count / seconds([picture] * count, model) >= 0.9 * both


def test_of_a_mixture_the_large_ones_go_to_the_cpus() -> None:
    mixture = [[SMALL, SMALL, SMALL, MEDIUM, SMALL, LARGE][place * 7 % 6] for place in range(20_480)]
    gpu, cpu = sum(each.gpu for each in mixture), sum(each.cpu for each in mixture) / CPUS
    assert seconds(mixture) <= 1 / (1 / gpu + 1 / cpu)
    assert Split(CPUS, 1).to_gpu([LARGE, SMALL, MEDIUM, SMALL], waiting=0.0) == [False, True, True, True]


def test_a_gpu_that_has_enough_is_handed_nothing() -> None:
    assert Split(CPUS, BATCH).to_gpu([SMALL] * UNIT, waiting=10.0) == [False] * UNIT
    assert Split(CPUS, BATCH).to_gpu([], waiting=0.0) == []
