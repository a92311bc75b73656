"""Files come to their place once, and over the version that was read, on volumes of every kind; shown with processes that race.

A file system that refuses hard links is not to be had in a test without a kernel module or a FUSE server, so the calls are refused as such
file systems refuse them; what the processes then do they do on a real one.
"""

import asyncio
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagejob_runner.storage import open_output, placing
from imagejob_runner.storage.base import Version
from imagejob_runner.storage.placing import place_new, place_over, version_of

_RACER = """
import asyncio, errno, fcntl, json, os, sys
from imagejob_runner.storage import open_output, placing

folder, volume, me, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])

def refuse(code):
    def refusing(*_):
        raise OSError(code, os.strerror(code))
    return refusing

if volume != "links":
    os.link = refuse(errno.EPERM if volume == "fat" else errno.EOPNOTSUPP)
if volume == "gcsfuse":
    placing._renameat2 = refuse(errno.EINVAL)
if volume == "no locks":
    fcntl.flock = refuse(errno.ENOLCK)

async def main():
    output = open_output(folder)
    won = [number for number in range(count) if await output.create(f"results/{number}", f"{me} {number}".encode() * 1000)]
    for _ in range(count):
        while True:
            data, version = await output.read_version("counter")
            if await output.exchange("counter", str(int(data) + 1).encode(), version):
                break
    print(json.dumps(won))

print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main())
"""
_RACERS = 3
_COUNT = 12


@pytest.mark.parametrize("volume", ["links", "no locks", "smb", "fat", "gcsfuse"])
async def test_processes_that_race(tmp_path: Path, volume: str) -> None:
    output = open_output(str(tmp_path))
    await output.create("counter", b"0")
    racers = [
        subprocess.Popen(  # noqa: ASYNC220  nothing else waits
            [sys.executable, "-c", _RACER, str(tmp_path), volume, str(me), str(_COUNT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for me in range(_RACERS)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [json.loads(racer.communicate(timeout=120)[0]) for racer in racers]
    assert sorted(number for numbers in won for number in numbers) == list(range(_COUNT)), "each name has one winner"
    for me, numbers in enumerate(won):
        for number in numbers:
            assert await output.read(f"results/{number}") == f"{me} {number}".encode() * 1000
    assert await output.read("counter") == str(_RACERS * _COUNT).encode(), "no exchange is lost"
    assert not left(tmp_path), "nothing is left"
    assert sorted([name async for name in output.names()]) == sorted(["counter", *(f"results/{number}" for number in range(_COUNT))])


def left(folder: Path) -> list[Path]:
    return sorted(folder.rglob(".imagejob-tmp-*"))


def refuse(monkeypatch: pytest.MonkeyPatch, code: int = errno.EPERM, *, rename: int | None = errno.EINVAL) -> None:
    def refusing(reason: int) -> object:
        def call(*_: object) -> None:
            raise OSError(reason, os.strerror(reason))

        return call

    monkeypatch.setattr(os, "link", refusing(code))
    if rename is not None:
        monkeypatch.setattr(placing, "_renameat2", refusing(rename))


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV])
@pytest.mark.parametrize("rename", [None, errno.EINVAL, errno.ENOSYS])
async def test_however_a_volume_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, rename: int | None) -> None:
    refuse(monkeypatch, code, rename=rename)
    output = open_output(str(tmp_path))
    assert await output.create("a/b", b"first")
    assert not await output.create("a/b", b"second")
    assert await output.read("a/b") == b"first"


async def test_a_full_disk_is_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, errno.ENOSPC)
    with pytest.raises(Exception, match="No space left"):
        await open_output(str(tmp_path)).create("a", b"")


async def test_a_rename_that_replaces_nothing_is_there_where_tests_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    placing._renameat2(tmp_path / "one", tmp_path / "three")
    with pytest.raises(FileExistsError):
        placing._renameat2(tmp_path / "two", tmp_path / "three")
    with pytest.raises(FileNotFoundError):
        placing._renameat2(tmp_path / "one", tmp_path / "four")
    assert (tmp_path / "three").read_text() == "one"


def test_the_turn_of_a_dead_process_passes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch)
    monkeypatch.setattr(placing, "TAKE_OVER_SECONDS", 0.1)
    (tmp_path / "new").write_text("new")
    with placing._turn(tmp_path / "part", "new"), monkeypatch.context() as killed:
        killed.setattr(Path, "unlink", lambda *_, **__: None)
        (turn,) = left(tmp_path)
    turn.touch()  # which a process that is killed leaves
    assert len(left(tmp_path)) == 1
    assert place_new(tmp_path / "new", tmp_path / "part")
    assert (tmp_path / "part").read_text() == "new"
    assert left(tmp_path) == []


def test_who_was_taken_for_dead_writes_nothing_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch)
    monkeypatch.setattr(placing, "TAKE_OVER_SECONDS", 0.1)
    path, late, quick = tmp_path / "part", tmp_path / "late", tmp_path / "quick"
    late.write_text("late")
    quick.write_text("quick")
    path.write_text("old")
    version = version_of(b"old")
    with placing._turn(path, version) as mine:
        assert mine()
        assert place_over(quick, path, version)
    (tmp_path / "other").write_text("other")
    assert not place_over(late, path, version)
    assert path.read_text() == "quick"
    with placing._turn(path, "x") as slow, placing._turn(path, "x") as second:
        assert not slow()
        assert second()
        assert not placing._replace(tmp_path / "other", path, slow)
    assert path.read_text() == "quick"
    assert left(tmp_path) == []


async def test_an_exchange_of_what_is_not_there(tmp_path: Path) -> None:
    output = open_output(str(tmp_path))
    assert await output.read_version("a") is None
    assert not await output.exchange("a", b"x", Version(version_of(b"")))
    await output.create("a", b"")
    read = await output.read_version("a")
    assert read is not None
    assert await output.exchange("a", b"x", read[1])
    assert not await output.exchange("a", b"y", read[1])
    assert await output.read("a") == b"x"


async def test_folders_that_cannot_be_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flush = os.fsync

    def only_files(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112  a descriptor
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    output = open_output(str(tmp_path))
    assert all(await asyncio.gather(*(output.create(f"a/{number}", b"") for number in range(3))))
