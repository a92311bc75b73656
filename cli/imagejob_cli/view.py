"""A run at one moment as a terminal shows it: pure rendering, for any width."""

from collections.abc import Mapping

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from imagejob_api.imagejob import Phase
from imagejob_cli.wording import clock, count, milliseconds, printable, rate
from imagejob_runner.local.figures import RunProgress
from imagejob_runner.utilisation import Utilisation

_LEAST_SHARE = 0.005
NARROW_COLUMNS = 60
"""Below this the name of the job has a line of its own."""


class RunView:
    """A run at one moment: a bar, and below it what is known.

    Args:
        name: Of the job.
        progress: The moment.
    """

    def __init__(self, name: str, progress: RunProgress) -> None:
        self._name, self._progress = printable(name), progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """See rich."""
        progress = self._progress
        narrow = options.max_width < NARROW_COLUMNS
        bar = Table.grid(expand=True, padding=(0, 1, 0, 0))
        if narrow:
            yield Text(self._name, style="bold", no_wrap=True, overflow="ellipsis")
        else:
            bar.add_column(no_wrap=True, overflow="ellipsis", max_width=options.max_width // 3)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True)
        title = [] if narrow else [Text(self._name, style="bold")]
        bar.add_row(*title, ProgressBar(total=max(1, progress.total), completed=progress.done), f"{progress.done:,}/{progress.total:,}")
        yield bar
        lines = Table.grid(padding=(0, 2, 0, 0))
        lines.add_column(no_wrap=True, style="dim")
        lines.add_column()
        for label, text in details(progress):
            lines.add_row(label, text)
        yield lines


def details(progress: RunProgress) -> list[tuple[str, str]]:
    """The lines below the bar: a label and words; only those that have something to say."""
    if progress.phase is Phase.PLANNING:
        return [("state", state(progress))]
    limits = [f"{name} {use.held}/{use.slots} held, {use.waiting} waiting" for name, use in progress.limits.items()]
    stages = [f"{name} {milliseconds(1000 * seconds / images)}" for name, (images, seconds) in progress.stages.items() if images]
    lines = [
        ("state", state(progress)),
        ("failed", errors(progress.errors)),
        ("slots", "; ".join(limits)),
        ("per image", ", ".join(stages)),
        ("busy", busy(progress.utilisation)),
        ("bottleneck", printable(progress.utilisation.bottleneck.message) if progress.utilisation.bottleneck is not None else ""),
    ]
    return [(label, text) for label, text in lines if text]


def state(progress: RunProgress) -> str:
    """Where the run stands, on one line."""
    if progress.phase is Phase.PLANNING:
        return f"planning, {clock(progress.elapsed_seconds)}"
    fresh = progress.done == progress.already
    parts = [
        f"{100 * progress.done // max(1, progress.total)}%",
        "starting" if fresh and progress.done < progress.total else rate(progress.images_per_second),
        f"{clock(progress.elapsed_seconds)} elapsed",
    ]
    if progress.eta_seconds is not None and progress.done < progress.total:
        parts.append(f"{clock(progress.eta_seconds)} left")
    if progress.already:
        parts.append(f"{progress.already:,} there before")
    if progress.skipped:
        parts.append(f"{progress.skipped:,} skipped")
    parts.append(count(progress.workers, "process", "processes"))
    if progress.restarts:
        parts.append(f"{count(progress.restarts, 'restart')} after a crash")
    return ", ".join(parts)


def busy(found: Utilisation) -> str:
    """`device 93%, CPUs 71%; download 3%, classify 93%`: parts of the time, as far as there are any."""
    overall = [("device", found.device), ("CPUs", found.cpus)]
    parts = [", ".join(f"{name} {100 * share:.0f}%" for name, share in overall if share is not None)]
    parts.append(", ".join(f"{name} {100 * use.busy:.0f}%" for name, use in found.stages.items() if use.busy >= _LEAST_SHARE))
    return printable("; ".join(filter(None, parts)))


def errors(codes: Mapping[str, int]) -> str:
    """`3: NotFound 2, TruncatedImage 1`, the most frequent first; empty without failures."""
    if not codes:
        return ""
    ordered = sorted(codes.items(), key=lambda item: (-item[1], item[0]))
    return f"{sum(codes.values()):,}: " + ", ".join(f"{code} {number:,}" for code, number in ordered)
