"""Runs one job on this machine, with a display, and says how it ended."""

from rich.console import Console

from imagejob_api.imagejob import ImageJob, Phase
from imagejob_cli.display import display_for
from imagejob_cli.errors import exit_code
from imagejob_cli.interruption import Interruption
from imagejob_cli.selection import full_name
from imagejob_cli.summary import summary
from imagejob_runner.constants import ExitCode
from imagejob_runner.local.figures import RunResult
from imagejob_runner.local.supervisor import LocalRun, RunRequest


def run_one(request: RunRequest, messages: Console, results: Console, begun: float | None = None) -> tuple[ExitCode, RunResult | None]:
    """Runs a job to its end.

    Args:
        request: The job.
        messages: For what is said along the way.
        results: For the summary.
        begun: When the command was started; now unless given.

    Returns:
        The exit code, and the result unless the job could not be run.
    """
    name = request.job.metadata.name
    idle = why_not(request.job)
    if idle is not None:
        messages.print(idle, soft_wrap=True)
        return ExitCode.CANCELLED, None
    display = display_for(messages, name)
    try:
        run = LocalRun(request, on_progress=display.update, begun=begun)
        with display, Interruption(run, lambda: display.latest is None or display.latest.phase is Phase.PLANNING, display.note):
            result = run.run()
    except KeyboardInterrupt:
        messages.print(f"{name}: interrupted; run the same command again to go on.", soft_wrap=True)
        return ExitCode.INTERRUPTED, None
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise
        messages.print(f"Error: {name}: {error}", soft_wrap=True)
        return code, None
    for line in summary(name, result, display.latest):
        results.print(line, soft_wrap=True)
    return result.exit_code, result


def why_not(job: ImageJob) -> str | None:
    """Why a job is not run although nothing is wrong with it."""
    if job.spec.cancel:
        return f"ImageJob {full_name(job)} is cancelled (spec.cancel: true): nothing was run. Remove the field to run it."
    if job.spec.suspend:
        return f"ImageJob {full_name(job)} is suspended (spec.suspend: true): nothing was run. Set it to false to run it."
    return None
