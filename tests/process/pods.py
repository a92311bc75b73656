"""Runs `imagejob-runner` as a pod would, with a job file on disk and the limits of this machine's own store."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagejob_api.pod import JobFile, PodResult, RunnerExit
from nodelease import LeaseClient
from tests.process.harness import PATIENCE_SECONDS, Lab, Run, Step

RUNNER = Path(sys.executable).with_name("imagejob-runner")


@dataclass
class EndedPod:
    """A pod that has ended."""

    code: RunnerExit
    result: PodResult
    log: str

    def expect(self, code: RunnerExit) -> "EndedPod":
        """Itself, if that is how it ended."""
        assert self.code is code, f"ended with {self.code!r}, not {code!r}:\n{self.log}"
        return self

    @property
    def error(self) -> str:
        """Why it failed."""
        assert self.result.error is not None
        return self.result.error.message


@dataclass
class Pod:
    """A pod at work."""

    run: Run
    result: Path

    def wait(self, within: float = PATIENCE_SECONDS) -> EndedPod:
        """Waits for its end."""
        ended = self.run.wait(within)
        return EndedPod(RunnerExit(ended.code), PodResult.model_validate_json(self.result.read_bytes()), ended.err)

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.run.err.read_text()


@dataclass
class Pods:
    """A lab in which pods run."""

    lab: Lab

    def job(
        self,
        steps: Sequence[Step],
        source: Mapping[str, Any],
        *,
        name: str = "job",
        uid: str = "",
        output: Mapping[str, Any] | None = None,
        **spec: Any,  # noqa: ANN401  fields of the job
    ) -> Path:
        """Writes a job file as the operator does: the pipeline beside the spec that refers to it."""
        where = {"url": str(self.lab.folder / name), **(output or {})}
        job = JobFile.model_validate(
            {
                "name": name,
                "namespace": "team",
                "uid": uid or f"uid-{name}",
                "spec": {"source": dict(source), "pipelineRef": {"name": "steps"}, "output": where, **spec},
                "pipeline": {"steps": list(steps)},
            }
        )
        file = self.lab.folder / f"{name}.json"
        file.write_text(job.encoded())
        return file

    def limit(self, name: str, slots: int, *, active: bool = True) -> None:
        """Makes or changes a limit of this machine, as the operator does in a cluster."""
        with LeaseClient.local("test", self.lab.runtime) as client:
            client.define(name, slots=slots, active=active)

    def start(self, part: str, job: Path, *, index: int = 0, of: int = 1, program: Sequence[str | Path] = (RUNNER,)) -> Pod:
        """Starts a pod; or another program that behaves as it does."""
        self.lab.environment |= {"JOB_COMPLETION_INDEX": str(index), "IMAGEJOB_COMPLETIONS": str(of)}
        result = self.lab.folder / f"{len(list(self.lab.folder.glob('*.result')))}.result"
        result.touch()
        run = self.lab.start(part, "--job-file", job, "--result-file", result, program=program)
        return Pod(run, result)

    def run(self, part: str, job: Path, *, index: int = 0, of: int = 1) -> EndedPod:
        """Runs a pod to its end."""
        return self.start(part, job, index=index, of=of).wait()

    def run_all(self, job: Path, of: int) -> list[EndedPod]:
        """Runs all pods of a job side by side."""
        pods = [self.start("work", job, index=index, of=of) for index in range(of)]
        return [pod.wait() for pod in pods]


def executed(log: Path) -> list[str]:
    """Ids of the images that functions have worked on, in order."""
    return log.read_text().splitlines() if log.exists() else []


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Rows of one part."""
    return [json.loads(line) for line in path.read_text().splitlines()]
