"""Jobs and slots on a terminal: pure rendering."""

from collections.abc import Iterator
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from imagejob_cli.cluster import words
from imagejob_cli.cluster.board import Snapshot
from imagejob_cli.cluster.job import JobView
from imagejob_cli.cluster.slots import NodeSlots, Share, share_of, slots_words
from imagejob_cli.wording import printable

NO_JOBS: Final = "No ImageJobs."
_NARROW_COLUMNS: Final = 60
"""Below this the name of a job has a line of its own."""
_SHOWN_NODES: Final = 20
"""More lines of slots than this say nothing at a glance."""


class SnapshotView:
    """A bar for each job with what is known below it, then the slots of each node.

    Args:
        snapshot: The moment.
        full_names: Whether the jobs' namespaces are shown.
    """

    def __init__(self, snapshot: Snapshot, *, full_names: bool) -> None:
        self._snapshot, self._full_names = snapshot, full_names

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """See rich."""
        snapshot = self._snapshot
        if not snapshot.jobs:
            yield Text(NO_JOBS)
        for job in snapshot.jobs:
            yield from self._job(job, options.max_width)
        lines = [*slots_lines(snapshot)]
        if lines:
            yield Text()
            table = Table.grid(padding=(0, 2, 0, 0))
            table.add_column(no_wrap=True, style="dim", overflow="ellipsis")
            table.add_column()
            for title, text in lines:
                table.add_row(title, text)
            yield table

    def _job(self, job: JobView, width: int) -> Iterator[Text | Table]:
        title = Text(job_title(job, full_names=self._full_names), style="bold", no_wrap=True, overflow="ellipsis")
        bar = Table.grid(expand=True, padding=(0, 1, 0, 0))
        if width < _NARROW_COLUMNS:
            yield title
        else:
            bar.add_column(no_wrap=True, overflow="ellipsis", max_width=width // 3, min_width=width // 5)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True, justify="right")
        progress = ProgressBar(total=max(1, job.total), completed=job.done)
        bar.add_row(*([] if width < _NARROW_COLUMNS else [title]), progress, words.progress(job) or "…")
        yield bar
        lines = Table.grid(padding=(0, 2, 0, 0))
        lines.add_column(no_wrap=True, style="dim")
        lines.add_column()
        for label, text in job_lines(job, self._snapshot):
            lines.add_row(label, text)
        yield lines


def job_title(job: JobView, *, full_names: bool) -> str:
    """Its name, and its namespace where several are shown."""
    return printable(job.full_name if full_names else job.name)


def job_lines(job: JobView, snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """The lines below a job's bar: a label and words."""
    state = words.state(job, snapshot.now)
    yield "state", f"{state}, deleted" if job.name in snapshot.missing else state
    if job.failed:
        yield "failed", f"{job.failed:,}"
    if job.bottleneck and job.finished is None:
        yield "bottleneck", printable(job.bottleneck)
    for index, why in enumerate(words.hindrances(job)):
        yield "" if index else "why", why


def slots_lines(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """A line for each limit and node, those first that the jobs at work hold or wait for: a title and words."""
    working = [job for job in snapshot.jobs if job.finished is None]
    rated = [(slots, shares_words(slots, working)) for slots in snapshot.slots]
    rated.sort(key=lambda entry: not entry[1])  # stable: otherwise by limit and node
    for slots, shares in rated[:_SHOWN_NODES]:
        told = slots_words(slots)
        yield f"{printable(slots.limit)} on {printable(slots.node)}", f"{told} ({shares})" if shares else told
    if len(rated) > _SHOWN_NODES:
        yield "", f"and {len(rated) - _SHOWN_NODES:,} more"
    if snapshot.slots_note:
        yield "slots", snapshot.slots_note


def shares_words(slots: NodeSlots, jobs: list[JobView]) -> str:
    """`demo holds 1, next at place 2`, for each of the jobs that has something of the slots."""
    if slots.state is None:
        return ""
    shares = [(job, share_of(slots.state, job.namespace, job.name)) for job in jobs]
    return "; ".join(f"{printable(job.name)} {_share(share)}" for job, share in shares if share.held or share.places)


def _share(share: Share) -> str:
    holds = [f"holds {share.held}"] if share.held else []
    return ", ".join([*holds, *([f"is next at place {share.places[0]}"] if share.places else [])])
