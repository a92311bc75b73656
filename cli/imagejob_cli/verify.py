"""`imagejob verify` of an output, and `kubectl imagejob verify` of a job's output."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import click

from imagejob_cli.cluster.options import cluster_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagejob_cli.cluster.kubeconfig import Access
    from imagejob_runner.output import VerifyReport

SHOWN_PROBLEMS = 20


_EXIT_CODES = """
\b
Exit codes: 0 proved, 1 something is missing, doubled, torn or overlapping, 2 no such kind
of output, or no such job, 3 the output cannot be read or holds no job.
"""
_json_option = click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")


@click.command(
    short_help="Prove that an output has exactly one row for each input.",
    epilog="""\b
Examples:
  imagejob verify results/demo
  imagejob verify s3://bucket/labels/ --json | jq .problems
  imagejob verify --job demo -n team-a     the output of an ImageJob in a cluster
"""
    + _EXIT_CODES,
)
@click.argument("output", required=False)
@click.option("--job", metavar="JOB", help="Instead of OUTPUT: that of this ImageJob in a cluster.")
@_json_option
@cluster_options
def verify(access: Access, output: str | None, job: str | None, *, as_json: bool) -> int:
    """Prove from an output alone that every input has exactly one row and that no slot was held twice at once.

    OUTPUT is a folder or a URL, as given to `imagejob run`. Nothing that the run said about itself is believed: the plan says what there
    must be, the rows and the records of the slots say what there is.
    """
    if (output is None) == (job is None):
        raise click.UsageError("Missing argument 'OUTPUT', or --job." if output is None else "OUTPUT and --job: name one of them.")
    return _verify_job(access, job, as_json=as_json) if output is None and job is not None else _verify(output or "", as_json=as_json)


@click.command(
    "verify",
    short_help="Prove that a job's output has exactly one row for each input.",
    epilog="""\b
Examples:
  imagejob verify demo
  imagejob verify demo -n team-a --json | jq .problems
"""
    + _EXIT_CODES,
)
@click.argument("job")
@_json_option
@cluster_options
def verify_job(access: Access, job: str, *, as_json: bool) -> int:
    """Prove from the output of an ImageJob that every input has exactly one row and that no slot was held twice at once.

    The output is read from this machine, with its network and its credentials. Nothing that the job said about itself is believed: the
    plan says what there must be, the rows and the records of the slots say what there is.
    """
    return _verify_job(access, job, as_json=as_json)


def _verify_job(access: Access, job: str, *, as_json: bool) -> int:
    from imagejob_cli.cluster.reachability import unreachable_hint
    from imagejob_cli.cluster.verifying import output_of
    from imagejob_runner.constants import ExitCode
    from imagejob_runner.exceptions import StorageError

    found = output_of(access, job)
    if found is None:
        return ExitCode.INTERRUPTED
    output, spec = found
    try:
        return _verify(output, as_json=as_json)
    except StorageError as error:
        raise StorageError(f"{error}\n{unreachable_hint(output, spec)}") from error


def _verify(output: str, *, as_json: bool) -> int:
    from imagejob_runner.constants import ExitCode
    from imagejob_runner.output import verify as prove
    from imagejob_runner.storage import open_output

    report = asyncio.run(prove(open_output(output)))
    if as_json:
        print(json.dumps(_as_json(report)))
    else:
        for line in _lines(report):
            print(line)
    return ExitCode.SUCCEEDED if report.ok else ExitCode.JOB_FAILED


def _lines(report: VerifyReport) -> Iterator[str]:
    from imagejob_cli.wording import count, printable

    verdict = "proved" if report.ok else f"not proved, {count(report.problem_count, 'problem')}"
    yield f"{printable(report.url)}: {verdict}"
    inputs = count(report.total, "input")
    rows = f"{report.succeeded:,} succeeded, {report.failed:,} failed, {report.skipped:,} skipped"
    yield f"  images    {inputs}, each with exactly one row: {rows}" if report.ok else f"  images    {inputs}; rows: {rows}"
    holds, slots = count(report.holds.records, "hold"), count(report.holds.slots, "slot")
    if report.holds.overlaps:
        yield f"  slots     {holds} of {slots}, {count(report.holds.overlaps, 'pair')} of them overlap"
    else:
        yield f"  slots     {holds} of {slots}, no two of one slot overlap" if report.holds.records else "  slots     no slot was held"
    for problem in report.problems[:SHOWN_PROBLEMS]:
        yield f"  problem   {printable(str(problem))}"
    if report.problem_count > SHOWN_PROBLEMS:
        yield f"  problem   and {report.problem_count - SHOWN_PROBLEMS:,} more; --json lists up to {len(report.problems):,}"


def _as_json(report: VerifyReport) -> dict[str, object]:
    return {
        "ok": report.ok,
        "output": report.url,
        "images": report.counts,
        "holds": {"records": report.holds.records, "slots": report.holds.slots, "overlaps": report.holds.overlaps},
        "problemCount": report.problem_count,
        "problems": [
            {"file": problem.file, "line": problem.line, "message": problem.message, "fix": problem.fix} for problem in report.problems
        ],
    }
