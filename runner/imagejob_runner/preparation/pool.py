"""The pool of workers, in the event loop of the runner."""

import asyncio
import math
import os
import socket
from collections import deque
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from imagejob_runner.daemon import in_daemon
from imagejob_runner.device.split import cost
from imagejob_runner.exceptions import RunnerError
from imagejob_runner.images.probe import Probe
from imagejob_runner.pipeline.retry import timeout_error
from imagejob_runner.preparation import processes
from imagejob_runner.preparation.arena import SharedMemory, Slots
from imagejob_runner.preparation.board import DECODE, DOWNLOAD, Board
from imagejob_runner.preparation.casualties import decoder_died
from imagejob_runner.preparation.entry import Entry
from imagejob_runner.preparation.handle import WorkerHandle
from imagejob_runner.preparation.messages import Prepared, Request
from imagejob_runner.preparation.orders import Orders
from imagejob_runner.preparation.outcomes import Reader, most_bytes, read_probe
from imagejob_runner.preparation.permits import Permit, Permits
from imagejob_runner.preparation.places import is_remote
from imagejob_runner.preparation.recipe import BANDS, UNIT, PreparationRecipe
from imagejob_runner.preparation.watch import watch
from imagejob_runner.preparation.wire import WireError

if TYPE_CHECKING:
    import numpy as np

DOWNLOADS: Final = 16
"""Images fetched at once by all workers together, unless the step says otherwise."""
ALLOWED_PART: Final = 4
"""All workers together may use one part in so many of the memory for decoding without asking."""
STILLBORN: Final = 4
"""So many workers one after the other that end before they say a word end the pool."""
MOST_LOSSES: Final = 1
"""So often an image is done again with others when nobody knows what ended its worker; then alone."""
MOST_SECONDS: Final = 1e9
"""CPU time that a process can have."""
_PAUSE_SECONDS: Final = 0.1
_ENDING_SECONDS: Final = 0.4


class PreparationPool:
    """Worker processes that fetch and decode images. An async context manager; all of it happens in one event loop.

    Every image takes a slot when it is submitted, ends as one `Prepared`, well or not, and holds its slot until it is released.

    Args:
        recipe: What is done to each image.
        workers: How many processes.
        slots: How many images may be under way or held at once.
        max_bytes: Encoded bytes that all workers may hold while they download or wait to decode.
        max_decoded: Bytes that decoding may take.
        large: Bytes from which a decoding is never done unasked.
        permit: Called with number and header of an image whose decoding takes more than a worker may use unasked. What it returns is
            entered before the decoding, which may wait for room or raise ImageError, and left when that is over or the worker has died.
        batch: Images in a batch of the model.
        slot_bytes: Least bytes of a slot: with a device that decodes, a file has to fit in.
    """

    def __init__(
        self,
        recipe: PreparationRecipe,
        *,
        workers: int,
        slots: int,
        max_bytes: int,
        max_decoded: int,
        large: int,
        permit: Permit,
        batch: int = 1,
        slot_bytes: int = 0,
    ) -> None:
        self.slots = slots
        self._recipe, self._count = recipe, workers
        self._permits = Permits(permit, self._fail)
        self._max_bytes = max(1, max_bytes // workers)
        self._allowance = max(0, min(max_decoded // (ALLOWED_PART * workers), large - 1))
        step = recipe.download_step
        self._downloads = math.ceil((step.concurrency if step is not None and step.concurrency else DOWNLOADS) / workers)
        self._side = recipe.preprocess.size if recipe.preprocess is not None else 0
        self._batch = batch
        self._slot_bytes = max(self._side**2 * BANDS, slot_bytes if self._side else 0)
        self._reader = Reader(recipe, self._slot_bytes)
        self._most = most_bytes(recipe)
        self._uses_device, self._handed_to_device = False, 0.0
        self._free = Slots(slots)
        self._entries: dict[int, Entry] = {}
        self._order = 0
        self._remote = False
        self._waiting: deque[Entry] = deque()
        self._again: list[Entry] = []
        self._done: list[Prepared] = []
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._workers: dict[int, WorkerHandle] = {}
        self._starting: set[asyncio.Task[None]] = set()
        self._stillborn = 0
        self._retired = 0.0
        self._failure: Exception | None = None
        self._over = False
        self.pixels: np.ndarray | None = None
        """All slots: uint8, shape (slots, size, size, 3); None if no model's input is made."""
        self._files: np.ndarray | None = None
        self.arena: SharedMemory | None = None
        """The memory that they are in."""

    async def __aenter__(self) -> Self:
        """Begins to start the workers, and does not wait for them."""
        self._board_memory = SharedMemory.create("imagejob-board", Board.size(self._count))
        self._board = Board(self._board_memory, self._count)
        self._board.device = None
        if self._side:
            import numpy as np  # noqa: PLC0415  a pipeline without a model does without

            self.arena = SharedMemory.create("imagejob-pixels", self.slots * self._slot_bytes)
            shape = (self.slots, self._side, self._side, BANDS)
            strides = (self._slot_bytes, self._side * BANDS, BANDS, 1)
            self.pixels = np.ndarray(shape, np.uint8, self.arena.memory, strides=strides)
            self._files = np.ndarray((self.slots, self._slot_bytes), np.uint8, self.arena.memory)
        for index in range(self._count):
            self._board.clear(index)  # nothing but zeros would mean that it has been at the first image since the machine started
            self._start(index, ())
        self._watching = asyncio.get_running_loop().create_task(watch(self._recipe, self._board, self._workers))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Drops what is under way; all workers have ended afterwards."""
        self._over = True
        self._news.set()
        self._room.set()
        self._watching.cancel()
        workers = list(self._workers.values())
        for worker in workers:
            worker.close()
        if self._starting:
            await asyncio.wait(self._starting, timeout=_ENDING_SECONDS)
        if not await _all_ended(workers):
            for worker in workers:
                worker.kill()
            await _all_ended(workers)
        for worker in workers:
            worker.give_up()
        await self._permits.end()
        self._board_memory.close()
        arena, self.arena, self.pixels, self._files = self.arena, None, None, None
        if arena is not None:
            arena.close()

    @property
    def free(self) -> int:
        """Slots that are free now."""
        return self._free.free

    @property
    def busy_seconds(self) -> float:
        """CPU time of all workers so far."""
        return self._retired + sum(worker.seconds for worker in self._workers.values())

    async def wait_free(self) -> int:
        """Waits until at least one slot is free, and tells how many are; 0 when the pool has ended.

        Raises:
            RunnerError: Workers cannot be started.
            Exception: What `permit` raised besides ImageError.
        """
        while not self._over:
            self._check()
            if self.free:
                return self.free
            self._room.clear()
            await self._room.wait()
        return 0

    def submit(self, requests: Sequence[Request]) -> None:
        """Takes a slot for each image, side by side where possible, and hands the images on. Never waits.

        Raises:
            ValueError: There are more than free slots, or a number is taken or negative.
        """
        numbers = [request.number for request in requests]
        if len(set(numbers)) < len(numbers) or min(numbers, default=0) < 0 or not self._entries.keys().isdisjoint(numbers):
            raise ValueError("each number must be unique among the images in the pool, and not negative")
        for request, slot in zip(requests, self._free.take(len(requests)), strict=True):
            entry = Entry(request, self._order, slot)
            self._order += 1
            self._entries[request.number] = entry
            self._waiting.append(entry)
            self._remote = self._remote or (request.data is None and is_remote(request.url))
        self._dispatch()

    async def take(self) -> list[Prepared]:
        """Waits until some images are done, and returns all that are; none only after the pool has ended.

        Raises:
            RunnerError: Workers cannot be started.
            Exception: What `permit` raised besides ImageError.
        """
        while not self._done and not self._over:
            self._check()
            self._news.clear()
            await self._news.wait()
        done, self._done = self._done, []
        return done

    def release(self, numbers: Iterable[int]) -> None:
        """Frees the slots of images that were taken, whose arrays must not be used any more.

        Raises:
            KeyError: There is no such image.
        """
        entries = [self._entries.pop(number) for number in numbers]
        self._free.give_back([entry.slot for entry in entries])
        self._room.set()
        if done := sum(entry.device_seconds for entry in entries):
            self._hand_to_device(-done)

    def use_device(self) -> None:
        """A device decodes JPEGs, too: from now on those that it decodes sooner come out as files."""
        self._uses_device = True
        self._board.device = 0.0

    def _hand_to_device(self, seconds: float) -> None:
        self._handed_to_device += seconds
        self._board.device = self._handed_to_device

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._news.set()
        self._room.set()

    # Workers

    def _start(self, index: int, suspects: Sequence[Entry]) -> None:
        if self._over:
            return
        task = asyncio.get_running_loop().create_task(self._started(index, suspects))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _started(self, index: int, suspects: Sequence[Entry]) -> None:
        arena = self._slot_bytes * self.slots
        orders = Orders(
            index, self._count, arena, self._slot_bytes, self._batch, self._recipe, self._downloads, self._max_bytes, self._allowance
        )
        files = [self._board_memory.descriptor, *([self.arena.descriptor] if self.arena is not None else [])]
        try:
            started, connection = await in_daemon(lambda: self._start_process(orders, files))
        except (OSError, EOFError) as error:
            self._fail(RunnerError(f"a process that decodes images cannot be started: {error or type(error).__name__}"))
            return
        worker = WorkerHandle(index, started, connection, suspects, most=self._most, on_message=self._on_message, on_exit=self._on_exit)
        self._workers[index] = worker
        if self._over:
            worker.close()
            await _all_ended([worker])
            worker.give_up()
        else:
            self._dispatch()

    def _start_process(self, orders: Orders, files: Sequence[int]) -> tuple[processes.Started, socket.socket]:
        """Called on a thread, which may outlast the pool."""
        started, connection = processes.start(orders, files)
        if self._over:
            # Nobody may be waiting for it any more. Without its socket it ends.
            connection.close()
            os.close(started.status)
            raise EOFError("the pool has ended")
        return started, connection

    def _on_message(self, worker: WorkerHandle, value: Any, payload: bytes | bytearray) -> None:  # noqa: ANN401  anything at all
        match value:
            case ["done", float(seconds), [*results]]:
                worker.seconds = max(worker.seconds, min(seconds, MOST_SECONDS))
                place = 0
                for result in results:
                    place += self._on_result(worker, result, memoryview(payload)[place:])
            case ["ask", int(number), *probe]:
                self._on_ask(worker, number, read_probe(probe))
            case ["pause", int(number)]:
                self._on_pause(worker, number)
            case ["ready"]:
                worker.ready = True
                self._stillborn = 0
            case _:
                raise WireError("no such message")
        self._dispatch()

    def _on_result(self, worker: WorkerHandle, value: Any, payload: memoryview) -> int:  # noqa: ANN401  anything at all
        prepared, used = self._reader.read(value, payload)
        entry = worker.board.get(prepared.number)
        if entry is None:
            raise WireError("an image that was not handed out")
        if prepared.header is not None and not self._uses_device:
            raise WireError("a file, and no device decodes")
        self._end(entry, prepared)
        worker.take_off(prepared.number)
        return used

    def _end(self, entry: Entry, prepared: Prepared) -> None:
        prepared.slot = entry.slot
        if prepared.header is not None and self._files is not None:
            prepared.encoded = self._files[entry.slot, : prepared.provenance["inputBytes"]]
            entry.device_seconds = cost(prepared.header.width, prepared.header.height, None).gpu
            self._hand_to_device(entry.device_seconds)
        elif self.pixels is not None and prepared.error is None:
            prepared.array = self.pixels[entry.slot]
        if entry.request.data is not None:  # it was kept for another attempt
            entry.request = Request(prepared.number, entry.request.url)
        if entry.over is not None:
            entry.over.set()
        if entry.permit is None or entry.permit.done():
            self._tell(prepared)
        else:
            # Whoever gave the permit may still have to put something away that belongs to this image.
            entry.permit.add_done_callback(lambda _: self._tell(prepared))

    def _tell(self, prepared: Prepared) -> None:
        self._done.append(prepared)
        self._news.set()

    def _on_ask(self, worker: WorkerHandle, number: int, probe: Probe) -> None:
        entry = worker.board.get(number)
        # Who was given room may ask again only after a pause.
        if entry is None or entry.over is not None:
            raise WireError("an image that was not handed out")
        worker.set_aside(entry)
        self._permits.ask(worker, entry, probe)

    def _on_pause(self, worker: WorkerHandle, number: int) -> None:
        entry = worker.board.get(number)
        if entry is None or not entry.granted:
            raise WireError("an image that was given no room")
        self._permits.let_go(entry)

    def _on_exit(self, worker: WorkerHandle, status: int | None) -> None:
        self._retired += worker.seconds
        worker.seconds = 0.0
        if self._workers.get(worker.index) is worker:
            del self._workers[worker.index]
        if self._over:
            return
        standing = self._board.standing(worker.index)
        self._board.clear(worker.index)
        if not worker.ready:
            self._stillborn += 1
            if self._stillborn >= STILLBORN:
                self._fail(RunnerError("the processes that decode images end as soon as they start; see what they printed"))
                return
        culprit = worker.board.get(standing.number) if standing is not None else None
        step = standing.step if standing is not None and culprit is not None else DECODE
        if culprit is None:
            culprit = worker.suspect
        suspects = list(worker.suspects)
        for entry in worker.board.values():
            entry.unit = -1
            self._permits.let_go(entry)
            if entry is culprit:
                if self._may_try_again(entry, step, worker, status):
                    suspects.insert(0, entry)
            elif culprit is None and entry.losses >= MOST_LOSSES:
                suspects.append(entry)
            else:
                entry.losses += culprit is None
                self._again.append(entry)
        self._again.sort(key=lambda entry: entry.order)
        # What ends workers at once, as want of memory may, may be over soon.
        asyncio.get_running_loop().call_later(_PAUSE_SECONDS * self._stillborn, self._start, worker.index, suspects)
        self._dispatch()

    def _may_try_again(self, entry: Entry, number: int, worker: WorkerHandle, status: int | None) -> bool:
        """Counts an attempt that ended a worker; the image fails if it was the last."""
        step = self._recipe.download_step if number == DOWNLOAD else self._recipe.decode_step
        assert step is not None  # noqa: S101  nothing is downloaded without one
        entry.used[number] += 1
        attempts = entry.used[number]
        if attempts <= step.retries.limit:
            return True
        error = timeout_error(step) if worker.overdue else decoder_died(attempts, status, senseless=worker.senseless)
        timings = {step.name: float(step.timeout_seconds or 0) * attempts} if worker.overdue else {}
        self._end(entry, Prepared(entry.request.number, error, attempts, {}, timings, None, None, -1))
        return False

    # Handing out

    def _dispatch(self) -> None:
        workers = list(self._workers.values())
        if not workers or self._over:
            return
        for worker in workers:
            worker.test_next()
        while self._again:
            # What a worker took with it when it ended is older than all that waits, and must not wait for what is younger.
            worker = min(workers, key=lambda worker: (worker.tests, worker.load))
            unit, self._again = self._again[:UNIT], self._again[UNIT:]
            worker.hand_out(unit)
        at_once = self._downloads if self._remote else 0
        while self._waiting:
            worker = min(workers, key=lambda worker: (not worker.room(at_once), worker.load))
            room = worker.room(at_once)
            if not room:
                return
            # Units get smaller when little waits, so that all workers end about together.
            fair = math.ceil(len(self._waiting) / (2 * self._count))
            worker.hand_out([self._waiting.popleft() for _ in range(min(room, UNIT, fair))])


async def _all_ended(workers: Sequence[WorkerHandle]) -> bool:
    try:
        async with asyncio.timeout(_ENDING_SECONDS):
            for worker in workers:
                await worker.ended.wait()
    except TimeoutError:
        return False
    return True
