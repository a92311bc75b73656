"""The end of a run in words: what became of the images, what the limits cost, where the rows are and what one may do next."""

import shlex
from collections.abc import Iterator

from imagejob_cli.view import busy, errors
from imagejob_cli.wording import count, milliseconds, printable, rate, span
from imagejob_runner.constants import ExitCode
from imagejob_runner.local.figures import RunProgress, RunResult
from imagejob_runner.statistics import percentile

_LABEL_WIDTH = 12


def summary(name: str, result: RunResult, last: RunProgress | None) -> Iterator[str]:
    """The lines of the summary.

    Args:
        name: Of the job.
        result: How the run ended.
        last: The last moment of the run, for the times of the steps.
    """
    yield f"{printable(name)}: {result.phase.value.lower()}"
    if result.message:
        yield from (f"  {line}" for line in printable_lines(result.message))
    yield _labelled("images", _images(result))
    yield _labelled("time", _time(result))
    if start := _start(result):
        yield _labelled("start", start)
    if result.errors:
        yield _labelled("failed", errors(result.errors))
    for limit, figures in result.limits.items():
        if figures.holds:
            yield _labelled("slots", _limit(limit, result))
    if last is not None and any(images for images, _ in last.stages.values()):
        stages = [f"{step} {milliseconds(1000 * seconds / images)}" for step, (images, seconds) in last.stages.items() if images]
        yield _labelled("per image", ", ".join(stages))
    if use := busy(result.utilisation):
        yield _labelled("busy", use)
    if result.utilisation.bottleneck is not None:
        yield _labelled("bottleneck", printable(result.utilisation.bottleneck.message))
    yield _labelled("results", printable(result.output))
    if result.exit_code in (ExitCode.SUCCEEDED, ExitCode.PARTIAL, ExitCode.JOB_FAILED) and result.total:
        output = shlex.quote(result.output)
        yield _labelled("next", f"imagejob show {output}")
        yield _labelled("", f"imagejob verify {output}")


def printable_lines(text: str) -> list[str]:
    """The lines of a text, each safe to print."""
    return [printable(line) for line in text.splitlines()]


def _labelled(label: str, text: str) -> str:
    return f"  {label:<{_LABEL_WIDTH}}{text}"


def _images(result: RunResult) -> str:
    parts = [f"{result.succeeded:,} succeeded", f"{result.failed:,} failed"]
    if result.skipped:
        parts.append(f"{result.skipped:,} skipped")
    missing = result.total - result.succeeded - result.failed - result.skipped
    if missing > 0:
        parts.append(f"{missing:,} not done")
    return f"{', '.join(parts)} of {result.total:,}"


def _time(result: RunResult) -> str:
    if not result.done and not result.exit_code:
        return f"{span(result.wall_seconds)}; nothing was left to do"
    if not result.done or not result.elapsed_seconds:
        return span(result.wall_seconds)
    elapsed = f"{count(result.done, 'image')} in {span(result.elapsed_seconds)}, {rate(result.images_per_second)}"
    return f"{elapsed}; {span(result.wall_seconds)} with start and end"


def _start(result: RunResult) -> str:
    """What the run took besides its work, in phases that overlap; empty if no image was begun."""
    startup = result.startup
    if startup is None or startup.first_image is None:
        return ""
    named = (("importing", startup.importing), ("planning", startup.planning), ("loading", startup.loading))
    phases = ", ".join(f"{name} {span(seconds)}" for name, seconds in named if seconds is not None)
    end = f"; the end took {span(result.end_seconds)}" if result.end_seconds is not None else ""
    return f"{span(startup.first_image)} until the first image ({phases}, side by side){end}"


def _limit(name: str, result: RunResult) -> str:
    figures = result.limits[name]
    busy = f"{100 * figures.busy_seconds / figures.held_seconds:.0f}% at work" if figures.held_seconds else "never at work"
    parts = [
        f"{name}: {count(figures.holds, 'hold')}, at most {figures.max_holders} at once",
        f"held {span(figures.held_seconds)}, {busy}",
        f"waited {span(figures.wait_seconds)}",
    ]
    median, worst = percentile(figures.hand_over_ms, 50), percentile(figures.hand_over_ms, 99)
    if median is not None and worst is not None:
        parts.append(f"hand-over p50 {milliseconds(median)}, p99 {milliseconds(worst)}")
    return ", ".join([*parts, count(figures.writes, "Lease write")])
