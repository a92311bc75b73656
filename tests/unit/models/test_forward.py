"""Passes that are under way on a device that works later, in its own time: a GPU's behaviour without a GPU."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from imagejob_api.pipeline import Outputs
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import DeviceError, ImageError, ModelError
from imagejob_runner.models.forward import Forward, Pass
from imagejob_runner.models.inputs import Made
from imagejob_runner.models.lanes import Batch, Compute, HostLane, Lane, Results
from imagejob_runner.models.staging import Staging, Wait

pytestmark = pytest.mark.model

SIZE = 2


@dataclass
class LaterLane:
    """A device that has taken and done nothing until somebody waits for it, and then only as much as it must, in order."""

    queue: deque[Callable[[], None]] = field(default_factory=deque)
    ended: int = 0
    """Passes done."""
    fail: Callable[[torch.Tensor], None] = lambda _batch: None
    staging: Staging = field(default_factory=lambda: Staging(lambda shape: torch.zeros(*shape, dtype=torch.uint8)))

    def submit(self, batch: Batch, least: int, compute: Compute) -> "Later":
        there = self.staging.send(batch, least, self._copy)
        later = Later(self)

        def work() -> None:
            self.ended += 1
            (batch,) = there
            try:
                self.fail(batch)
                later.found = compute(batch)
            except Exception as error:  # noqa: BLE001  shown when results are asked for
                later.found = error

        self.queue.append(work)
        return later

    def until(self, done: Callable[[], bool]) -> None:
        while not done():
            self.queue.popleft()()

    def _copy(self, block: torch.Tensor) -> tuple[list[torch.Tensor], Wait]:
        there: list[torch.Tensor] = []
        self.queue.append(lambda: there.append(block.clone()))
        return there, lambda: self.until(lambda: bool(there))


@dataclass
class Later:
    lane: LaterLane
    found: Results | Exception | None = None
    seconds: float = 0.5
    made: Made = field(default_factory=Made)

    def results(self) -> Results:
        self.lane.until(lambda: self.found is not None)
        if isinstance(self.found, Exception):
            raise self.found
        assert self.found is not None
        return self.found


def sums(batch: torch.Tensor) -> torch.Tensor:
    """A network: the sum of an image's values, and how many images it saw."""
    return torch.stack([batch.flatten(1).sum(1).float(), torch.full((len(batch),), float(len(batch)))], 1)


def forward(lane: Lane, network: Callable[[torch.Tensor], object] = sums, *, most: int = 4, least: int = 1) -> Forward:
    return Forward(network, lane, least=least, most=most, outputs=Outputs(embedding="raw"), labels=None)


def images(*values: int) -> list[np.ndarray]:
    return [np.full((SIZE, SIZE, 3), value, np.uint8) for value in values]


def found(answers: list[object]) -> list[object]:
    """The sums that answers hold, one for each image; the code of an error."""
    return [answer.code if isinstance(answer, ImageError) else answer[0] / SIZE**2 / 3 for answer in answers]  # type: ignore[index]


class TestUnderWay:
    def test_launching_waits_for_nothing(self) -> None:
        lane = LaterLane()
        passes = [forward(lane).launch(images(number)) for number in range(3)]
        assert lane.ended == 0
        assert found(passes[1].answers()) == [1]
        assert lane.ended == 2

    def test_memory_is_written_again_only_when_it_was_taken(self) -> None:
        lane = LaterLane()
        model = forward(lane)
        passes = [model.launch(images(number, number + 100)) for number in range(20)]
        assert [found(each.answers()) for each in passes] == [[number, number + 100] for number in range(20)]

    def test_batches_of_any_length_go_in_passes(self) -> None:
        answers = forward(LaterLane(), most=4).launch(images(*range(11))).answers()
        assert found(answers) == list(range(11))
        assert [answer[1] for answer in answers] == [4] * 8 + [3] * 3  # type: ignore[index, call-overload]

    def test_a_small_batch_is_filled_up(self) -> None:
        answers = forward(LaterLane(), least=3).launch(images(7)).answers()
        assert (found(answers), answers[0][1]) == ([7], 3)  # type: ignore[index, call-overload]

    def test_one_array_is_a_batch(self) -> None:
        batch = np.stack(images(*range(6)))
        for lane in (LaterLane(), HostLane()):
            assert found(forward(lane).launch(batch).answers()) == list(range(6))

    def test_settling_says_how_long_the_device_took(self) -> None:
        under_way = forward(LaterLane(), most=4).launch(images(*range(8)))
        under_way.settle()
        assert under_way.seconds == 1.0
        under_way.settle()
        assert found(under_way.answers()) == list(range(8))

    def test_a_cpu_takes_memory_as_it_is(self) -> None:
        seen: list[int] = []

        def look(batch: torch.Tensor) -> torch.Tensor:
            seen.append(batch.data_ptr())
            return sums(batch)

        batch = np.stack(images(1, 2))
        model = forward(HostLane(), look)
        model.launch(batch)
        assert seen == [batch.ctypes.data]
        batch.flags.writeable = False
        assert found(model.launch(batch).answers()) == [1, 2]


class TestFailures:
    def launched(self, error: Callable[[], Exception], bad: Callable[[torch.Tensor], bool], values: list[int]) -> tuple[Forward, Pass]:
        def fail(batch: torch.Tensor) -> None:
            if bad(batch):
                raise error()

        model = forward(LaterLane(fail=fail), most=8)
        return model, model.launch(images(*values))

    def test_one_bad_image_fails_alone_though_it_shows_late(self) -> None:
        _, under_way = self.launched(lambda: ValueError("an odd value"), lambda batch: bool((batch == 5).any()), [*range(11)])
        answers = under_way.answers()
        assert found(answers) == [*range(5), ErrorCode.INFERENCE_FAILED, *range(6, 11)]

    def test_memory_that_runs_out_late_makes_passes_smaller(self) -> None:
        model, under_way = self.launched(lambda: torch.OutOfMemoryError("CUDA out of memory"), lambda batch: len(batch) > 3, [*range(8)])
        assert found(under_way.answers()) == list(range(8))
        assert [answer[1] for answer in model.launch(images(*range(6))).answers()] == [2] * 6  # type: ignore[index, call-overload]

    def test_an_image_for_which_there_is_never_memory(self) -> None:
        _, under_way = self.launched(lambda: torch.OutOfMemoryError("CUDA out of memory"), lambda batch: bool((batch == 1).any()), [0, 1])
        assert found(under_way.answers()) == [0, ErrorCode.OUT_OF_MEMORY]

    def test_a_device_that_fails_late_ends_the_process(self) -> None:
        _, under_way = self.launched(lambda: RuntimeError("CUDA error: an illegal memory access"), lambda _batch: True, [1])
        with pytest.raises(DeviceError, match="GPU cannot be used any more by this process: CUDA error: an illegal"):
            under_way.settle()

    def test_a_model_that_makes_no_sense(self) -> None:
        under_way = forward(LaterLane(), lambda batch: batch.sum()).launch(images(1))
        with pytest.raises(ModelError, match=r"returned shape \(\)"):
            under_way.answers()

    def test_another_network_takes_over_between_two_passes(self) -> None:
        model = forward(HostLane())
        before = model.launch(images(1))
        model.network = lambda batch: sums(batch) * 2
        assert [found(before.answers()), found(model.launch(images(1)).answers())] == [[1], [2]]
