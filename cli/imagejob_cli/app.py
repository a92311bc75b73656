"""The commands of `imagejob` in one group."""

import sys
from typing import Any, NoReturn

import click

from imagejob_cli.errors import guarded
from imagejob_cli.lease import lease
from imagejob_cli.run import run
from imagejob_cli.show import show
from imagejob_cli.validate import validate
from imagejob_cli.verify import verify


class _App(click.Group):
    """A group whose commands return their exit code, and whose errors are told as `errors` says."""

    def main(self, *arguments: Any, **options: Any) -> NoReturn:  # noqa: ANN401  click's signature
        """See click.Command; always ends in SystemExit."""
        options["standalone_mode"] = False
        sys.exit(guarded(lambda: click.Group.main(self, *arguments, **options)))


@click.group(
    cls=_App,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  imagejob run -f job.yaml               run a job on this machine
  imagejob show results/demo             print its rows as a table
  imagejob verify results/demo           prove that no row is missing or doubled
  imagejob lease exec gpu -- ./train.sh  run anything under a slot

\b
Exit codes: 0 succeeded, 1 job failed, 2 usage or invalid file, 3 storage error,
4 cancelled, 5 some images failed within the allowed rate, 124 timeout, 130 interrupted.
""",
)
@click.version_option(package_name="imagejob", prog_name="imagejob", message="%(prog)s %(version)s")
def app() -> None:
    """Deep-learning inference over large sets of images, with each node's GPU shared by a Lease."""


for _command in (run, show, verify, validate, lease):
    app.add_command(_command)
