"""The local store with real processes, which are killed, stopped and left alone."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from nodelease import (
    AcquireTimeoutError,
    ClientClosedError,
    InvalidRequestError,
    LeaseClient,
    LeaseLostError,
    LimitNotFoundError,
    LocalDirectoryError,
    NodeLimit,
    StoreUnavailableError,
)
from nodelease import limit as limit_module
from nodelease.clock import now
from nodelease.local.directory import local_directory
from nodelease.local.files import StateFiles
from nodelease.local.service import LeaseServer
from nodelease.local.wire import document
from nodelease.state import Holder, LeaseState, Waiter
from nodelease.store import Snapshot

WORKER = Path(__file__).with_name("worker.py")


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = now() + seconds
    while not condition():
        assert now() < deadline, "the condition did not come true in time"
        time.sleep(0.005)


def servers(directory: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cmdline()[-2:] == ["nodelease.local.server", str(directory)]:
                found.append(process)
    return found


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "run"
    path.mkdir(mode=0o700)
    yield path
    for process in servers(path):
        process.kill()


@pytest.fixture
def client(directory: Path) -> Iterator[LeaseClient]:
    with LeaseClient.local("tests/client", directory) as client:
        yield client


class Worker:
    """A process of `worker.py`."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        command = [sys.executable, str(WORKER), str(directory), *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> list[str]:
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()

    def end(self) -> int:
        with self.process as process:
            return process.wait()

    def kill(self) -> None:
        self.process.kill()
        self.end()


@pytest.fixture
def start(directory: Path) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def begin(*arguments: str) -> Worker:
        workers.append(Worker(directory, *arguments))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.kill()


# What users do.


async def test_holdings_go_from_hand_to_hand(client: LeaseClient, directory: Path) -> None:
    client.define("gpu", slots=1)
    with LeaseClient.local("tests/other", directory) as other:
        first = await client.acquire("gpu")
        assert not first.waited
        begun = first.fence
        assert not first.contended
        assert await first.pass_on() is first
        waiting = asyncio.ensure_future(other.acquire("gpu"))
        await asyncio.wait_for(first.wait_contended(), 5)
        passing = asyncio.ensure_future(first.pass_on())
        second = await waiting
        assert not first.valid
        assert second.waited
        assert second.fence == begun + 1
        assert second.asked_at < second.granted_at
        await asyncio.wait_for(second.wait_contended(), 5)
        await second.release()
        third = await passing
        assert third.fence == begun + 2
        assert third.valid
        assert (client.counters("gpu").writes, other.counters("gpu").writes) == (2, 2), "request, yield; request, release"
        with pytest.raises(LeaseLostError, match=rf"slots \(0,\) of limit 'gpu' \(fence {begun}\) are not held any more"):
            first.ensure_valid()
        third.ensure_valid()


async def test_one_client_serves_threads_and_event_loops(client: LeaseClient) -> None:
    client.define("gpu", slots=2)
    here = await client.acquire("gpu", slots=2)
    there: list[int] = []

    def in_a_thread() -> None:
        with NodeLimit("gpu", client=client) as holding:
            there.append(holding.fence)
        asyncio.run(in_another_loop())

    async def in_another_loop() -> None:
        async with NodeLimit("gpu", slots=2, client=client) as holding:
            there.append(holding.fence)

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    await asyncio.wait_for(here.wait_contended(), 5)
    await here.release()
    await asyncio.to_thread(thread.join)
    assert there == [here.fence + 1, here.fence + 2]


async def test_a_timeout_counts_the_queue_and_withdraws(client: LeaseClient) -> None:
    client.define("gpu", slots=1)
    holding = await client.acquire("gpu")
    begun = now()
    with pytest.raises(AcquireTimeoutError, match=r"no slot of limit 'gpu' within 0.1 s: limit 'gpu' is in use; place 1 of 1"):
        await client.acquire("gpu", timeout=0.1)
    assert 0.1 <= now() - begun < 1
    with pytest.raises(AcquireTimeoutError):
        client.acquire_blocking("gpu", timeout=0.01)
    until(lambda: not client.status("gpu").queue)
    assert holding.valid


async def test_cancelling_withdraws_and_gives_back_what_comes_too_late(client: LeaseClient) -> None:
    client.define("gpu", slots=1)
    holding = await client.acquire("gpu")
    waiting = asyncio.ensure_future(client.acquire("gpu"))
    await asyncio.wait_for(holding.wait_contended(), 5)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    until(lambda: not client.status("gpu").queue)
    late = asyncio.ensure_future(client.acquire("gpu"))
    await asyncio.sleep(0)
    await holding.release()
    until(lambda: bool(client.status("gpu").holders))  # granted, and this loop has not noticed yet
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    until(lambda: not client.status("gpu").holders)


async def test_priority_goes_first(client: LeaseClient) -> None:
    client.define("gpu", slots=1)
    holding = await client.acquire("gpu")
    order: list[int] = []

    async def take(priority: int) -> None:
        taken = await client.acquire("gpu", priority=priority)
        order.append(priority)
        await taken.release()

    tasks = []
    for place, priority in enumerate([0, 5, 1], 1):
        tasks.append(asyncio.ensure_future(take(priority)))
        await asyncio.sleep(0)
        until(lambda place=place: len(client.status("gpu").queue) == place)  # type: ignore[misc]
    await holding.release()
    await asyncio.gather(*tasks)
    assert order == [5, 1, 0]


def counted_from_nothing(state: LeaseState) -> LeaseState:
    return replace(state, transitions=state.grants, epoch=0)


def test_limits_are_made_changed_and_listed(client: LeaseClient, directory: Path) -> None:
    assert client.limits() == []
    with pytest.raises(LimitNotFoundError, match="limit 'gpu' does not exist here; known: none"):
        client.status("gpu")
    client.define("gpu", slots=2)
    client.define("disk.io", slots=1, lease_duration_seconds=5, active=False)
    client.define("gpu", slots=1)
    assert client.limits() == ["disk.io", "gpu"]
    assert counted_from_nothing(client.status("gpu")) == LeaseState(slots=1)
    assert counted_from_nothing(client.status("disk.io")) == LeaseState(slots=1, duration_seconds=5, active=False)
    with pytest.raises(LimitNotFoundError, match=r"no slot of limit 'gpux' within 0.05 s: limit 'gpux' does not exist"):
        client.acquire_blocking("gpux", timeout=0.05)
    client.close()
    (server,) = servers(directory)
    server.kill()
    server.wait(5)
    with LeaseClient.local("tests/later", directory) as later:
        assert later.limits() == ["disk.io", "gpu"], "they outlive the server"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda client: client.acquire_blocking("GPU"), "'GPU' is not the name of a limit"),
        (lambda client: client.acquire_blocking("../gpu"), "is not the name of a limit"),
        (lambda client: client.acquire_blocking("gpu", slots=0), "slots must be at least 1"),
        (lambda client: client.acquire_blocking("gpu", timeout=-1), "timeout not negative"),
        (lambda client: client.define("gpu", slots=-1), "slots must be at least 0"),
        (lambda client: LeaseClient.local("a,b"), "a name without commas"),  # noqa: ARG005  of one kind
        (lambda client: LeaseClient.local("a" * 321), "at most 320 characters"),  # noqa: ARG005  of one kind
    ],
)
def test_what_cannot_be_meant_is_refused(client: LeaseClient, call: Callable[[LeaseClient], object], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        call(client)


async def test_closing_releases_withdraws_and_refuses_more(client: LeaseClient, directory: Path) -> None:
    client.define("gpu", slots=1)
    other = LeaseClient.local("tests/other", directory)
    holding = await other.acquire("gpu")
    waiting = asyncio.ensure_future(other.acquire("gpu"))
    await asyncio.wait_for(holding.wait_contended(), 5)
    await asyncio.to_thread(other.close)
    with pytest.raises(ClientClosedError):
        await waiting
    assert not holding.valid
    assert client.status("gpu").ids == set()
    await holding.release()
    other.close()
    with pytest.raises(ClientClosedError):
        await other.acquire("gpu")


def test_the_default_client_of_a_process(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEJOB_RUNTIME_DIR", str(directory))
    with LeaseClient.local("tests/definer") as definer:
        definer.define("gpu", slots=1)
    with NodeLimit("gpu") as holding:
        assert holding.valid
    assert not holding.valid
    limit_module.default_client().close()
    limit_module._clients.clear()


def test_a_client_does_not_survive_a_fork(client: LeaseClient) -> None:
    client.define("gpu", slots=1)
    holding = client.acquire_blocking("gpu")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            client.acquire_blocking("gpu")
        except ClientClosedError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    assert b"was made before a fork; make one in each process" in os.read(reader, 1000)
    os.close(reader)
    assert holding.valid
    assert client.status("gpu").holders, "the child's end did not close the parent's connection"


# What befalls them.


def test_a_killed_holder_is_replaced_at_once(client: LeaseClient, start: Callable[..., Worker]) -> None:
    client.define("gpu", slots=1)
    victim = start("hold")
    assert victim.hear()[0] == "held"
    heir = start("hold")
    until(lambda: bool(client.status("gpu").queue))
    killed = now()
    victim.kill()
    assert float(heir.hear()[3]) - killed < 2


def test_a_killed_waiter_is_not_waited_for(client: LeaseClient, start: Callable[..., Worker]) -> None:
    client.define("gpu", slots=1)
    holding = client.acquire_blocking("gpu")
    start("hold")
    until(lambda: len(client.status("gpu").queue) == 1)
    start("hold")
    until(lambda: len(client.status("gpu").queue) == 2)
    first = client.status("gpu").queue[0].pod
    os.kill(int(first.removeprefix("worker-")), signal.SIGKILL)
    until(lambda: len(client.status("gpu").queue) == 1)
    holding.release_blocking()
    until(lambda: bool(client.status("gpu").holders))


def test_a_stopped_holder_expires_and_knows_it_afterwards(client: LeaseClient, start: Callable[..., Worker]) -> None:
    client.define("gpu", slots=1, lease_duration_seconds=1)
    victim = start("hold")
    assert victim.hear()[0] == "held"
    victim.process.send_signal(signal.SIGSTOP)
    begun = now()
    holding = client.acquire_blocking("gpu", timeout=10)
    assert 0.3 < now() - begun < 3
    victim.process.send_signal(signal.SIGCONT)
    victim.tell("valid?")
    assert victim.hear() == ["False"]
    victim.tell("release")
    assert victim.hear()[0] == "released"
    assert client.status("gpu").holder(holding.id) is not None, "its release did not take the slot from the next"


def test_a_stopped_waiter_renews_an_old_grant_before_it_uses_it(client: LeaseClient, start: Callable[..., Worker]) -> None:
    client.define("gpu", slots=1, lease_duration_seconds=3)
    holding = client.acquire_blocking("gpu")
    waiter = start("hold")
    until(lambda: bool(client.status("gpu").queue))
    waiter.process.send_signal(signal.SIGSTOP)
    holding.release_blocking()
    begun = now()
    until(lambda: now() - begun > 1.5)
    waiter.process.send_signal(signal.SIGCONT)
    assert waiter.hear()[0] == "held"
    assert client.status("gpu").holders[0].beat >= 1


def test_a_killed_server_comes_back_with_what_it_knew(client: LeaseClient, directory: Path, start: Callable[..., Worker]) -> None:
    client.define("gpu", slots=1)
    holding = client.acquire_blocking("gpu")
    waiters = [start("hold") for _ in range(3)]
    until(lambda: len(client.status("gpu").queue) == 3)
    before = client.status("gpu")
    (server,) = servers(directory)
    server.kill()
    server.wait(5)
    after = client.status("gpu")
    assert after.holders == before.holders
    assert after.queue == before.queue
    assert len(servers(directory)) == 1
    assert holding.valid
    holding.release_blocking()
    fences = []
    while waiters:
        (holder,) = until_one_holds(client)
        worker = next(worker for worker in waiters if holder.pod == f"worker-{worker.process.pid}")
        fences.append(int(worker.hear()[2]))
        worker.tell("release")
        assert worker.hear()[0] == "released"
        waiters.remove(worker)
    assert fences == [holding.fence + further for further in (1, 2, 3)]


def until_one_holds(client: LeaseClient) -> tuple[Holder, ...]:
    until(lambda: len(client.status("gpu").holders) == 1)
    return client.status("gpu").holders


def test_a_restarted_server_reaps_those_who_do_not_come_back(client: LeaseClient, directory: Path, start: Callable[..., Worker]) -> None:
    client.define("gpu", slots=1)
    victim = start("hold")
    _, _, fence, *_ = victim.hear()
    (server,) = servers(directory)
    server.suspend()
    victim.kill()
    server.kill()
    server.wait(5)
    begun = now()
    assert client.acquire_blocking("gpu", timeout=10).fence == int(fence) + 1
    assert now() - begun < 5


def test_a_restarted_server_waits_for_those_who_are_only_slow(client: LeaseClient, directory: Path, start: Callable[..., Worker]) -> None:
    client.define("gpu", slots=1)
    slow = start("hold")
    _, _, fence, *_ = slow.hear()
    slow.process.send_signal(signal.SIGSTOP)
    (server,) = servers(directory)
    server.kill()
    server.wait(5)
    with pytest.raises(AcquireTimeoutError):
        client.acquire_blocking("gpu", timeout=2.5)
    slow.process.send_signal(signal.SIGCONT)
    slow.tell("valid?")
    assert slow.hear() == ["True"]
    slow.tell("release")
    assert slow.hear()[0] == "released"
    assert client.acquire_blocking("gpu").fence == int(fence) + 1


@pytest.mark.parametrize("slots", [1, 2])
def test_mutual_exclusion_under_stress_and_kills(client: LeaseClient, directory: Path, start: Callable[..., Worker], slots: int) -> None:
    client.define("gpu", slots=slots)
    workers = [start("stress", "40") for _ in range(8)]
    until(lambda: client.status("gpu").grants > 60, 60)
    for _ in range(2):
        (server,) = until_server(directory)
        server.kill()
        server.wait(5)
        reached = client.status("gpu").grants
        until(lambda reached=reached: client.status("gpu").grants >= min(reached + 40, 320), 60)  # type: ignore[misc]
    for worker in workers:
        assert worker.hear()[0] == "done"
        assert worker.end() == 0
    assert client.status("gpu").grants >= 320
    assert client.status("gpu").ids == set()


def until_server(directory: Path) -> list[psutil.Process]:
    until(lambda: len(servers(directory)) == 1)
    return servers(directory)


def test_many_who_start_at_once_share_one_server(directory: Path) -> None:
    clients = [LeaseClient.local(f"tests/{number}", directory) for number in range(10)]
    threads = [threading.Thread(target=client.limits) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(servers(directory)) == 1
    for client in clients:
        client.close()
    until(lambda: not servers(directory), 15)


HELLO = b'{"id":1,"op":"hello","protocol":1,"prefix":"x"}\n'


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"[]\n",
        b'{"id": 1}\n',
        b'{"id": 1, "op": "read", "limit": "gpu"}\n',
        HELLO + b'{"id":2,"op":"read","limit":["gpu"]}\n',
        HELLO + b'{"id":2,"op":"destroy","limit":"gpu"}\n',
        b"x" * (2 << 20),
    ],
)
def test_garbage_ends_its_own_connection_only(client: LeaseClient, directory: Path, garbage: bytes) -> None:
    client.define("gpu", slots=1)
    holding = client.acquire_blocking("gpu")
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(5)
        stranger.connect(str(directory / "lease.sock"))
        with suppress(ConnectionError):
            stranger.sendall(garbage)
            while stranger.recv(1 << 16):
                pass
    assert client.status("gpu").holder(holding.id) is not None
    assert holding.valid


def test_a_malformed_write_is_refused(client: LeaseClient, directory: Path) -> None:
    client.define("gpu", slots=1)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(5)
        stranger.connect(str(directory / "lease.sock"))
        stranger.sendall(
            b'{"id":1,"op":"hello","protocol":2,"prefix":"x"}\n{"id":2,"op":"replace","limit":"gpu","expected":"1","lease":{}}\n'
        )
        answers = stranger.makefile("rb")
        answers.readline()
        assert b"MalformedLeaseError" in answers.readline()
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(5)
        stranger.connect(str(directory / "lease.sock"))
        stranger.sendall(b'{"id":1,"op":"hello","protocol":99,"prefix":"x"}\n')
        assert b"end the programs of the other version" in stranger.recv(1000)
    assert client.status("gpu").slots == 1


# Where it lives.


def test_the_directory_is_this_users_alone(directory: Path, tmp_path: Path, client: LeaseClient) -> None:
    client.limits()
    assert stat.S_IMODE((directory / "lease.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE(local_directory(tmp_path / "new").stat().st_mode) == 0o700
    with pytest.raises(LocalDirectoryError, match=r"has \d+ bytes, and the path of a Unix socket may have 107"):
        local_directory(tmp_path / ("x" * 100))
    directory.chmod(0o770)
    with pytest.raises(LocalDirectoryError, match="others may write to"):
        local_directory(directory)
    directory.chmod(0o700)
    (tmp_path / "link").symlink_to(directory)
    with pytest.raises(LocalDirectoryError, match="is a link"):
        local_directory(tmp_path / "link")
    (tmp_path / "file").touch()
    with pytest.raises(LocalDirectoryError, match="cannot make the directory"):
        local_directory(tmp_path / "file" / "below")


def test_the_default_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("IMAGEJOB_RUNTIME_DIR", raising=False)
    assert local_directory() == tmp_path / "imagejob"
    monkeypatch.setenv("IMAGEJOB_RUNTIME_DIR", str(tmp_path / "own"))
    assert local_directory() == tmp_path / "own"


def test_a_server_that_cannot_start_says_why(directory: Path) -> None:
    with LeaseClient.local("tests/client", directory) as client:
        directory.chmod(0o777)
        with pytest.raises(StoreUnavailableError, match="others may write"):
            client.limits()
        directory.chmod(0o700)


def test_who_waits_is_told_why_the_server_cannot_start(directory: Path) -> None:
    with ThreadPoolExecutor() as threads, LeaseClient.local("tests/client", directory) as client:
        directory.chmod(0o777)
        waiting = threads.submit(client.acquire_blocking, "gpu")
        until(lambda: "others may write" in (client.obstacle("gpu") or ""))
        directory.chmod(0o700)
        until(lambda: "limit 'gpu' does not exist" in (client.obstacle("gpu") or ""))
        client.define("gpu", slots=1)
        assert waiting.result(10).valid


async def test_who_waits_for_a_server_of_another_version_is_told_and_does_not_keep_it(
    client: LeaseClient, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.define("gpu", slots=1)
    monkeypatch.setattr("nodelease.local.store.PROTOCOL", 99)
    with LeaseClient.local("tests/newer", directory) as newer:
        waiting = asyncio.ensure_future(newer.acquire("gpu"))
        await asyncio.sleep(0)
        until(lambda: "speaks protocol 2 and this client 99: end the programs of the other version" in (newer.obstacle("gpu") or ""))
        (server,) = servers(directory)
        client.close()
        server.wait(20)
        monkeypatch.undo()
        assert (await asyncio.wait_for(waiting, 10)).valid


# What is on disk.

USED = LeaseState(
    slots=1, holders=(Holder("a-1", "p", 3, 0, (0,)),), queue=(Waiter("b-1", "p"),), transitions=3, acquire_time="t", renew_time="t"
)


def test_the_last_whole_line_counts(directory: Path) -> None:
    files = StateFiles(directory)
    files.save("gpu", document(Snapshot("1", LeaseState(slots=1))))
    files.save("gpu", document(Snapshot("2", USED)))
    files.close("gpu")
    path = directory / "limits" / "gpu.jsonl"
    with path.open("ab") as file:
        file.write(b'{"boot": "to')
    again = StateFiles(directory)
    assert again.load() == {"gpu": Snapshot("2", USED)}
    assert len(path.read_bytes().splitlines()) == 1
    again.close("gpu")


def test_after_another_boot_nobody_holds_but_fences_grow_on(directory: Path) -> None:
    files = StateFiles(directory)
    files.save("gpu", document(Snapshot("7", USED)))
    files.close("gpu")
    path = directory / "limits" / "gpu.jsonl"
    path.write_text(path.read_text().replace(files._boot, "another-boot"))
    again = StateFiles(directory)
    assert again.load()["gpu"].state == LeaseState(slots=1, transitions=3, acquire_time="t", renew_time="t")
    again.close("gpu")


async def test_fences_go_on_where_the_directory_was_emptied(directory: Path) -> None:
    states = []
    for _ in range(2):
        files = StateFiles(directory)
        states.append(LeaseServer(files).create("gpu", LeaseState(slots=1)).state)
        files.close("gpu")
        (directory / "limits" / "gpu.jsonl").unlink()
    assert 1.7e15 < states[0].transitions < states[1].epoch


def test_a_malformed_file_is_set_aside(directory: Path) -> None:
    files = StateFiles(directory)
    files.save("gpu", document(Snapshot("7", USED)))
    files.close("gpu")
    for name, text in {"bad": "{}\n", "torn": '{"boot', "Bad_name": "{}\n"}.items():
        (directory / "limits" / f"{name}.jsonl").write_text(text)
    again = StateFiles(directory)
    assert list(again.load()) == ["gpu"]
    assert sorted(path.name for path in (directory / "limits").glob("*.malformed")) == [
        "Bad_name.malformed",
        "bad.malformed",
        "torn.malformed",
    ]
    again.close("gpu")


async def test_grants_are_counted_anew_long_before_they_cannot_be(directory: Path) -> None:
    many = replace(USED, epoch=5, transitions=5 + 2**30)
    StateFiles(directory).save("gpu", document(Snapshot("7", replace(many, holders=(), queue=()))))
    server = LeaseServer(StateFiles(directory))
    written = server.replace("gpu", replace(many, holders=(Holder("a-1", "p", many.transitions, 0, (0,)),)), "7", None)
    assert server.read("gpu") == written
    await asyncio.sleep(0)
    after = server.read("gpu")
    assert after.state.grants == 0
    assert after.state.epoch == after.state.transitions > 10**15
    assert after.state.holders == written.state.holders
    StateFiles(directory).close("gpu")


def test_files_are_compacted(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodelease.local.files.COMPACT_BYTES", 5000)
    files = StateFiles(directory)
    for version in range(100):
        files.save("gpu", document(Snapshot(str(version), USED)))
    assert (directory / "limits" / "gpu.jsonl").stat().st_size < 6000
    files.close("gpu")
    again = StateFiles(directory)
    assert again.load()["gpu"].version == "99"
    again.close("gpu")
