"""Workers that die, hang, or say what makes no sense."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import RunnerError
from imagejob_runner.preparation import watch
from imagejob_runner.preparation.entry import Entry
from imagejob_runner.preparation.messages import Prepared, Request
from tests.tools.photos import encoded, opened
from tests.unit.preparation.workshop import (
    HarmfulRecipe,
    StillbornRecipe,
    a_pool,
    a_recipe,
    a_site,
    gone,
    parent_of,
    prepared,
    taken,
    until,
    worker_pids,
)

JPEG = encoded(opened("china.jpg").resize((64, 48)), "JPEG")


def failure(one: Prepared) -> tuple[str, int, bool]:
    assert one.error is not None
    return one.error.code, one.attempts, one.error.retryable


def amid(harm: str, count: int = 40) -> list[Request]:
    """Images of which the fifth does harm."""
    return [Request(number, f"made://harm-{harm}" if number == 5 else "made://good", JPEG) for number in range(count)]


async def test_an_image_that_ends_its_worker_fails_alone_after_its_retries() -> None:
    async with a_pool(a_recipe(made=HarmfulRecipe), workers=2) as pool:
        found = await prepared(pool, amid("segfault"))
        assert failure(found[5]) == (ErrorCode.DECODER_DIED, 3, False)
        assert found[5].error is not None
        assert "(signal 11), 3 times" in found[5].error.message
        others = [one for number, one in found.items() if number != 5]
        assert len(others) == 39
        assert all(one.error is None and one.attempts == 1 for one in others)


async def test_a_killed_one_is_told_that_memory_may_have_run_out() -> None:
    async with a_pool(a_recipe(made=HarmfulRecipe, decode={"retries": {"limit": 0}})) as pool:
        found = await prepared(pool, amid("memory", 8))
        assert failure(found[5]) == (ErrorCode.DECODER_DIED, 1, False)
        assert found[5].error is not None
        assert "memory may have run out" in found[5].error.message


async def test_a_worker_that_does_not_move_is_replaced_and_its_image_has_timed_out() -> None:
    recipe = a_recipe(made=HarmfulRecipe, decode={"timeout": "200ms", "retries": {"limit": 1}})
    async with a_pool(recipe) as pool:
        found = await prepared(pool, amid("endless", 12))
        assert failure(found[5]) == (ErrorCode.TIMEOUT, 2, True)
        assert found[5].error is not None
        assert found[5].error.message == "step look took longer than its timeout of 0.2 s"
        assert all(one.error is None for number, one in found.items() if number != 5)


async def test_a_worker_that_has_only_begun_to_start_is_at_nothing() -> None:
    async with a_pool(workers=2) as pool:
        assert [pool._board.standing(index) for index in range(2)] == [None, None]


async def test_a_worker_that_does_not_say_what_it_is_at_is_replaced_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "GRACE_SECONDS", 0.2)
    once = {"timeout": "100ms", "retries": {"limit": 0}}
    async with a_pool(a_recipe(made=HarmfulRecipe, download=once, decode=once)) as pool:
        found = await prepared(pool, amid("mute", 6))
        assert failure(found[5]) == (ErrorCode.TIMEOUT, 1, True)
        assert [str(one.error) for number, one in found.items() if number != 5] == ["None"] * 5


async def test_what_is_done_comes_back_though_the_next_one_does_not_end() -> None:
    async with a_pool(a_recipe(made=HarmfulRecipe)) as pool:
        pool.submit(amid("endless", 12))
        assert set(await taken(pool, 5)) == set(range(5))
        pids, begun = worker_pids(pool), asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun < 2
    assert all(map(gone, pids))


async def test_a_defect_costs_one_image() -> None:
    async with a_pool(a_recipe(made=HarmfulRecipe)) as pool:
        found = await prepared(pool, amid("defect", 8))
        assert failure(found[5]) == (ErrorCode.INTERNAL, 1, False)
        assert sum(one.error is None for one in found.values()) == 7


@pytest.mark.parametrize("harm", ["nonsense", "stranger"])
async def test_a_worker_that_has_been_taken_over_is_ended(harm: str) -> None:
    async with a_pool(a_recipe(made=HarmfulRecipe, decode={"retries": {"limit": 1}})) as pool:
        found = await prepared(pool, amid(harm, 8))
        assert failure(found[5])[:2] == (ErrorCode.DECODER_DIED, 2)
        assert found[5].error is not None
        assert "made no sense" in found[5].error.message
        assert all(one.error is None for number, one in found.items() if number != 5)


async def test_what_the_runner_cannot_take_in_costs_its_image_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_pool(a_recipe(decode={"retries": {"limit": 1}})) as pool:
        end = pool._end

        def without_memory(entry: Entry, one: Prepared) -> None:
            if one.number == 5 and one.error is None:
                raise MemoryError
            end(entry, one)

        monkeypatch.setattr(pool, "_end", without_memory)
        pool.submit([Request(number, "made://good", JPEG) for number in range(8)])
        found = await taken(pool, 8)
        assert failure(found[5])[0] == ErrorCode.DECODER_DIED
        assert all(one.error is None for number, one in found.items() if number != 5)
    assert "MemoryError" in capsys.readouterr().err


async def test_a_signal_to_all_processes_is_left_to_the_runner() -> None:
    async with a_pool() as pool:
        await prepared(pool, [Request(0, "made://good", JPEG)])
        (pid,) = worker_pids(pool)
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(parent_of(pid), number)
            os.kill(pid, number)
        found = await prepared(pool, [Request(number, "made://good", JPEG) for number in range(1, 40)])
        assert all(one.error is None for one in found.values())
        assert worker_pids(pool) == [pid]
        os.kill(pid, signal.SIGKILL)
        await until(lambda: worker_pids(pool) not in ([], [pid]))


async def test_a_process_that_has_ended_is_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_pool() as pool:
        await prepared(pool, [Request(0, "made://good", JPEG)])
        (worker,) = pool._workers.values()
        worker.kill()
        await asyncio.wait_for(worker.ended.wait(), 20)
        killed: list[int] = []
        with monkeypatch.context() as patch:
            patch.setattr(os, "kill", lambda pid, _: killed.append(pid))
            worker.kill()
        assert killed == []


async def test_what_a_killed_worker_had_on_board_is_done_again_at_no_charge() -> None:
    go = asyncio.Event()

    async def answer(_: str) -> tuple[int, dict[str, str], bytes]:
        await go.wait()
        return 200, {}, JPEG

    async with a_site(answer) as site, a_pool(a_recipe(download={"concurrency": 8})) as pool:
        pool.submit([Request(number, f"{site.url}/{number}") for number in range(20)])
        for asked in (8, 16):
            await until(lambda asked=asked: len(site.asked) == asked)
            (pid,) = worker_pids(pool)
            os.kill(pid, signal.SIGKILL)
            await until(lambda pid=pid: worker_pids(pool) not in ([], [pid]))
        go.set()
        found = await taken(pool, 20)
        assert all(one.error is None and one.attempts == 1 for one in found.values())


async def test_workers_that_end_before_they_say_a_word_end_the_pool() -> None:
    async with a_pool(a_recipe(made=StillbornRecipe)) as pool:
        pool.submit([Request(0, "made://good", JPEG)])
        with pytest.raises(RunnerError, match="as soon as they start"):
            async with asyncio.timeout(60):
                await pool.take()


async def test_workers_end_with_a_runner_that_is_killed_though_one_is_in_an_endless_decoding(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import asyncio
        from tests.unit.preparation.workshop import HarmfulRecipe, a_pool, a_recipe, a_site, until, worker_pids
        from imagejob_runner.preparation.messages import Request

        async def never(_):
            await asyncio.Event().wait()

        async def main():
            async with a_site(never) as site, a_pool(a_recipe(made=HarmfulRecipe), workers=2) as pool:
                pool.submit([Request(number, f"{site.url}/{number}") for number in range(8)])
                await until(lambda: len(site.asked) == 8)
                pool.submit([Request(8, "made://harm-endless", b"x")])
                await until(lambda: pool._board.standing(0) or pool._board.standing(1))
                print(*worker_pids(pool), flush=True)
                await asyncio.Event().wait()

        asyncio.run(main())
    """)
    file = tmp_path / "runner.py"
    file.write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    runner = subprocess.Popen([sys.executable, file], stdout=subprocess.PIPE, text=True, env=environment)  # noqa: ASYNC220  killed below
    assert runner.stdout is not None
    try:
        pids = [int(pid) for pid in (await asyncio.to_thread(runner.stdout.readline)).split()]
    finally:
        runner.kill()
        runner.wait()
        runner.stdout.close()
    assert len(pids) == 2
    await until(lambda: all(map(gone, pids)))


async def test_the_workers_of_a_forked_runner_come_from_the_same_server(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import multiprocessing
        import os
        from tests.unit.preparation.workshop import tell_parents

        if __name__ == "__main__":
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["imagejob_runner.preparation.worker"])
            ours, theirs = context.Pipe()
            runner = context.Process(target=tell_parents, args=(theirs,), daemon=True)
            runner.start()
            theirs.close()
            print(*ours.recv())
            runner.join()
    """)
    file = tmp_path / "supervisor.py"
    file.write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    told = await asyncio.to_thread(subprocess.check_output, [sys.executable, file], text=True, env=environment, timeout=30)
    server, parent, preloaded = told.split()
    assert (parent, preloaded) == (server, "True")
