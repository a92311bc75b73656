"""The commands in one group: `imagejob`, and the same for kubectl, where `verify` takes an ImageJob instead of an output."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import click

from imagejob_cli.cluster.limits import limits
from imagejob_cli.cluster.logs import logs
from imagejob_cli.cluster.status import status
from imagejob_cli.cluster.submit import submit
from imagejob_cli.cluster.switches import cancel, resume, suspend
from imagejob_cli.errors import guarded
from imagejob_cli.lease import lease
from imagejob_cli.naming import NamingContext, name_in_help
from imagejob_cli.run import run
from imagejob_cli.show import show
from imagejob_cli.validate import validate
from imagejob_cli.verify import verify, verify_job

_HELP: Final = "Deep-learning inference over large sets of images, with each node's GPU shared by a Lease."
_EXIT_CODES: Final = """
\b
Exit codes: 0 succeeded, 1 job failed, 2 usage or invalid file, 3 cluster or storage error,
4 cancelled, 5 some images failed within the allowed rate, 124 timeout, 130 interrupted.
"""
_LOCAL_EXAMPLES: Final = """\b
Examples:
  imagejob run -f job.yaml               run a job on this machine
  imagejob submit -f job.yaml --wait     run it in a cluster
  imagejob status                        look at the jobs of a cluster
  imagejob show results/demo             print an output's rows as a table
  imagejob verify results/demo           prove that no row is missing or doubled
  imagejob lease exec gpu -- ./train.sh  run anything under a slot
"""
_PLUGIN_EXAMPLES: Final = """\b
Examples:
  imagejob submit -f job.yaml --wait
  imagejob status demo -w                follow a job
  imagejob logs demo --failed            why pods failed
  imagejob cancel demo
  imagejob verify demo                   prove that no row is missing or doubled
  imagejob limits gpu --queue            who has the GPUs, who waits
"""


class _App(click.Group):
    """A group whose commands return their exit code, and whose errors are told as `errors` says.

    Args:
        sections: Titles of the help's lists of commands, and the commands.
        arguments: click.Group's.
    """

    context_class = NamingContext

    def __init__(self, *, sections: Mapping[str, Sequence[click.Command]], **arguments: Any) -> None:  # noqa: ANN401  click's arguments
        super().__init__(**arguments)
        self._sections = sections
        for commands in sections.values():
            for command in commands:
                self.add_command(command)

    def main(self, *arguments: Any, **options: Any) -> NoReturn:  # noqa: ANN401  click's signature
        """See click.Command; always ends in SystemExit."""
        options["standalone_mode"] = False
        sys.exit(guarded(lambda: click.Group.main(self, *arguments, **options)))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's signature
        """See click.Group."""
        for title, commands in self._sections.items():
            with formatter.section(title):
                formatter.write_dl([(str(command.name), command.get_short_help_str(limit=90)) for command in commands])


def _app(sections: Mapping[str, Sequence[click.Command]], examples: str) -> _App:
    version = click.version_option(package_name="imagejob", prog_name="imagejob", message="%(prog)s %(version)s")
    settings = {"help_option_names": ["-h", "--help"]}
    made = _App(sections=sections, name="imagejob", help=_HELP, epilog=examples + _EXIT_CODES, context_settings=settings)
    return version(made)


_JOBS: Final = (submit, status, logs, suspend, resume, cancel)
name_in_help((run, show, verify, validate, lease, *_JOBS, verify_job, limits))

app: Final = _app({"On this machine": (run, show, verify, validate, lease), "In a cluster": (*_JOBS, limits)}, _LOCAL_EXAMPLES)
"""`imagejob`."""
plugin: Final = _app({"In a cluster": (*_JOBS, verify_job, limits), "On this machine": (run, show, validate, lease)}, _PLUGIN_EXAMPLES)
"""`kubectl imagejob`."""
