"""Runs `imagejob` the way a user does, in processes of its own, and looks at what it leaves behind."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
import yaml

from imagejob_runner.output import verify
from imagejob_runner.storage import open_output

IMAGEJOB = Path(sys.executable).with_name("imagejob")
ROOT = Path(__file__).parents[2]
"""Where the command is started: functions of `call` steps are looked for there."""
VERSION = "imagejob.dev/v1alpha1"
PATIENCE_SECONDS = 120.0
"""Longer than anything here takes on a slow machine: only a hang reaches it."""

Row = dict[str, Any]
Step = dict[str, Any]


def eventually(what: str, condition: Callable[[], Any], *, within: float = PATIENCE_SECONDS) -> Any:  # noqa: ANN401  what the condition gives
    """Waits until a condition is true and returns what it gave."""
    begun = time.monotonic()
    while not (answer := condition()):
        waited = time.monotonic() - begun
        if waited > within:
            raise AssertionError(f"not within {within:g} s: {what}")
        # Often at first, so that short moments are met; ever more seldom, so that looking does not slow down what is looked at.
        time.sleep(min(0.05, max(0.001, waited / 20)))
    return answer


def call(name: str, function: str, *, limit: str | None = None, hold: str = "5s", **fields: Any) -> Step:  # noqa: ANN401  fields of the step
    """A `call` step of a function in tests.process.functions; keywords in lower case are the function's arguments."""
    arguments = fields.pop("arguments", {})
    step: Step = {"name": name, "call": {"function": f"tests.process.functions:{function}", "arguments": arguments}, **fields}
    if limit is not None:
        step["limits"] = [{"name": limit, "hold": hold}]
    return step


def inputs(count: int) -> dict[str, Any]:
    """A source of inputs that nobody fetches."""
    return {"urls": [{"id": f"image-{number:04}", "url": f"file:///nowhere/{number}.jpg"} for number in range(count)]}


def inputs_from(manifest: Path, entries: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """A source of ids and URLs through a manifest."""
    manifest.write_text("".join(json.dumps({"id": identity, "url": url}) + "\n" for identity, url in entries))
    return {"manifest": {"url": str(manifest)}}


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        """The object that `--json` prints last."""
        answer: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return answer

    def expect(self, code: int) -> Self:
        """Itself, if that is how it ended."""
        assert self.code == code, f"ended with {self.code}, not {code}:\n{self.out}\n{self.err}"
        return self


@dataclass
class Run:
    """A command at work, in a process group of its own."""

    process: "subprocess.Popen[bytes]"
    out: Path
    err: Path

    def wait(self, within: float = PATIENCE_SECONDS) -> Ended:
        """Waits for its end."""
        try:
            code = self.process.wait(timeout=within)
        except subprocess.TimeoutExpired:
            self.kill_group()
            raise AssertionError(f"still running after {within:g} s:\n{self.err.read_text()}") from None
        return Ended(code, self.out.read_text(), self.err.read_text())

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the command alone."""
        self.process.send_signal(number)

    def kill_group(self) -> None:
        """Kills the command and every process that it started, and waits until all are gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        eventually("all processes of the group are gone", lambda: not self.group(), within=20)

    def group(self) -> list[psutil.Process]:
        """The processes of its group that are alive."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return []
        return [process for process in psutil.process_iter() if _group_of(process) == self.process.pid]

    def runners(self) -> list[psutil.Process]:
        """Its runner processes: the children of the process that it forks them from."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children()
            return [runner for child in children for runner in _children(child) if "forkserver" in " ".join(_command(runner))]
        return []


def _group_of(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid) if process.status() != psutil.STATUS_ZOMBIE else None
    except (ProcessLookupError, psutil.NoSuchProcess):
        return None


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return list(process.children())
    return []


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return list(process.cmdline())
    return []


@dataclass
class Output:
    """An output in a folder, looked at without the code that wrote it."""

    folder: Path

    def rows(self) -> list[Row]:
        """All rows, chunk by chunk."""
        parts = sorted(self.parts(), key=lambda path: int(re.fullmatch(r"part-\d+-(\d+)\.jsonl", path.name)[1]))  # type: ignore[index]
        return [json.loads(line) for part in parts for line in part.read_text().splitlines()]

    def parts(self) -> list[Path]:
        return [path for path in self.folder.glob("results/part-*") if path.suffix == ".jsonl"]

    def by_id(self) -> dict[str, Row]:
        """Rows by id, each of which must be there once."""
        rows = self.rows()
        found = {row["id"]: row for row in rows}
        assert len(found) == len(rows), "an input has two rows"
        return found

    def prove(self) -> None:
        """As `imagejob verify`, without the time that a process takes to start."""
        report = asyncio.run(verify(open_output(str(self.folder))))
        assert report.ok, "\n".join(map(str, report.problems))

    @property
    def succeeded(self) -> bool:
        return (self.folder / "_SUCCESS").exists()


def comparable(rows: Sequence[Row]) -> list[Row]:
    """Rows without what differs from run to run: times, and where it ran."""
    return [
        {
            **{key: value for key, value in row.items() if key not in {"timings", "digest"}},
            "provenance": {key: value for key, value in row["provenance"].items() if key != "node"},
        }
        for row in rows
    ]


def codes(rows: Mapping[str, Row]) -> dict[str, str]:
    """Ids with the code of their error, or `ok`."""
    return {identity: row["error"]["code"] if row["error"] else "ok" for identity, row in rows.items()}


@dataclass
class Lab:
    """A folder for jobs and outputs, and a Lease store of its own."""

    folder: Path
    runtime: Path
    environment: dict[str, str] = field(default_factory=dict)
    _runs: list[Run] = field(default_factory=list)

    def job(
        self,
        steps: Sequence[Step],
        source: Mapping[str, Any],
        *,
        slots: int | None = 1,
        name: str = "job",
        output: str | None = None,
        output_format: str = "jsonl",
        if_exists: str = "resume",
        **spec: Any,  # noqa: ANN401  fields of the job
    ) -> Path:
        """Writes a job with its pipeline, and a NodeLimit for each limit that a step takes, unless `slots` is None."""
        taken = {limit["name"] for step in steps for limit in step.get("limits", []) if slots is not None}
        limits = [_document("NodeLimit", limit, {"slots": slots}) for limit in sorted(taken)]
        written = {"url": output or str(self.folder / name), "format": output_format, "ifExists": if_exists}
        job = _document("ImageJob", name, {"pipeline": {"steps": list(steps)}, "source": source, "output": written, **spec})
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump_all([*limits, job]))
        return file

    def output(self, name: str = "job") -> Output:
        """The output of the job of that name."""
        return Output(self.folder / name)

    def start(self, *arguments: str | Path, program: Sequence[str | Path] = (IMAGEJOB,)) -> Run:
        """Starts the command; or another program that behaves as it does."""
        number = len(self._runs)
        out, err = self.folder / f"{number}.out", self.folder / f"{number}.err"
        environment = {**os.environ, "IMAGEJOB_RUNTIME_DIR": str(self.runtime), **self.environment}
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [*map(str, program), *map(str, arguments)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        run = Run(process, out, err)
        self._runs.append(run)
        return run

    def start_job(self, file: Path, *arguments: str) -> Run:
        """Starts `imagejob run`."""
        return self.start("run", "-f", file, "--json", *arguments)

    def run(self, file: Path, *arguments: str, within: float = PATIENCE_SECONDS) -> Ended:
        """Runs a job to its end."""
        return self.start_job(file, *arguments).wait(within)

    def verify(self, name: str = "job", *, url: str | None = None) -> dict[str, Any]:
        """Has the output proved, and returns the report."""
        return self.start("verify", "--json", url or self.folder / name).wait().expect(0).answer

    def limits(self) -> dict[str, dict[str, Any]]:
        """The limits of the Lease store, by name, as `imagejob lease status` shows them."""
        answer = self.start("lease", "status", "--json").wait().expect(0).answer
        return {limit["name"]: limit for limit in answer["limits"]}

    def lease_server(self) -> psutil.Process | None:
        """The process that keeps the limits."""
        for process in psutil.process_iter():
            command = _command(process)
            if "nodelease.local.server" in command and str(self.runtime) in command and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def close(self) -> None:
        """Ends whatever is left."""
        for run in self._runs:
            if run.running:
                run.kill_group()
        server = self.lease_server()
        if server is not None:
            server.kill()


def _document(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": VERSION, "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}


@contextlib.contextmanager
def elapsed() -> Iterator[list[float]]:
    """Measures the time inside; the list has it afterwards."""
    seconds: list[float] = []
    begun = time.monotonic()
    yield seconds
    seconds.append(time.monotonic() - begun)
