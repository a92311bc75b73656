"""Pools over small pictures, web servers that the test controls, and workers that come to harm."""

import asyncio
import contextlib
import gc
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from imagejob_api.pipeline import Decode, Download, Operation, Preprocess, Step, Transform
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError
from imagejob_runner.images.probe import Probe
from imagejob_runner.preparation.messages import Prepared, Request
from imagejob_runner.preparation.pool import PreparationPool
from imagejob_runner.preparation.recipe import PreparationRecipe

QUICK = {"limit": 2, "backoff": "1ms", "maxBackoff": "2ms"}
SIDE = 32


def a_step(name: str, **fields: Any) -> Step:  # noqa: ANN401  fields of a step
    return Step.model_validate({"name": name, "retries": QUICK, **fields})


def a_recipe(
    *,
    download: dict[str, Any] | None = None,
    decode: dict[str, Any] | None = None,
    operations: Sequence[Operation] = (),
    model: bool = True,
    keep_image: bool = False,
    settings: Decode | None = None,
    made: type[PreparationRecipe] = PreparationRecipe,
) -> PreparationRecipe:
    networks = Download(allowed_networks=["127.0.0.0/8"])
    return made(
        download=networks,
        download_step=a_step("get", download=networks, **(download or {})),
        decode=settings or Decode(),
        operations=tuple(operations),
        preprocess=Preprocess(size=SIDE) if model else None,
        keep_image=keep_image,
        decode_step=a_step("look", transform=Transform(), **(decode or {})),
    )


@contextlib.asynccontextmanager
async def freely(number: int, probe: Probe) -> AsyncIterator[None]:
    del number, probe
    yield


def a_pool(recipe: PreparationRecipe | None = None, **bounds: Any) -> PreparationPool:  # noqa: ANN401  arguments of a pool
    usual = {"workers": 1, "slots": 64, "max_bytes": 1 << 26, "max_decoded": 1 << 28, "large": 1 << 28, "permit": freely}
    return PreparationPool(recipe or a_recipe(), **{**usual, **bounds})


async def prepared(pool: PreparationPool, requests: Sequence[Request]) -> dict[int, Prepared]:
    """Submits, and takes until all have ended."""
    pool.submit(requests)
    return await taken(pool, len(requests))


async def taken(pool: PreparationPool, count: int) -> dict[int, Prepared]:
    """Takes until so many have ended."""
    found: dict[int, Prepared] = {}
    async with asyncio.timeout(30):
        while len(found) < count:
            found |= {one.number: one for one in await pool.take()}
    return found


async def until(condition: Callable[[], object], within: float = 20) -> None:
    """Lets others run until a condition is true."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  conditions of all kinds, not all of which tell when they change
            await asyncio.sleep(0.002)


Answer = Callable[[str], Awaitable[tuple[int, dict[str, str], bytes]]]


@dataclass
class Site:
    """A web server of this machine."""

    url: str
    asked: list[str] = field(default_factory=list)
    """Paths in the order of the requests."""


@contextlib.asynccontextmanager
async def a_site(answer: Answer) -> AsyncIterator[Site]:
    """Answers each request for a path with the status, headers and body that `answer` gives."""
    site = Site("")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
            site.asked.append(path)
            status, headers, body = await answer(path)
            lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.3", 0)
    site.url = f"http://127.0.0.3:{server.sockets[0].getsockname()[1]}"
    try:
        yield site
    finally:
        server.close()


def worker_pids(pool: PreparationPool) -> list[int]:
    return [worker.pid for worker in pool._workers.values()]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123  a kernel file
        return file.read().rpartition(")")[2].split()[0] == "Z"


HARM = re.compile(r"harm-([a-z]+)")


class HarmfulRecipe(PreparationRecipe):
    """Unpickled in a worker, it lets images whose URL says so do harm while they are decoded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _arm, (PreparationRecipe(**vars(self)),)


class StillbornRecipe(PreparationRecipe):
    """Ends the worker that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (3,)


def _arm(recipe: PreparationRecipe) -> PreparationRecipe:
    from imagejob_runner.preparation import preparer, wire  # noqa: PLC0415  in the worker

    decode = preparer.Preparer.decode

    def harmed(self: preparer.Preparer, task: preparer.Task) -> None:
        if "harm-mute" in task.url:
            _be_mute()
        if "harm-twice" in task.url and task.permitted and task.attempts == 1:
            raise ImageError(ErrorCode.OUT_OF_MEMORY, "not now", retryable=True)
        match = HARM.search(task.url)
        match match and match[1]:
            case "segfault":
                signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # pytest's fault handler would write a page
                os.kill(os.getpid(), signal.SIGSEGV)
            case "memory":
                os.kill(os.getpid(), signal.SIGKILL)
            case "endless":
                time.sleep(1000)
            case "defect":
                raise RuntimeError("a defect")
            case "nonsense":
                _send([b"\xff" * 64])
            case "stranger":
                _send(wire.framed(["done", 1.0, [[4711, None, 1, None, None, None, None, 0.1, None]]]))
        decode(self, task)

    preparer.Preparer.decode = harmed  # type: ignore[method-assign]  in this process only
    return recipe


def _be_mute() -> None:
    """Does not end, and does not say at what."""
    from imagejob_runner.preparation.board import Entry  # noqa: PLC0415  in the worker

    for entry in gc.get_objects():
        if isinstance(entry, Entry):
            entry.rest()
    time.sleep(1000)


def _send(blocks: Sequence[bytes]) -> None:
    """Sends something to the runner past all that a worker does."""
    from multiprocessing import forkserver  # noqa: PLC0415  in the worker

    connection = socket.socket(fileno=os.dup((forkserver.get_inherited_fds() or [])[0]))
    for block in blocks:
        connection.sendall(block)


def parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123  a kernel file
        return int(file.read().rpartition(")")[2].split()[1])


def tell_parents(connection: Connection) -> None:
    """A runner that was forked from a server: tells its own parent, that of its worker, and whether that found its code loaded."""

    async def main() -> None:
        async with a_pool(a_recipe(made=TellingRecipe)) as pool:
            found = await prepared(pool, [Request(0, "made://harm-tell", b"x")])
            (worker,) = worker_pids(pool)
            assert found[0].error is not None
            connection.send((os.getppid(), parent_of(worker), found[0].error.message))

    asyncio.run(main())


class TellingRecipe(PreparationRecipe):
    """Unpickled in a worker, it lets all images fail with whether the worker's code was loaded before."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _tell, (PreparationRecipe(**vars(self)),)


def _tell(recipe: PreparationRecipe) -> PreparationRecipe:
    loaded = "imagejob_runner.preparation.worker" in sys.modules
    from imagejob_runner.preparation import preparer  # noqa: PLC0415  in the worker

    def told(_: preparer.Preparer, __: preparer.Task) -> None:
        raise ImageError(ErrorCode.INTERNAL, str(loaded))

    preparer.Preparer.decode = told  # type: ignore[method-assign]  in this process only
    return recipe
