"""The stage of a step that works on batches, with a device that a test lets go on by hand."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from imagejob_api.pipeline import Step, StepLimit
from imagejob_runner.audit import Hold
from imagejob_runner.exceptions import DeviceError, ImageError
from imagejob_runner.item import ImageItem
from imagejob_runner.pipeline.batch_stage import BatchStage
from imagejob_runner.pipeline.channel import Channel
from imagejob_runner.pipeline.flight import ChunkInFlight, Ended, Flight
from imagejob_runner.pipeline.patience import Patience
from imagejob_runner.pipeline.progress import Progress
from imagejob_runner.pipeline.turn import Turn
from tests.tools.slots import WantedSlots
from tests.unit.pipeline.levers import quiet, until


@dataclass(frozen=True)
class Launched:
    flights: Sequence[Flight]


@dataclass
class Device:
    """Launches at once, and is through with a batch when the test says so."""

    batch_size: int = 2
    runs_ahead: bool = True
    launched: list[str] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    through: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    may_launch: asyncio.Event = field(default_factory=asyncio.Event)
    broken: bool = False
    failed: int = 0

    def __post_init__(self) -> None:
        self.may_launch.set()

    async def launch(self, flights: Sequence[Flight]) -> Launched:
        self.launched += [flight.item.id for flight in flights]
        await self.may_launch.wait()
        return Launched(flights)

    async def settle(self, batch: Launched) -> None:
        await self.through.acquire()
        if self.broken:
            self.failed += 1
            raise DeviceError("the GPU is gone")
        self.settled += [flight.item.id for flight in batch.flights]

    async def finish(self, batch: Launched) -> list[ImageError | None]:
        self.finished += [flight.item.id for flight in batch.flights]
        return [None] * len(batch.flights)


@dataclass
class Bench:
    """A stage with one worker over images 0, 1, 2, ..., and what comes out of it."""

    device: Device
    images: int
    wanted: bool = False
    """Whether there is a limit, whose slot somebody else always wants."""
    outbox: Channel[Flight] | None = None
    ended: list[str] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inbox: Channel[Flight] = Channel(self.images)
        self.progress = Progress()
        limits = [StepLimit(name="gpu", hold="60s")] if self.wanted else []
        step = Step.model_validate(
            {"name": "infer", "infer": {"model": {"architecture": "a:b"}}, "limits": [x.model_dump(mode="json") for x in limits]}
        )
        self.stage = BatchStage(
            step,
            self.device,
            self.inbox,
            self.outbox,
            finish=self._finish,
            progress=self.progress,
            concurrency=1,
            turn=(lambda: self._turn(limits)) if limits else None,
            coming=lambda: False,
            patience=Patience(),
        )
        chunk = ChunkInFlight(1, 0, [None] * self.images, self.images)
        flights = [Flight(ImageItem(str(number), "file:///x"), chunk, number) for number in range(self.images)]
        self.flight = flights[0]
        self.inbox.add(flights)

    def _turn(self, limits: list[StepLimit]) -> Turn:
        return Turn(
            WantedSlots(),
            limits,
            priority=0,
            node="here",
            boot="boot",
            record=self.holds.append,
            waiting=lambda *_: None,
            holding=lambda *_: None,
        )

    async def _finish(self, ended: Sequence[Ended]) -> None:
        self.ended += [flight.item.id for flight, _ in ended]

    def start(self) -> asyncio.Task[None]:
        return asyncio.create_task(self.stage.work())


async def test_the_next_batch_is_launched_before_the_last_is_through_and_no_third() -> None:
    bench = Bench(Device(), 8)
    running = bench.start()
    await until(lambda: len(bench.device.launched) == 4)
    await quiet(lambda: bench.device.launched)
    assert (bench.device.launched, bench.device.settled) == (list("0123"), [])
    bench.device.through.release()
    await until(lambda: len(bench.device.launched) == 6)
    assert bench.device.settled == list("01")
    await until(lambda: bench.ended == list("01"))
    for _ in range(3):
        bench.device.through.release()
    bench.inbox.close()
    await running
    assert bench.ended == list("01234567")
    assert bench.progress.batches["infer"] == {2: 4}
    assert bench.progress.stage_images["infer"] == 8


async def test_a_batch_after_which_none_comes_is_settled_and_delivered_at_once() -> None:
    bench = Bench(Device(), 2)
    running = bench.start()
    bench.device.through.release()
    await until(lambda: bench.ended == list("01"))
    assert not running.done()
    bench.inbox.close()
    await running


async def test_on_a_device_that_works_at_once_each_batch_is_settled_before_the_next_is_launched() -> None:
    bench = Bench(Device(runs_ahead=False), 4)
    running = bench.start()
    await until(lambda: len(bench.device.launched) == 2)
    await quiet(lambda: bench.device.launched)
    assert bench.device.launched == list("01")
    bench.device.through.release()
    await until(lambda: len(bench.device.launched) == 4)
    bench.device.through.release()
    bench.inbox.close()
    await running


async def test_a_slot_is_let_go_only_when_the_device_is_through() -> None:
    bench = Bench(Device(), 4, wanted=True)
    running = bench.start()
    await until(lambda: len(bench.device.launched) == 4)
    await quiet(lambda: len(bench.holds))
    assert bench.holds == []
    bench.device.through.release()
    await quiet(lambda: len(bench.holds))
    assert bench.holds == [], "somebody waits, and nothing is ready, but one batch is still computed"
    bench.device.through.release()
    await until(lambda: len(bench.holds) == 1)
    assert 0 < bench.holds[0].busy <= bench.holds[0].end - bench.holds[0].start
    bench.inbox.close()
    await running


async def test_a_device_that_fails_ends_the_stage_and_the_slot_is_free() -> None:
    bench = Bench(Device(broken=True), 4, wanted=True)
    bench.device.through.release()
    bench.device.through.release()
    with pytest.raises(DeviceError, match="gone"):
        await bench.start()
    assert bench.device.failed == 2, "the other batch, which was launched too, has ended before the slot is free"
    assert len(bench.holds) == 1
    assert bench.ended == []


async def test_a_batch_that_is_being_launched_when_the_run_ends_is_settled_before_the_slot_is_let_go() -> None:
    bench = Bench(Device(), 2, wanted=True)
    bench.device.may_launch.clear()
    running = bench.start()
    await until(lambda: len(bench.device.launched) == 2)
    running.cancel()
    await quiet(lambda: len(bench.holds))
    assert bench.holds == []
    bench.device.may_launch.set()
    await quiet(lambda: len(bench.holds))
    assert bench.holds == [], "the device computes"
    bench.device.through.release()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(bench.holds) == 1


async def test_a_wanted_slot_does_not_wait_for_a_next_stage_that_is_behind() -> None:
    bench = Bench(Device(runs_ahead=False), 8, wanted=True, outbox=Channel(1))
    for _ in range(4):
        bench.device.through.release()
    running = bench.start()
    await until(lambda: len(bench.holds) == 1)
    await quiet(lambda: bench.device.launched)
    assert (bench.device.launched, len(bench.holds)) == (list("0123"), 1), "nobody has taken anything of the first batch"
    assert bench.outbox is not None
    bench.inbox.close()
    taken: list[Flight] = []
    while len(taken) < 8:
        await bench.outbox.wait_ready()
        taken += bench.outbox.take(8)
    await running
    assert [flight.item.id for flight in taken] == list("01234567")


async def test_when_the_next_stage_has_ended_nobody_waits_for_it_for_ever() -> None:
    following = Bench(Device(), 1)
    bench = Bench(Device(runs_ahead=False), 8, outbox=following.inbox)
    for _ in range(4):
        bench.device.through.release()
    ends, running = following.start(), bench.start()
    await until(lambda: len(bench.device.launched) >= 4)
    await quiet(lambda: bench.device.launched)
    for task in (ends, running):
        task.cancel()
    for _ in range(4):
        following.device.through.release()
    await asyncio.wait_for(asyncio.gather(ends, running, return_exceptions=True), 5)
    await asyncio.wait_for(bench.inbox.put([following.flight] * 100), 5)
