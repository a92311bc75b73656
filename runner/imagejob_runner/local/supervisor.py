"""Plans a job, runs its shards in processes of this machine, and ends it: what the operator, the Job and the kubelet do in a cluster."""

import asyncio
import uuid
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from imagejob_api.failure import blame, most_failed, too_many_failures
from imagejob_api.imagejob import ImageJob, ImageJobSpec, Phase
from imagejob_api.nodelimit import NodeLimit
from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_runner.constants import ExitCode
from imagejob_runner.local.figures import RunProgress, RunResult
from imagejob_runner.local.judgement import judge
from imagejob_runner.local.limits import LocalLimits
from imagejob_runner.local.messages import Ended, Go, Ready, Snapshot, Stop
from imagejob_runner.local.processes import RunnerProcesses
from imagejob_runner.local.tally import Tally
from imagejob_runner.output import FoundRows, Summary, committed_chunks, finalize, reopen
from imagejob_runner.pipeline.engine import EngineSettings
from imagejob_runner.pipeline.turn import now
from imagejob_runner.planning import Plan, plan_job, planned_models
from imagejob_runner.shard import ShardRequest
from imagejob_runner.startup import StartUp
from imagejob_runner.storage import OutputStore, open_output
from imagejob_runner.storage.writable import until_writable
from imagejob_runner.utilisation import utilisation

REPORT_SECONDS = 0.25
STORAGE_SECONDS = 3.0
"""So long the output's storage may be away at the start: somebody is looking, and may start the run again."""
GRACE_SECONDS = 30.0
"""Processes that do not end in this time when the run has to are killed, as the kubelet does; after Ctrl-C the user decides."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What is run.

    Attributes:
        job: The job.
        pipeline: Its steps.
        limits: Limits by name, as far as the steps name them.
        parallelism: Processes at once; the job's own unless set.
        output_url: Where the rows go; the job's own unless set.
    """

    job: ImageJob
    pipeline: ImagePipelineSpec
    limits: Mapping[str, NodeLimit]
    parallelism: int | None = None
    output_url: str | None = None


@dataclass(slots=True)
class _Runner:
    """A process that runs a shard."""

    shard: int
    key: str
    process: ForkServerProcess
    connection: Connection
    started: float
    ready: bool = False
    ended: Ended | None = None


class LocalRun:
    """One run of a job on this machine.

    Args:
        request: What is run.
        on_progress: Called a few times a second, from the thread that runs.
        begun: When the command was started, as `pipeline.turn.now` counts; now unless given.
    """

    def __init__(
        self, request: RunRequest, on_progress: Callable[[RunProgress], None] = lambda _: None, begun: float | None = None
    ) -> None:
        spec = request.job.spec
        self._request, self._on_progress = request, on_progress
        self._url = request.output_url or spec.output.url
        self._parallelism = request.parallelism or spec.parallelism
        self._limits = LocalLimits(request.pipeline, request.limits)
        self._startup = StartUp(now() if begun is None else begun)
        self._tally = Tally(self._limits.slots, self._startup.begun)
        self._run_id = uuid.uuid4().hex[:12]
        self._runners: dict[str, _Runner] = {}
        self._starts: Counter[int] = Counter()
        self._crashes: Counter[int] = Counter()
        self._why: tuple[Phase, ExitCode, str] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event
        self._planning: asyncio.Future[Plan]
        self._counting: asyncio.Task[None] | None = None
        self._made_ready = 0.0
        self._plan: Plan

    def run(self) -> RunResult:
        """Runs to the end.

        Raises:
            RunnerError: The job cannot be planned or its results not completed; what has been committed stays.
        """
        return asyncio.run(self._run())

    def interrupt(self) -> None:
        """Ends the run in order: batches finish, what is whole is committed. To be called from a signal handler or another thread."""
        self._from_outside(
            self._stop, Phase.SUSPENDED, ExitCode.INTERRUPTED, "Interrupted. Run the same command again to go on where it stopped."
        )

    def kill(self) -> None:
        """Ends the processes at once; what is committed stays."""
        self._from_outside(self._give_up)

    def _from_outside(self, function: Callable[..., None], *arguments: object) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the run has just ended by itself
                self._loop.call_soon_threadsafe(function, *arguments)

    async def _run(self) -> RunResult:
        self._loop, self._changed = asyncio.get_running_loop(), asyncio.Event()
        spec = self._request.job.spec
        if self._request.output_url is not None:
            spec = spec.model_copy(update={"output": spec.output.model_copy(update={"url": self._request.output_url})})
        self._report(Phase.PLANNING)
        output = open_output(self._url)
        self._processes = RunnerProcesses({step.kind for step in self._request.pipeline.steps})
        self._processes.warm_up(self._request.pipeline)
        self._planning = asyncio.ensure_future(self._make_plan(spec, output))
        with closing(self._processes), closing(self._limits), self._deadline(spec.active_deadline_seconds):
            try:
                self._plan = await self._planning
            except asyncio.CancelledError:
                if self._why is None:
                    raise
                return self._result(None)
            self._tally.total = self._plan.total
            if spec.failure_policy.retry_failed:
                await reopen(output)
            reporter = asyncio.create_task(self._report_often())
            try:
                await self._run_shards(await self._unfinished_shards(output))
            finally:
                reporter.cancel()
                self._kill()
        summary = None
        if self._why is None:
            summary = await finalize(output, self._plan, spec.failure_policy, self._facts())
        await self._count_to_the_end()
        self._report(Phase.RUNNING)
        return self._result(summary)

    async def _make_plan(self, spec: ImageJobSpec, output: OutputStore) -> Plan:
        pipeline, name, begun = self._request.pipeline, self._request.job.metadata.name, now()
        await until_writable(output, STORAGE_SECONDS, _say_nothing)
        plan = await plan_job(
            spec,
            pipeline,
            output,
            name=name,
            default_shards=self._parallelism,
            parallelism=self._parallelism,
            before_writing=self._make_ready,
        )
        self._startup.planning = now() - begun - self._made_ready
        return plan

    async def _make_ready(self) -> None:
        """What takes time, and may refuse the job: done side by side, before a plan is written."""
        begun = now()
        await asyncio.gather(self._processes.check_code(), asyncio.to_thread(self._limits.open))
        self._made_ready = now() - begun

    @contextmanager
    def _deadline(self, seconds: int | None) -> Iterator[None]:
        """Stops the run when so many seconds have passed; planning counts."""
        if seconds is None:
            yield
            return
        why = f"activeDeadlineSeconds: {seconds} s have passed."
        timer = asyncio.get_running_loop().call_later(seconds, self._stop, Phase.FAILED, ExitCode.TIMEOUT, why)
        try:
            yield
        finally:
            timer.cancel()

    async def _count_to_the_end(self) -> None:
        """Waits until the rows that were there before are counted, unless the user has no patience for it."""
        if self._counting is not None:
            await asyncio.wait([self._counting])

    def _facts(self) -> dict[str, object]:
        limits = {name: figures.as_json() for name, figures in self._tally.limits().items()}
        end = self._end_seconds()
        return {
            "elapsedSeconds": round(self._tally.elapsed_seconds, 4),
            "limits": limits,
            "start": self._startup_so_far().as_json(),
            "endSeconds": None if end is None else round(end, 3),
            "utilisation": utilisation(self._tally.times).as_json(),
        }

    def _startup_so_far(self) -> StartUp:
        first = self._tally.first_start
        if first is not None:
            self._startup.first_image = first - self._startup.begun
        self._startup.importing = self._processes.import_seconds
        return self._startup

    def _end_seconds(self) -> float | None:
        last = self._tally.last_save
        return None if last is None else now() - last

    async def _unfinished_shards(self, output: OutputStore) -> list[int]:
        """The shards that have something to do: what is there already needs no process."""
        plan = self._plan
        if self._request.job.spec.failure_policy.retry_failed:
            return list(range(plan.shards))
        done = await committed_chunks(output, plan)
        missing = {chunk % plan.shards for chunk in range(plan.chunks) if chunk not in done}
        found = FoundRows(output, plan)
        found.expect([chunk for chunk in done if chunk % plan.shards not in missing])
        self._tally.found = found.statuses
        self._counting = asyncio.create_task(found.read())
        return sorted(missing)

    async def _run_shards(self, shards: Collection[int]) -> None:
        waiting = deque(shards)
        if waiting:
            await asyncio.to_thread(self._limits.open)
        while self._why is None and (waiting or self._runners):
            while waiting and len(self._runners) < self._parallelism:
                await self._start(waiting.popleft())
            await self._until_change()
            waiting.extend(self._reap())
            self._apply_failure_policy()
        await self._until_all_ended()

    async def _start(self, shard: int) -> None:
        self._starts[shard] += 1
        request = ShardRequest(
            output_url=self._url,
            shards=(shard,),
            pipeline=self._request.pipeline,
            models=planned_models(self._plan.components),
            retry_failed=self._request.job.spec.failure_policy.retry_failed,
            run_id=f"{self._run_id}-{self._starts[shard]}",
            settings=replace(EngineSettings(), priority=self._request.job.spec.priority),
        )
        process, connection = await self._processes.start(request)
        runner = _Runner(shard, f"{shard}/{self._starts[shard]}", process, connection, now())
        self._runners[runner.key] = runner
        self._tally.started(runner.key)
        assert self._loop is not None  # noqa: S101  set before any process is started
        self._loop.add_reader(connection.fileno(), self._receive, runner)
        if self._why is not None:
            _send(runner, Stop())

    def _receive(self, runner: _Runner) -> None:
        try:
            message = runner.connection.recv()
        except (EOFError, OSError):
            self._drop_reader(runner)
            self._changed.set()
            return
        if isinstance(message, Snapshot):
            self._tally.add(runner.key, message)
        elif isinstance(message, Ready):
            runner.ready = True
            if self._startup.loading is None:
                self._startup.loading = now() - runner.started
            self._start_together()
        elif isinstance(message, Ended):
            runner.ended = message
            # What it does from here on is to give its memory back, and nobody needs to wait for that.
            self._drop_reader(runner)
        self._changed.set()

    def _start_together(self) -> None:
        """Lets processes begin when all that are there are ready: loading one's model must not slow down another's images."""
        if all(runner.ready for runner in self._runners.values()):
            for runner in self._runners.values():
                _send(runner, Go())

    def _drop_reader(self, runner: _Runner) -> None:
        if not runner.connection.closed:
            assert self._loop is not None  # noqa: S101  set before any process is started
            self._loop.remove_reader(runner.connection.fileno())
            runner.connection.close()

    def _reap(self) -> list[int]:
        """Takes leave of processes whose pipe has closed; returns the shards to start again."""
        again: list[int] = []
        for key, runner in [(key, runner) for key, runner in self._runners.items() if runner.connection.closed]:
            if runner.ended is None:
                runner.process.join()
            del self._runners[key]
            self._start_together()
            self._tally.ended(key)
            if runner.ended is None:
                again += self._after_crash(runner.shard, _how_it_ended(runner.process))
            elif runner.ended.error is not None and runner.ended.again:
                again += self._after_crash(runner.shard, runner.ended.error)
            elif runner.ended.error is not None:
                self._stop(Phase.FAILED, ExitCode(runner.ended.exit_code), runner.ended.error)
            elif runner.ended.stopped and self._why is None:
                again.append(runner.shard)  # somebody else has asked it to end, as a machine does that shuts down
        return again

    def _after_crash(self, shard: int, how: str) -> list[int]:
        self._crashes[shard] += 1
        crashes, most = self._crashes[shard], self._request.job.spec.failure_policy.backoff_limit_per_shard
        if self._why is not None:
            return []
        if crashes > most:
            self._stop(
                Phase.FAILED,
                ExitCode.JOB_FAILED,
                f"The process of shard {shard} crashed {crashes} times (last: {how}); "
                f"failurePolicy.backoffLimitPerShard allows {most} restarts. Run the same command again to go on with what is missing.",
            )
            return []
        self._tally.restarts += 1
        return [shard]

    def _apply_failure_policy(self) -> None:
        why = too_many_failures(self._request.job.spec.failure_policy, self._tally.failed, self._tally.done)
        # Once everything has ended nothing is won by stopping, and the end is judged with all files written.
        if why is not None and not self._tally.everything_ended:
            whose = blame(most_failed(self._tally.errors, self._tally.examples))
            self._stop(Phase.FAILED, ExitCode.JOB_FAILED, f"{why}{whose}")

    def _stop(self, phase: Phase, code: ExitCode, why: str) -> None:
        if self._why is None:
            self._why = (phase, code, why)
            if code is not ExitCode.INTERRUPTED:
                asyncio.get_running_loop().call_later(GRACE_SECONDS, self._kill)
        self._planning.cancel()
        for runner in self._runners.values():
            _send(runner, Stop())
        self._changed.set()

    def _give_up(self) -> None:
        if self._counting is not None:
            self._counting.cancel()
        self._kill()

    def _kill(self) -> None:
        for runner in self._runners.values():
            runner.process.kill()

    async def _until_change(self) -> None:
        await self._changed.wait()
        self._changed.clear()

    async def _until_all_ended(self) -> None:
        while self._runners:
            await self._until_change()
            self._reap()

    async def _report_often(self) -> None:
        while True:
            self._report(Phase.RUNNING)
            await asyncio.sleep(REPORT_SECONDS)

    def _report(self, phase: Phase) -> None:
        self._on_progress(self._tally.progress(phase))

    def _result(self, summary: Summary | None) -> RunResult:
        tally, progress = self._tally, self._tally.progress(Phase.RUNNING)
        if summary is not None:
            succeeded, failed, skipped = summary.succeeded, summary.failed, summary.skipped
            phase, code, why = judge(summary)
        else:
            assert self._why is not None  # noqa: S101  there is a summary unless something ended the run
            before = tally.already
            succeeded, skipped = progress.succeeded + before["ok"], progress.skipped + before["skipped"]
            failed = progress.failed + before["failed"]
            phase, code, why = self._why
        return RunResult(
            phase=phase,
            exit_code=code,
            message=why,
            total=self._tally.total,
            succeeded=succeeded,
            failed=failed,
            skipped=skipped,
            elapsed_seconds=tally.elapsed_seconds,
            wall_seconds=tally.wall_seconds,
            done=tally.done,
            output=self._url,
            limits=tally.limits(),
            errors=tally.errors,
            startup=self._startup_so_far(),
            end_seconds=self._end_seconds(),
            utilisation=utilisation(tally.times),
        )


async def _say_nothing(_why: str) -> None:
    """The error that follows says it."""


def _send(runner: _Runner, message: Go | Stop) -> None:
    with suppress(OSError):  # it has just ended by itself
        runner.connection.send(message)


def _how_it_ended(process: ForkServerProcess) -> str:
    code = process.exitcode
    if code is not None and code < 0:
        return f"killed by signal {-code}" + (", often for want of memory" if code == -9 else "")  # noqa: PLR2004  SIGKILL
    return f"exit code {code}"
