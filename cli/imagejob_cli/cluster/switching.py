"""Suspends, resumes and cancels. Each is a wish in the spec: asking twice changes nothing."""

from dataclasses import dataclass
from typing import Final

from imagejob_cli.cluster.api import Api
from imagejob_cli.cluster.exceptions import ClusterError
from imagejob_cli.cluster.finding import find_job
from imagejob_cli.cluster.job import JobView
from imagejob_cli.cluster.options import program
from imagejob_cli.cluster.resources import IMAGE_JOB
from imagejob_cli.codes import worst
from imagejob_cli.consoles import message_console
from imagejob_cli.wording import printable
from imagejob_runner.constants import ExitCode


@dataclass(frozen=True, slots=True)
class Switch:
    """A wish."""

    field: str
    """Of the spec."""
    value: bool
    """What it is to be."""
    asked: str
    """What is said when it has been asked for."""
    known: str
    """What is said when it was so already."""


SUSPEND: Final = Switch(
    "suspend", True, "suspending: its pods commit what is whole and end; {program} resume {name} goes on", "suspended already"
)
RESUME: Final = Switch("suspend", False, "resuming: it goes on where it stopped", "not suspended")
CANCEL: Final = Switch("cancel", True, "cancelling: its pods commit what is whole and end", "cancelled already")
_FOR_GOOD: Final = "cancelled, which cannot be taken back; another ImageJob with the same output goes on where it stopped"


async def switch_jobs(api: Api, names: tuple[str, ...], switch: Switch) -> int:
    """Asks for the same of several jobs, and says of each what came of it. One that goes wrong does not keep the others from it.

    Returns:
        The exit code of the job with which it went worst.
    """
    codes = []
    for name in names:
        try:
            codes.append(await _switch_job(api, name, switch))
        except ClusterError as error:
            message_console().print(f"Error: {error.format_message()}", soft_wrap=True)
            codes.append(ExitCode(error.exit_code))
    return worst(codes)


async def _switch_job(api: Api, name: str, switch: Switch) -> ExitCode:
    namespace = api.target.namespace
    job = JobView.of(await find_job(api, namespace, name))
    settled = settled_words(job, switch)
    if settled is None:
        await api.merge(IMAGE_JOB, namespace, name, {"spec": {switch.field: switch.value}})
    words = settled or switch.asked.format(program=program(), name=printable(name))
    print(f"{printable(name)}: {words}")
    return ExitCode.CANCELLED if switch is RESUME and job.cancel else ExitCode.SUCCEEDED


def settled_words(job: JobView, switch: Switch) -> str | None:
    """Why there is nothing to ask for; None if there is."""
    if job.finished is not None:
        return f"finished already ({printable(job.finished.reason)})"
    if job.cancel and switch is not CANCEL:
        return _FOR_GOOD
    current = {"suspend": job.suspend, "cancel": job.cancel}[switch.field]
    return switch.known if current is switch.value else None
