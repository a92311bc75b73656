"""The end of a job in a few lines: how it ended and why, where its rows are, and what one may do next."""

import shlex
from collections.abc import Iterator
from typing import Final

from imagejob_cli.cluster import words
from imagejob_cli.cluster.constants import PLUGIN
from imagejob_cli.cluster.job import JobView
from imagejob_cli.cluster.kubeconfig import Access
from imagejob_cli.cluster.options import command_line, program
from imagejob_cli.wording import clock, printable
from imagejob_runner.constants import ExitCode

_LABEL_WIDTH: Final = 10
_WITH_ROWS: Final = (ExitCode.SUCCEEDED, ExitCode.PARTIAL)


def conclusion(job: JobView, access: Access, *, deleted: bool = False) -> Iterator[str]:
    """The lines about a job that is finished, or was deleted before it was."""
    finished = job.finished
    if finished is None:
        yield f"{printable(job.name)}: {'deleted before it was finished' if deleted else 'not finished'}"
        return
    yield f"{printable(job.name)}: {printable(finished.reason)}"
    yield from (f"  {why}" for why in words.hindrances(job))
    parts = [f"{job.succeeded:,} succeeded", f"{job.failed:,} failed", *([f"{job.skipped:,} skipped"] if job.skipped else [])]
    yield _labelled("images", f"{', '.join(parts)} of {job.total:,}")
    if job.started is not None and job.completed is not None:
        yield _labelled("time", clock((job.completed - job.started).total_seconds()))
    yield _labelled("results", printable(job.output))
    if job.exit_code in _WITH_ROWS and job.unreachable:
        yield _labelled("next", job.unreachable)
    elif job.exit_code in _WITH_ROWS:
        yield _labelled("next", f"{program()} show {shlex.quote(printable(job.output))}")
        yield _labelled("", command_line(access, "verify", *([] if program() == PLUGIN else ["--job"]), job.name))
    elif job.exit_code != ExitCode.CANCELLED and not deleted:
        yield _labelled("next", command_line(access, "logs", job.name, "--failed"))


def detached(names: tuple[str, ...], access: Access) -> Iterator[str]:
    """What somebody reads who leaves jobs that go on."""
    goes = "the job goes on" if len(names) == 1 else "the jobs go on"
    yield f"Detached: {goes}."
    yield f"  come back:  {command_line(access, 'status', *names, '-w')}"
    yield f"  end it:     {command_line(access, 'cancel', *names)}"


def _labelled(label: str, text: str) -> str:
    return f"  {label:<{_LABEL_WIDTH}}{text}"
