"""Runs a command under a slot: waits for it, watches over it, and gives it back.

Two dangers shape this. A slot may be lost while the command runs, when this process could not renew it for two thirds of the lease
duration: then the last third is the time in which the command must end, before somebody else is granted the slot. And this process may be
killed, which frees the slot at once: so the command dies with it (`tether`).
"""

import asyncio
import logging
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagejob_cli import tether
from imagejob_cli.constants import CANNOT_EXECUTE, COMMAND_NOT_FOUND, SIGNAL_EXIT_BASE, WAIT_NOTICE_SECONDS
from imagejob_cli.passing import PassedSignals
from imagejob_cli.wording import printable, span
from imagejob_runner.constants import ExitCode
from nodelease import AcquireTimeoutError, Holding, LeaseClient, LimitNotFoundError
from nodelease.kubernetes.environment import is_member

_LONGEST_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run, and under what.

    Attributes:
        limit: Name of the limit.
        command: The command and its arguments.
        slots: Slots to hold.
        priority: Place in the queue.
        timeout: Seconds to wait for the slot; None waits for ever.
        kill_when_lost: End the command when the slot is lost; else only say so.
    """

    limit: str
    command: tuple[str, ...]
    slots: int = 1
    priority: int = 0
    timeout: float | None = None
    kill_when_lost: bool = True


async def hold_and_run(order: Order) -> int:
    """Runs an order's command and returns its exit code, or another one that `imagejob lease exec --help` lists.

    Raises:
        LeaseError: The slot cannot be had.
    """
    problem = _why_not(order.command[0])
    if problem is not None:
        return problem
    logging.getLogger("nodelease").addHandler(logging.NullHandler())  # what it warns of is said here, in other words
    client = LeaseClient.kubernetes() if is_member(os.environ) else LeaseClient.local(_who(order.command[0]))
    try:
        with PassedSignals() as signals:
            try:
                holding = await _acquired(client, order, signals)
            except (AcquireTimeoutError, LimitNotFoundError) as error:  # both at the end of the timeout only
                _say(str(error))
                return ExitCode.TIMEOUT
            if holding is None:
                return SIGNAL_EXIT_BASE + await signals.ending
            return await _run(order, holding, signals)
    finally:
        await asyncio.to_thread(client.close)


def _why_not(program: str) -> int | None:
    """The exit code of a command that cannot be started: known before anybody waits for it."""
    if shutil.which(program) is not None:
        return None
    try:
        there = Path(program).exists()
    except OSError as error:  # in a folder that may not be looked into, or too long for a name
        _say(f"{program}: {error.strerror}")
        return CANNOT_EXECUTE
    _say(f"{program}: cannot be executed" if there else f"{program}: no such command")
    return CANNOT_EXECUTE if there else COMMAND_NOT_FOUND


def _who(program: str) -> str:
    """What the queue shows on one machine: the command and this process. In a cluster it shows the pod."""
    return f"exec/{printable(Path(program).name)[:200].replace(',', '_')}-{os.getpid()}"


async def _acquired(client: LeaseClient, order: Order, signals: PassedSignals) -> Holding | None:
    """The slots; None if a signal ended the wait."""
    acquire = asyncio.ensure_future(client.acquire(order.limit, slots=order.slots, priority=order.priority, timeout=order.timeout))
    either: set[asyncio.Future[Any]] = {acquire, signals.ending}
    started = asyncio.get_running_loop().time()
    try:
        done, _ = await asyncio.wait(either, timeout=WAIT_NOTICE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        waited = not done
        if waited:
            _say(f"waiting: {await _waiting_reason(client, order.limit)}")
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if acquire.done():
            holding = acquire.result()
            if waited:
                _say(f"has {order.limit} after {span(asyncio.get_running_loop().time() - started)}")
            return holding
    finally:
        if not acquire.done():
            acquire.cancel()
            await asyncio.gather(acquire, return_exceptions=True)
    return None


async def _waiting_reason(client: LeaseClient, limit: str) -> str:
    reason = client.waiting_reason(limit) or f"limit {limit!r} is in use"
    if is_member(os.environ) or limit in await asyncio.to_thread(client.limits):
        return reason
    return f"{reason}, or: imagejob lease define {limit} --slots N"


async def _run(order: Order, holding: Holding, signals: PassedSignals) -> int:
    environment = os.environ | {
        "IMAGEJOB_LIMIT": order.limit,
        "IMAGEJOB_SLOTS": ",".join(map(str, holding.slots)),
        "IMAGEJOB_FENCE": str(holding.fence),
    }
    # -I and -S: nothing of the user's Python setup matters to the few lines before the command takes over the process.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), *order.command, env=environment
    )
    signals.pass_to(process)
    ended = asyncio.ensure_future(process.wait())
    lost = asyncio.ensure_future(_until_lost(holding))
    try:
        await asyncio.wait({ended, lost}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            await _after_loss(order, process, ended, grace=holding.duration_seconds / 3)
        code = await ended
    finally:
        lost.cancel()
    return SIGNAL_EXIT_BASE - code if code < 0 else code


async def _until_lost(holding: Holding) -> None:
    # Looking now and then is enough: a third of the duration is left when it is lost.
    while holding.valid:  # noqa: ASYNC110  a loss by the clock has no event
        await asyncio.sleep(min(_LONGEST_LOOK_SECONDS, holding.duration_seconds / 30))


async def _after_loss(order: Order, process: asyncio.subprocess.Process, ended: asyncio.Future[int], grace: float) -> None:
    if not order.kill_when_lost:
        _say(f"the slot of {order.limit} is lost: somebody else may be granted it while the command goes on")
        return
    _say(f"the slot of {order.limit} is lost: ending the command, which has {span(grace)}")
    process.terminate()
    await asyncio.wait({ended}, timeout=grace)
    if not ended.done():
        process.kill()


def _say(text: str) -> None:
    print(f"imagejob: {printable(text)}", file=sys.stderr, flush=True)
