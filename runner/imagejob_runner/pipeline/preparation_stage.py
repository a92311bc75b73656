"""The stage before all others where a pipeline begins with a download and a picture: worker processes do both, many images at once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Final, Self

from imagejob_runner.pipeline.channel import Channel
from imagejob_runner.pipeline.flight import Ended, Flight
from imagejob_runner.pipeline.progress import Progress
from imagejob_runner.pipeline.stages import Finish
from imagejob_runner.pipeline.turn import now
from imagejob_runner.pipeline.works.base import Memory
from imagejob_runner.preparation.messages import Prepared, Request
from imagejob_runner.preparation.pool import ALLOWED_PART, PreparationPool
from imagejob_runner.preparation.recipe import PreparationRecipe

if TYPE_CHECKING:
    from imagejob_runner.images.probe import Probe

PIXEL_BYTES: Final = 4
"""Of a picture as Pillow keeps it."""
LEARNING: Final = 0.1
"""Weight of each picture in the mean of their sizes."""


class PreparationStage:
    """Hands images to worker processes, and what comes back to the next stage.

    Model inputs come back in slots of shared memory, pictures that later steps need by themselves. Each image has had a place on the way to
    the gate before it comes here, and there are as many slots as places at least: so an image of an old chunk never waits for a slot
    that images of young chunks keep.

    Args:
        recipe: What is done with each image.
        inbox: Where images come from.
        outbox: Where they go.
        workers: Processes.
        slots: Images that may be under way in them, or have their model input in shared memory.
        slot_bytes: Least bytes of each.
        batch: Images in a batch of the model.
        device_decodes: Whether the model's device decodes JPEGs; asked when all is loaded.
        finish: Takes images that go no further.
        progress: Counts.
        memory: Budgets, and rules for large pictures.
    """

    def __init__(
        self,
        recipe: PreparationRecipe,
        inbox: Channel[Flight],
        outbox: Channel[Flight],
        *,
        workers: int,
        slots: int,
        slot_bytes: int,
        batch: int,
        device_decodes: Callable[[], bool],
        finish: Finish,
        progress: Progress,
        memory: Memory,
    ) -> None:
        self._inbox, self._outbox = inbox, outbox
        self._finish, self._progress, self._memory = finish, progress, memory
        self._device_decodes = device_decodes
        self._keeps_pictures = recipe.keep_image
        self._picture_bytes: float | None = None
        self._most_unasked = max(1, memory.decoded.limit // (ALLOWED_PART * workers))
        self._numbers = count()
        self._under_way: dict[int, Flight] = {}
        self._back = asyncio.Event()
        self._aside: set[asyncio.Task[None]] = set()
        memory.release_inputs = self._release
        self._pool = PreparationPool(
            recipe,
            workers=workers,
            slots=slots,
            max_bytes=memory.bytes.limit,
            max_decoded=memory.decoded.limit,
            large=memory.large,
            permit=self._permit,
            batch=batch,
            slot_bytes=slot_bytes,
        )

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._pool.__aexit__(None, None, None)

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the worker processes so far."""
        return self._pool.busy_seconds

    async def work(self) -> None:
        """Works until no images come any more."""
        if self._device_decodes():
            self._pool.use_device()
        async with asyncio.TaskGroup() as group:
            handing_on = group.create_task(self._hand_on())
            await self._hand_out()
            while self._under_way:
                self._back.clear()
                await self._back.wait()
            handing_on.cancel()
        self._outbox.close()

    async def _hand_out(self) -> None:
        while await self._inbox.wait_ready():
            free = await self._pool.wait_free()
            flights = self._inbox.take(free)
            if self._keeps_pictures:
                flights = [flight for flight in flights if self._has_room(flight)]
            if flights and self._progress.first_start is None:
                self._progress.first_start = now()
            requests = []
            for flight in flights:
                number = next(self._numbers)
                self._under_way[number] = flight
                requests.append(Request(number, flight.item.url))
            self._pool.submit(requests)

    def _has_room(self, flight: Flight) -> bool:
        """Whether there is memory for its picture; if not, it comes again when there is."""
        # Before any is known: the largest that a worker decodes without asking.
        expected = self._most_unasked if self._picture_bytes is None else int(self._picture_bytes)
        chunk = flight.chunk.sequence
        if flight.held_memory or self._memory.decoded.take_now(chunk, expected):
            flight.held_memory = flight.held_memory or expected
            return True

        async def come_back() -> None:
            await self._memory.decoded.take(chunk, expected)
            flight.held_memory = expected
            await self._inbox.put([flight])
            self._inbox.close()

        self._inbox.expect()
        task = asyncio.create_task(come_back())
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)
        return False

    @asynccontextmanager
    async def _permit(self, number: int, probe: "Probe") -> AsyncIterator[None]:
        """Room for decoding one picture that takes more than a worker may take unasked.

        Raises:
            ImageError: TooLargeToDecode.
            StorageError: The note about it cannot be written.
        """
        flight, memory = self._under_way[number], self._memory
        flight.item.provenance.update(format=probe.format, width=probe.width, height=probe.height, draft=probe.draft)
        large = probe.memory >= memory.large
        if large:
            memory.suspects.check_room(flight, probe.memory)
        # Who waits for more must not hold what another waits for.
        await memory.decoded.give_back(flight.chunk.sequence, flight.held_memory)
        flight.held_memory = 0
        await memory.decoded.take(flight.chunk.sequence, probe.memory)
        flight.held_memory = probe.memory
        await memory.door.enter(alone=large)
        flight.decoding = True
        try:
            if large:
                await memory.suspects.begin(flight, probe.memory)
            yield
        finally:
            await memory.let_out(flight)
            if large:
                await memory.suspects.end(flight)

    async def _hand_on(self) -> None:
        while prepared := await self._pool.take():
            ended = [await self._taken_back(each) for each in prepared]
            if failed := [each for each in ended if each[1] is not None]:
                await self._finish(failed)
            if sound := [flight for flight, error in ended if error is None]:
                await self._outbox.put(sound)
            self._back.set()

    async def _taken_back(self, prepared: Prepared) -> Ended:
        flight = self._under_way.pop(prepared.number)
        item, progress = flight.item, self._progress
        item.provenance.update(prepared.provenance)
        item.timings.update(prepared.timings)
        for name, seconds in prepared.timings.items():
            progress.stage_seconds[name] += seconds
            progress.stage_images[name] += 1
        item.array, item.image = prepared.array, prepared.image
        flight.encoded, flight.header = prepared.encoded, prepared.header
        flight.attempts, flight.slot = prepared.attempts, prepared.number
        kept = 0
        if item.image is not None:
            kept = PIXEL_BYTES * item.image.width * item.image.height
            before = kept if self._picture_bytes is None else self._picture_bytes
            self._picture_bytes = before + LEARNING * (kept - before)
        if flight.held_memory != kept:
            await self._memory.decoded.give_back(flight.chunk.sequence, flight.held_memory - kept)
            flight.held_memory = kept
        if prepared.array is None and prepared.encoded is None:
            self._release([flight])
        return flight, prepared.error

    def _release(self, flights: Iterable[Flight]) -> None:
        """The model inputs of images are not needed any more."""
        numbers = []
        for flight in flights:
            flight.item.array = flight.encoded = None
            if flight.slot is not None:
                numbers.append(flight.slot)
                flight.slot = None
        self._pool.release(numbers)
