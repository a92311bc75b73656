"""`imagejob run`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from imagejob_cli.options import files_option

if TYPE_CHECKING:
    from rich.console import Console

    from imagejob_api.documents import Documents
    from imagejob_api.imagejob import ImageJob
    from imagejob_runner.local.supervisor import RunRequest


@click.command(
    epilog="""\b
Examples:
  imagejob run -f examples/imagejob.yaml
  imagejob run -f pipeline.yaml -f job.yaml --output results/today --parallelism 4
  generate-job | imagejob run -f - --json | tail -n 1 | jq .imagesPerSecond

\b
A job that is run again with the same output does what is missing. Ctrl-C commits what is
whole and ends; a second Ctrl-C ends at once. Python functions of `call` steps are also
looked for in the current directory.
"""
)
@files_option
@click.option(
    "--output", metavar="URL", help="Where the rows go: a folder, or an s3://, gs:// or az:// URL. [default: the job's spec.output.url]"
)
@click.option("--parallelism", type=click.IntRange(min=1), metavar="N", help="Processes at once. [default: the job's spec.parallelism]")
@click.option(
    "--job", "names", multiple=True, metavar="NAME", help="Run only this one of the files' ImageJobs. May be given several times."
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one line of JSON for each job on standard output; text for people goes to standard error.",
)
def run(
    files: tuple[Path | Literal["-"], ...], output: str | None, parallelism: int | None, names: tuple[str, ...], *, as_json: bool
) -> int:
    """Run the ImageJobs of the files on this machine, one after the other.

    Takes what `kubectl apply -f` takes: ImageJobs, the ImagePipelines that they refer to, and the NodeLimits that their steps take. All of
    it is checked before the first job starts. The worst end of a job decides the exit code.
    """
    from imagejob_runner.local.fork_server import start_early

    # As `python -m` has it: a pipeline's functions often lie beside its file. The runner processes inherit sys.path.
    sys.path.insert(0, str(Path.cwd()))
    start_early([path for path in files if path != "-"])

    from imagejob_api.documents import load_documents
    from imagejob_cli.consoles import message_console, output_console
    from imagejob_cli.selection import select_jobs

    documents = load_documents(files)
    jobs = select_jobs(documents, names)
    if output is not None and len(jobs) > 1:
        raise click.UsageError(f"--output is for one job, and there are {len(jobs)}: choose one with --job.")
    requests = _requests(documents, jobs, output, parallelism)
    messages = message_console()
    return _run_all(requests, messages, messages if as_json else output_console(), as_json=as_json)


def _requests(documents: Documents, jobs: list[ImageJob], output: str | None, parallelism: int | None) -> list[RunRequest]:
    from imagejob_cli.selection import resolve_jobs
    from imagejob_runner.local.supervisor import RunRequest

    return [
        RunRequest(job=job, pipeline=pipeline, limits=documents.limits, parallelism=parallelism, output_url=output)
        for job, pipeline in zip(jobs, resolve_jobs(documents, jobs), strict=True)
    ]


def _run_all(requests: list[RunRequest], messages: Console, results: Console, *, as_json: bool) -> int:
    from imagejob_api.clipping import clipped
    from imagejob_cli.codes import worst
    from imagejob_cli.running import run_one
    from imagejob_cli.wording import printable
    from imagejob_runner.constants import ExitCode
    from imagejob_runner.startup import process_begun

    codes: list[ExitCode] = []
    for request in requests:
        allowed = {name: limit.spec for name, limit in request.limits.items()}
        for cut in clipped(request.pipeline.steps, request.job.spec.priority, allowed.get):
            messages.print(f"note: {printable(cut)}", soft_wrap=True)
        code, result = run_one(request, messages, results, process_begun() if not codes else None)
        codes.append(code)
        if as_json and result is not None:
            print(json.dumps(result.as_json()), flush=True)
        if code is ExitCode.INTERRUPTED:
            break
    return worst(codes)
