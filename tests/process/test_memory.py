"""Memory does not grow with the number of inputs, and a picture that takes too much of it costs a row, not the job."""

import contextlib
import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tests.process import pictures
from tests.process.conftest import Journal
from tests.process.harness import ROOT, Lab, Run, Step, codes, inputs_from
from tests.process.test_hostile_inputs import INFER
from tests.tools.decoding_peaks import SIDE

FEW, MANY = 2_000, 20_000
LOOK_SECONDS = 0.05
BYTES_AN_IMAGE = 1024
"""Less than anything that could be kept of an image: its bytes, pixels, array or row. What grows at first is no more than this."""
STEPS: list[Step] = [
    {"name": "download", "download": {}},
    {"name": "shrink", "transform": {"operations": [{"thumbnail": {"width": 64, "height": 64}}]}},
    INFER | {"infer": {**INFER["infer"], "batchSize": 32, "threads": 1}},
]
KINDS = [
    *("JPEG RGB", "JPEG RGB progressive 4:4:4", "JPEG CMYK", "JPEG RGB turned", "PNG P transparent", "PNG RGBA", "PNG RGBA turned"),
    *("PNG I;16", "WEBP RGB", "WEBP RGBA", "GIF P", "GIF second frame", "BMP RGB", "TIFF F", "TIFF RGB one strip", "AVIF RGB 4:4:4"),
]
"""One for each number in `imagejob_runner.images.memory`; the tool knows more."""
LITTLE = 6 * 2**20 / SIDE**2
"""Bytes a pixel that are no more for a larger picture: bands of rows, buffers, code that is used for the first time."""
KILLED = """
import os, signal, socket, struct, sys
if "forkserver" in " ".join(sys.orig_argv):
    from multiprocessing import forkserver
    from imagejob_runner.images.decode import Opened
    as_it_is = Opened.pixels
    def deadly(opened):
        if opened.probe.width >= 8000:
            ours = socket.socket(fileno=forkserver.get_inherited_fds()[0])
            runner, _, _ = struct.unpack("3i", ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            os.kill(runner, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        return as_it_is(opened)
    Opened.pixels = deadly
"""
"""The end of the runner and of the worker, as of all processes of a pod whose memory runs out."""


@dataclass
class Memory:
    """Memory of some processes in bytes.

    Attributes:
        resident: All that is in RAM (RSS), what they share counted for each.
        private: What each shares with nobody.
    """

    resident: int = 0
    private: int = 0

    def add(self, process: int) -> None:
        """Takes a process in, as the kernel counts it; one that has ended has none."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            kilobytes = [line.split()[:2] for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]]
            self.resident += 1024 * sum(int(size) for name, size in kilobytes if name == "Rss:")
            self.private += 1024 * sum(int(size) for name, size in kilobytes if name.startswith("Private_"))

    def at_most(self, other: "Memory") -> None:
        """Becomes the larger of both."""
        self.resident, self.private = max(self.resident, other.resident), max(self.private, other.private)

    def __str__(self) -> str:
        return f"{self.resident / 2**20:.1f} MiB, {self.private / 2**20:.1f} MiB of it private"


@contextlib.contextmanager
def watched(run: Run) -> Iterator[dict[str, Memory]]:
    """The most memory that the processes of a run have together, until the end of the block."""
    ended = threading.Event()
    peaks = {"runners": Memory(), "supervisor": Memory()}

    def look() -> None:
        while not ended.wait(LOOK_SECONDS):
            runners, supervisor = Memory(), Memory()
            for runner in run.runners():
                runners.add(runner.pid)
            supervisor.add(run.process.pid)
            peaks["runners"].at_most(runners)
            peaks["supervisor"].at_most(supervisor)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peaks
    finally:
        ended.set()
        watcher.join()


def test_memory_is_the_same_for_ten_times_as_many_inputs(lab: Lab, journal: Journal) -> None:
    photos = lab.folder / "photos"
    pictures.write_all(photos, {f"{number}.jpg": pictures.photo(number, (160, 120)) for number in range(50)})
    found: dict[int, dict[str, Memory]] = {}
    for count in (FEW, MANY):
        source = inputs_from(lab.folder / f"{count}.jsonl", [(f"image-{number}", f"{photos}/{number % 50}.jpg") for number in range(count)])
        run = lab.start_job(lab.job(STEPS, source, name=f"of-{count}", parallelism=2, chunkSize=64))
        with watched(run) as found[count]:
            rate = run.wait().expect(0).answer["imagesPerSecond"]
        peaks = "; ".join(f"{who} {peak}" for who, peak in found[count].items())
        journal.figure(f"{count:,} inputs at {rate:.0f} images a second: {peaks}")
        assert len(lab.output(f"of-{count}").by_id()) == count
    for who in ("runners", "supervisor"):
        few, many = found[FEW][who], found[MANY][who]
        assert few.resident > 0
        assert many.resident <= 1.1 * few.resident
        growth = (many.private - few.private) / (MANY - FEW)
        assert growth < BYTES_AN_IMAGE, f"the {who} keep {growth:.0f} bytes of each image"


def test_what_decoding_takes_is_what_is_counted(journal: Journal) -> None:
    command = [sys.executable, "-m", "tests.tools.decoding_peaks", *KINDS]
    found = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
    for kind in KINDS:
        (full, counted), (draft, counted_draft) = found[kind]["full"], found[kind]["draft"]
        journal.figure(f"{kind}: {full:.1f} bytes a pixel, counted {counted:.1f}; as a draft {draft:.1f}, counted {counted_draft:.1f}")
        assert full <= counted + LITTLE, kind
        assert draft <= counted_draft + LITTLE, kind
        assert full >= 0.5 * counted, f"{kind} would keep others out for nothing"


def test_pictures_that_kill_whoever_decodes_them_end_in_rows(lab: Lab, journal: Journal) -> None:
    """Where the kernel kills all processes of a pod for want of memory: here at the first picture that is large."""
    folder = lab.folder / "kills"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(KILLED)
    lab.environment["PYTHONPATH"] = str(folder)
    large = io.BytesIO()
    Image.new("1", (8000, 8000)).save(large, "PNG")
    photos = lab.folder / "photos"
    small = {f"{name}.jpg": pictures.photo(number, (160, 120)) for number, name in enumerate("abc")}
    pictures.write_all(photos, {**small, "huge.png": large.getvalue(), "next.png": large.getvalue()})
    entries = [(name, f"{photos}/{name}") for name in ("a.jpg", "huge.png", "b.jpg", "next.png", "c.jpg")]
    policy = {"maxFailureRate": 0.5, "backoffLimitPerShard": 2}
    ended = lab.run(lab.job(STEPS, inputs_from(lab.folder / "list.jsonl", entries), failurePolicy=policy)).expect(5)
    rows = lab.output().by_id()
    assert codes(rows) == dict.fromkeys(("a.jpg", "b.jpg", "c.jpg"), "ok") | dict.fromkeys(("huge.png", "next.png"), "TooLargeToDecode")
    journal.say(rows["huge.png"]["error"]["message"])
    assert "decoding this PNG of 8000x8000 pixels takes about 305 MiB" in rows["huge.png"]["error"]["message"]
    assert "has ended 2 processes" in rows["next.png"]["error"]["message"]
    assert ended.answer["errors"] == {"TooLargeToDecode": 2}
    notes = sorted(path.name.split("-")[-1] for path in (lab.output().folder / "_imagejob" / "suspects").iterdir())
    assert notes == ["1", "2"]
