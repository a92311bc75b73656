"""What is special about folders: leftovers of killed writers, and a disk that says no."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagejob_runner.exceptions import StorageError
from imagejob_runner.storage import open_output

_WRITER = """
import asyncio, sys
from imagejob_runner.storage import open_output
async def main():
    output = open_output(sys.argv[1])
    number = 0
    while True:
        await output.replace("part", bytes([65 + number % 26]) * 500_000)
        await output.create(f"new/{number}", b"x" * 100_000)
        number += 1
        if number == 3:
            print("going", flush=True)
asyncio.run(main())
"""


async def test_a_writer_killed_at_any_moment_leaves_only_whole_files(tmp_path: Path) -> None:
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE)  # noqa: ASYNC220  nothing else waits
        assert process.stdout is not None
        assert process.stdout.readline() == b"going\n"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        output = open_output(str(tmp_path))
        part = await output.read("part")
        assert part is not None
        assert len(part) == 500_000
        assert len(set(part)) == 1
        async for name in output.names("new"):
            assert await output.read(name) == b"x" * 100_000


async def test_leftovers_are_invisible_and_go_once_they_are_old(tmp_path: Path) -> None:
    output = open_output(str(tmp_path))
    await output.create("results/part", b"x")
    old, young = (tmp_path / "results" / f".imagejob-tmp-{name}" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"torn")
    hour_ago = time.time() - 3600
    os.utime(old, (hour_ago, hour_ago))
    assert [name async for name in output.names()] == ["results/part"]
    await output.clean_up()
    assert not old.exists()
    assert young.exists()
    assert (tmp_path / "results" / "part").exists()


async def test_an_output_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        await open_output(str(tmp_path / "file")).create("a", b"")


async def test_nothing_is_made_by_reading(tmp_path: Path) -> None:
    output = open_output((tmp_path / "out").as_uri())
    assert await output.read("a") is None
    await output.clean_up()
    assert not (tmp_path / "out").exists()
