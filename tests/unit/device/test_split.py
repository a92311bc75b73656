"""Both decode at once, each what it does sooner than the other."""

import heapq
import math
from collections import deque
from collections.abc import Sequence

import pytest

from imagejob_runner.device.split import Cost, Split, cost

TARGET = (256, 256)
SMALL, MEDIUM, LARGE = (cost(width, height, TARGET) for width, height in ((500, 375), (1600, 1200), (4000, 3000)))
CPUS, BATCH, COUNT = 16, 256, 8_192
HANDLING = 1e-4
"""Seconds of a CPU for a picture that it hands on as it is."""
MEASURED = [(SMALL, 27_800, 187), (MEDIUM, 3_576, 255), (LARGE, 669, 74)]


@pytest.mark.parametrize(("found", "gpu", "cpu"), MEASURED)
def test_costs_are_near_what_was_measured(found: Cost, gpu: int, cpu: int) -> None:
    assert found.gpu * gpu == pytest.approx(1, rel=0.15)
    assert found.cpu * cpu == pytest.approx(1, rel=0.3)


def seconds(pictures: Sequence[Cost], model: float = 0.0, speed: float = 1.0) -> float:
    """How long a run takes: each CPU takes the next picture when it is free, and the GPU works on whatever batch is complete.

    Args:
        pictures: In their order.
        model: Seconds of the GPU for each besides decoding.
        speed: Of the GPU's decoding, as a multiple of what is thought.
    """
    splits = [Split(CPUS, BATCH, model) for _ in range(CPUS)]
    free = [(0.0, cpu) for cpu in range(CPUS)]
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
                end = max(end, came) + sum(batch) / speed + model * len(batch)
                on_gpu.append((end, sum(batch)))
                batch.clear()

    for picture in pictures:
        now, cpu = heapq.heappop(free)
        until(now)
        while on_gpu and on_gpu[0][0] <= now:
            on_gpu.popleft()
        handed = sum(took for _, took in on_gpu) + sum(batch) + sum(took for _, took in coming)
        (gpu,) = splits[cpu].to_gpu([picture], handed)
        now += HANDLING if gpu else picture.cpu
        heapq.heappush(coming, (now, picture.gpu if gpu else 0.0))
        heapq.heappush(free, (now, cpu))
    until(math.inf)
    return end


def ideal(pictures: Sequence[Cost], model: float = 0.0, speed: float = 1.0) -> float:
    """Seconds in which both are through, if each had the same part of every kind of picture."""
    gpu = sum(each.gpu for each in pictures) / speed + model * len(pictures)
    return 1 / (1 / gpu + CPUS / sum(each.cpu for each in pictures))


@pytest.mark.parametrize("picture", [SMALL, MEDIUM, LARGE])
def test_pictures_of_one_size_go_to_both(picture: Cost) -> None:
    pictures = [picture] * COUNT
    assert seconds(pictures) <= ideal(pictures) / 0.9


def test_beside_a_model_too() -> None:
    pictures, model = [MEDIUM] * COUNT, 1 / 15_000
    # The GPU decodes in the time that the model leaves it.
    both = (1 / MEDIUM.gpu + CPUS / MEDIUM.cpu) / (1 + model / MEDIUM.gpu)
    assert COUNT / seconds(pictures, model) >= 0.9 * both


@pytest.mark.parametrize("speed", [0.5, 2.0])
def test_a_gpu_that_is_quicker_or_slower_than_is_thought(speed: float) -> None:
    pictures = [MEDIUM] * COUNT
    assert seconds(pictures, speed=speed) <= ideal(pictures, speed=speed) / 0.75


def test_of_a_mixture_the_large_ones_go_to_the_cpus() -> None:
    mixture = [[SMALL, SMALL, SMALL, MEDIUM, SMALL, LARGE][place * 7 % 6] for place in range(COUNT)]
    assert seconds(mixture) <= ideal(mixture) / 1.2
    split = Split(CPUS, BATCH)
    chosen = [split.to_gpu([picture], waiting=2 * BATCH * SMALL.gpu * 6)[0] for picture in mixture]
    small, large = ([gpu for each, gpu in zip(mixture, chosen, strict=True) if each == kind] for kind in (SMALL, LARGE))
    assert sum(small) / len(small) >= 0.9
    assert sum(large) / len(large) <= 0.25


def test_a_gpu_that_has_enough_is_handed_nothing_and_one_without_work_everything() -> None:
    assert Split(CPUS, BATCH).to_gpu([SMALL] * 32, waiting=10.0) == [False] * 32
    assert Split(CPUS, BATCH).to_gpu([LARGE] * 32, waiting=0.0) == [True] * 32
