"""Memory does not grow with the number of inputs."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.process import pictures
from tests.process.conftest import Journal
from tests.process.harness import Lab, Run, Step, inputs_from
from tests.process.test_hostile_inputs import INFER

FEW, MANY = 1_000, 10_000
LOOK_SECONDS = 0.05
BYTES_AN_IMAGE = 1024
"""Less than anything that could be kept of an image: its bytes, pixels, array or row. What grows at first is no more than this."""
STEPS: list[Step] = [
    {"name": "download", "download": {}},
    {"name": "shrink", "transform": {"operations": [{"thumbnail": {"width": 64, "height": 64}}]}},
    INFER | {"infer": {**INFER["infer"], "batchSize": 32, "threads": 1}},
]


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
        run = lab.start_job(lab.job(STEPS, source, name=f"of-{count}", parallelism=2))
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
