"""How near to its limit a GPU is kept, in one run of minutes: bare model and decoder, DataLoader scripts, and imagejob.

``python -m bench.gpu`` or ``make bench NAME=gpu``. It needs torch, torchvision for ResNet-50 and a decoder on the GPU, and what the runner
needs; no network, no photos, and imagejob need not be installed if its packages are on the path. The *limit* is 1 / (1 / bare model +
1 / bare decode on the device), both of this run, at the same precision and batch: a GPU that decodes and infers can do no more.

Without a GPU it runs in a small form, with a small network and a few photos, whose figures say nothing but that all of it works.
"""

import itertools
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median
from typing import Any, Final

from bench import decodebound, photos
from bench.figures import Figure, Measured
from bench.gpu_network import SIZE
from bench.gpu_rivals import Settings
from bench.runs import documents_of, run_documents

OUT: Final = Path("bench/out/gpu.json")
SMALL_PHOTO, LARGE_PHOTO = (500, 375), (1600, 1200)
MOST_SECONDS: Final = 360
"""Of the whole; what would begin too late is left out."""
_TIMEOUT: Final = 124
"""What a job ends with that its deadline has cut short; what it has done is measured all the same."""
_START_SECONDS: Final = 40
_SAMPLE_MS: Final = 200
_COMES, _BF16, _COMPILED, _LARGE, _TWO = "as it comes", "bf16", "bf16 + compile", "1600x1200", "two share the GPU"
_SHORT = "with few images"
_HOLDS = "first grant to last release"


@dataclass(frozen=True)
class Form:
    """How much is done.

    Attributes:
        unique: Photos of each size that are made; a job goes through them again and again.
        batch: Of bare model, bare decode and the tuned loader.
        loader_seconds: For each DataLoader script.
        model_seconds: For each bare figure.
        job_seconds: For each job but the compiled one.
        compiled_seconds: For that one, which infers as it is until it is compiled.
        least: Fewest images of a job.
    """

    unique: Mapping[tuple[int, int], int]
    batch: int
    loader_seconds: float
    model_seconds: float
    job_seconds: float
    compiled_seconds: float
    least: int


FULL: Final = Form({SMALL_PHOTO: 2048, LARGE_PHOTO: 256}, 256, 10, 1.5, 12, 35, 4096)
SMALL: Final = Form({SMALL_PHOTO: 16, LARGE_PHOTO: 4}, 8, 0.2, 0.05, 0.0, 0.0, 32)


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        name: Of what is measured.
        images: How many.
        size: Of the photos.
        infer: Fields of the step.
    """

    name: str
    images: float
    size: tuple[int, int] = SMALL_PHOTO
    infer: Mapping[str, object] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Its name as that of an object."""
        return self.name.replace(" + ", "-").replace(" ", "-")


@dataclass
class Bench:
    """One run of it.

    Attributes:
        form: How much is done.
        gpu: Name of the GPU, if there is one.
        rates: Images a second by the name of what was measured.
        details: What else there is to know, for the JSON file.
    """

    form: Form
    gpu: str | None
    rates: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    _imports: list[float] = field(default_factory=list)
    _busy: dict[str, float] = field(default_factory=dict)
    _folders: dict[tuple[int, int], Path] = field(default_factory=dict)

    def run(self) -> None:
        """Measures everything there is time for."""
        for size, count in self.form.unique.items():
            self._folders[size] = photos.synthesised(count, size).resolve()
        self._measure_pillow()
        for parts in (("model", "decode"), ("plain",), ("tuned",)) if self.gpu else (("model", "decode", "plain", "tuned"),):
            self._rivals(*parts)
        fp32, seconds = self.limit("fp32"), self.form.job_seconds
        compiled = self.limit("bf16 compiled") * self.form.compiled_seconds
        runs = [
            [Job(_COMES, fp32 * seconds)],
            [Job(_COMPILED, compiled, infer={"precision": "bf16"})],
            [Job(f"of two {number}", fp32 * seconds / 2) for number in range(2)],
            *([[Job(_SHORT, self.form.least)]] if self.gpu else []),  # as the first one is, in the small form
            [Job(_LARGE, self.decoding(LARGE_PHOTO) * seconds, size=LARGE_PHOTO)],
            [Job(_BF16, self.limit("bf16") * seconds, infer={"precision": "bf16", "compile": "off"})],
        ]
        with ThreadPoolExecutor(1 if self.gpu else 2) as side_by_side:  # two, where the figures mean nothing
            list(side_by_side.map(self._measure, runs))

    def decoding(self, size: tuple[int, int]) -> float:
        """Photos of a size that the device's decoder and all CPUs can decode in a second, each as if it had nothing else to do."""
        return self.rates.get(f"decode {_named(size)}", 0.0) + self.rates[f"pillow {_named(size)}"]

    def limit(self, precision: str) -> float:
        """Images a second that a device can do at most that decodes and infers; where no device decodes, the CPUs do."""
        size = _named(SMALL_PHOTO)
        model = self.rates.get(f"model {precision}", self.rates["model bf16"])
        return 1 / (1 / model + 1 / self.rates.get(f"decode {size}", self.rates[f"pillow {size}"]))

    def figures(self) -> Iterator[Figure]:
        """The table. Goals are a GPU's."""

        def goal(bound: float) -> float | None:
            return bound if self.gpu else None

        for name, rate in self.rates.items():
            yield Figure(name, rate, "images/s")
        limits = {_COMES: self.limit("fp32"), _BF16: self.limit("bf16"), _COMPILED: self.limit("bf16 compiled")}
        goals = {_COMES: (0.8, 1.7), _BF16: (None, None), _COMPILED: (0.8, 3.0)}
        for name, limit in limits.items():
            yield Figure(f"the limit, {name}", limit, "images/s")
            of_limit, of_tuned = (bound and goal(bound) for bound in goals[name])
            rate = self._rate(f"imagejob {name}")
            yield Figure(f"imagejob {name}, against its limit", rate / limit, at_least=of_limit)
            yield Figure(f"imagejob {name}, against the tuned loader", rate / self._rate("loader tuned"), at_least=of_tuned)
        two, alone = (self._rate(f"imagejob {name}, {_HOLDS}") for name in (_TWO, _COMES))
        yield Figure(f"imagejob {_TWO}, against one alone", two / alone, at_least=goal(0.95))
        large = self._rate(f"imagejob {_LARGE}") / self.decoding(LARGE_PHOTO)
        yield Figure(f"imagejob {_LARGE}, against decoder and CPUs", large, at_least=goal(0.9))
        for name, busy in self._busy.items():
            yield Figure(f"imagejob {name}, the GPU is busy", busy, "%", at_least=goal(90) if name in {_COMES, _COMPILED} else None)
        imports, short = median(self._imports), self.details.get(_SHORT if self.gpu else _COMES, [])
        starts = [answer["commandSeconds"] - answer["elapsedSeconds"] for answer in short] or [math.nan]
        yield Figure("importing torch and the model's package", imports, "s")
        yield Figure("start and end of a run", starts[0], "s")
        yield Figure("start and end, besides the imports", starts[0] - imports, "s", at_most=goal(4))
        yield Figure("all of this", time.monotonic() - self.begun, "s", at_most=goal(MOST_SECONDS))

    def _rate(self, name: str) -> float:
        """What was measured, or no number where it was not: a goal that it is held against is missed then."""
        return self.rates.get(name, math.nan)

    def _measure_pillow(self) -> None:
        """Bare Pillow, with draft, in as many processes as there are CPUs."""
        with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("forkserver")) as processes:
            for size, folder in self._folders.items():
                paths = sorted(folder.glob("*.jpg"))
                decodebound.rate(processes, paths[: self.form.batch])
                self.rates[f"pillow {_named(size)}"] = decodebound.rate(processes, paths)

    def _rivals(self, *parts: str) -> None:
        if self._late(self.form.loader_seconds + _START_SECONDS, " and ".join(parts)):
            return
        folders = {_named(size): str(folder) for size, folder in self._folders.items()}
        settings = Settings(folders, self.form.loader_seconds, self.form.model_seconds, self.form.batch, compiled=self.gpu is not None)
        command = [sys.executable, "-m", "bench.gpu_rivals", *parts, settings.as_json()]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        imports, about, *found = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
        self._imports.append(imports["import seconds"])
        self.details.update(about)
        for rates in found:
            self.rates.update(rates)
            _tell(rates)
        if done.returncode != 0:  # what was measured before is worth having
            print(f"  {' and '.join(parts)}: ended with {done.returncode}", flush=True)

    def _measure(self, jobs: Sequence[Job]) -> None:
        """Runs a job, or some at the same time, which share the GPU by its Lease: it has one slot."""
        name = jobs[0].name if len(jobs) == 1 else _TWO
        if self._late(max(map(self._seconds, jobs)) + _START_SECONDS, name):
            return
        with (
            tempfile.TemporaryDirectory(prefix="imagejob-gpu-") as folder,
            self._watched() as samples,
            ThreadPoolExecutor(len(jobs)) as pool,
        ):
            runs = [pool.submit(self._run, Path(folder), job) for job in jobs]
        try:
            answers = [run.result() for run in runs]
        except RuntimeError as error:  # the others are worth having without it
            print(f"  {name}: {error}", flush=True)
            return
        self.details |= {name: answers, f"{name}, GPU busy %": samples}
        if (span := _span(answers)) and (busy := [per_cent for moment, per_cent in samples if span[0] <= moment <= span[1]]):
            self._busy[name] = mean(busy)
        found = {f"imagejob {name}": answer["imagesPerSecond"] for answer in answers if len(answers) == 1}
        if name in {_COMES, _TWO}:
            found[f"imagejob {name}, {_HOLDS}"] = _between(answers)
        self.rates.update(found)
        _tell(found)

    def _run(self, folder: Path, job: Job) -> dict[str, Any]:
        """One job with the photos again and again; cut short where it is much slower than it could be."""
        manifest = folder / f"{job.label}.jsonl"
        paths = itertools.islice(itertools.cycle(sorted(self._folders[job.size].glob("*.jpg"))), max(int(job.images), self.form.least))
        with manifest.open("w") as file:
            file.writelines(json.dumps({"id": f"{number:07d}", "url": str(path)}) + "\n" for number, path in enumerate(paths))
        infer = {"model": {"architecture": self.details["architecture"]}, "preprocess": {"size": SIZE}, **job.infer}
        steps = [
            {"name": "download", "download": {}},
            {"name": "classify", "infer": infer, "limits": [{"name": "gpu"}]},
            {"name": "save", "save": {}},
        ]
        most = {"activeDeadlineSeconds": int(_START_SECONDS + 2 * self._seconds(job))} if self.gpu else {}
        documents = documents_of(job.label, steps, {"manifest": {"url": str(manifest)}}, slots=1, **most)
        return run_documents(*documents, allowed=(0, _TIMEOUT), store=folder / "run")

    def _seconds(self, job: Job) -> float:
        return self.form.compiled_seconds if job.name == _COMPILED else self.form.job_seconds

    def _late(self, seconds: float, what: str) -> bool:
        late = self.gpu is not None and time.monotonic() - self.begun + seconds > MOST_SECONDS
        if late:
            print(f"  left out, for want of time: {what}", flush=True)
        return late

    @contextmanager
    def _watched(self) -> Iterator[list[tuple[float, int]]]:
        """Samples how busy the GPU is: per cent, and when, on the boot's clock; none where nobody tells."""
        samples: list[tuple[float, int]] = []
        device = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or "0"
        at_once = ["stdbuf", "--output=L"] if shutil.which("stdbuf") else []
        query = [
            *at_once,
            "nvidia-smi",
            f"--id={device}",
            "--query-gpu=utilization.gpu",
            "--format=csv,noheader,nounits",
            f"--loop-ms={_SAMPLE_MS}",
        ]
        if shutil.which("nvidia-smi") is None:
            yield samples
            return
        watching = subprocess.Popen(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert watching.stdout is not None  # noqa: S101  asked for above
        told = ((time.clock_gettime(time.CLOCK_BOOTTIME), int(line)) for line in watching.stdout if line.strip().isdigit())
        reader = threading.Thread(target=samples.extend, args=[told])
        reader.start()
        try:
            yield samples
        finally:
            watching.terminate()
            reader.join()
            watching.wait()


def _span(answers: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """When the GPU was first granted and last released."""
    spans = [span for answer in answers if (span := answer["limits"]["gpu"]["span"]) is not None]
    return (min(start for start, _ in spans), max(end for _, end in spans)) if spans else None


def _between(answers: Sequence[Mapping[str, Any]]) -> float:
    """Images a second from the first grant of the GPU to its last release."""
    span = _span(answers)
    return float(sum(answer["images"]["succeeded"] for answer in answers) / (span[1] - span[0])) if span else math.nan


def _named(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _tell(rates: Mapping[str, float]) -> None:
    for name, rate in rates.items():
        print(f"  {name}: {rate:,.0f} images/s", flush=True)


def _gpu() -> str | None:
    """The GPU that torch sees, asked for in a process of its own, or else this one would take memory of it."""
    if shutil.which("nvidia-smi") is None and not Path("/dev/nvidiactl").exists():
        return None
    code = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    return subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout.strip() or None


def measure() -> Measured:
    """All of it; writes bench/out/gpu.json, too."""
    begun = time.monotonic()
    gpu = _gpu()
    bench = Bench(FULL if gpu else SMALL, gpu, begun=begun)
    bench.run()
    measured = Measured(list(bench.figures()), {"gpu": gpu, "cpus": len(os.sched_getaffinity(0)), "rates": bench.rates, **bench.details})
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(measured.as_json(), indent=2) + "\n")
    return measured


if __name__ == "__main__":
    print(*measure().figures, sep="\n")
