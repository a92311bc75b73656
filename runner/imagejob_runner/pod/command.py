"""`imagejob-runner plan|work|finish`: reads the job file, does one part of the job, and ends with a code that the Job's policy reads."""

import argparse
import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, NoReturn

from imagejob_api.pod import JOB_FILE, TERMINATION_FILE, Part, PodResult, RunnerExit
from imagejob_runner.ending import leave
from imagejob_runner.fetch.files import CACHE_VARIABLE
from imagejob_runner.pod.context import Context
from imagejob_runner.pod.environment import PodEnvironment
from imagejob_runner.pod.exits import StoppedError, exit_of, message_of
from imagejob_runner.pod.finish import finish
from imagejob_runner.pod.job import read_job_file
from imagejob_runner.pod.logs import set_up_logs
from imagejob_runner.pod.plan import plan
from imagejob_runner.pod.result import failure, write_result
from imagejob_runner.pod.stopping import Stop
from imagejob_runner.pod.work import work

PARTS: Final[Mapping[Part, Callable[[Context], Awaitable[None]]]] = {Part.PLAN: plan, Part.WORK: work, Part.FINISH: finish}
_HELP: Final = {
    Part.PLAN: "list the source and write the plan into the output",
    Part.WORK: "work on the shards of this pod, and complete the output if it is the last",
    Part.FINISH: "complete the output of a job whose shards are all done",
}

logger = logging.getLogger(__name__)


def command() -> NoReturn:
    """Runs `imagejob-runner` with the arguments of the process, and ends it."""
    arguments = parser().parse_args()
    # The home of whoever runs this may be the image's, which is not to be written to.
    os.environ.setdefault(CACHE_VARIABLE, str(Path(tempfile.gettempdir(), "imagejob")))
    # A pipeline's functions often lie in the image's working folder. Last, so that nothing there stands before an installed package.
    sys.path.append(str(Path.cwd()))
    set_up_logs(os.environ)
    leave(run(Part[arguments.part.upper()], arguments.job_file, arguments.result_file))


def run(part: Part, job_file: Path, result_file: Path) -> RunnerExit:
    """Does a part of a job and leaves its result behind.

    Returns:
        The exit code.
    """
    # The loop is left as it is: closing it would wait for threads, such as one that fetches a model, and the process ends anyhow.
    return asyncio.new_event_loop().run_until_complete(_run(part, job_file, result_file))


async def _run(part: Part, job_file: Path, result_file: Path) -> RunnerExit:
    stop = Stop()
    stop.listen()
    context: Context | None = None
    try:
        context = Context(read_job_file(job_file), PodEnvironment.read(os.environ), stop)
        await PARTS[part](context)
    except Exception as error:  # noqa: BLE001  whatever it is, the pod must say why it ends
        code = exit_of(error) or RunnerExit.CRASHED
        _log(error)
        write_result(result_file, failure(context.result if context is not None else PodResult(), message_of(error)))
        return code
    write_result(result_file, context.result)
    return RunnerExit.DONE


def _log(error: Exception) -> None:
    if isinstance(error, StoppedError):
        logger.info("%s", message_of(error))
    elif exit_of(error) is None:
        logger.error("%s", message_of(error), exc_info=error)
    else:
        logger.error("%s", message_of(error))


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    codes = "\n".join(f"  {code.value:3}  {code.name}" for code in RunnerExit)
    made = argparse.ArgumentParser(
        prog="imagejob-runner",
        description="Does one part of an ImageJob. The operator starts it in the job's pods; docs/operations.md lists its exit codes.",
        epilog=(
            "examples:\n"
            f"  imagejob-runner plan                       in a pod, with the job at {JOB_FILE}\n"
            "  imagejob-runner work --job-file job.json --result-file result.json\n"
            "  JOB_COMPLETION_INDEX=2 IMAGEJOB_COMPLETIONS=8 imagejob-runner work --job-file job.json\n"
            "\n"
            f"exit codes:\n{codes}"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = made.add_subparsers(dest="part", required=True, metavar="plan|work|finish")
    for part, text in _HELP.items():
        one = parts.add_parser(part.label, help=text, description=f"{text[0].upper()}{text[1:]}.")
        one.add_argument("--job-file", type=Path, default=Path(JOB_FILE), metavar="FILE", help="the job as JSON [default: %(default)s]")
        one.add_argument(
            "--result-file",
            type=Path,
            default=Path(TERMINATION_FILE),
            metavar="FILE",
            help="where the result is written as JSON [default: %(default)s]",
        )
    return made
