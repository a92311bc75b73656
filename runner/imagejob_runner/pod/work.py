"""`imagejob-runner work`: the pod's shards, and the end of the job where this pod is the last."""

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from imagejob_api.pod import METRICS_PORT
from imagejob_runner.daemon import in_daemon
from imagejob_runner.output import FoundRows, committed_chunks, reopen
from imagejob_runner.pipeline.engine import EngineSettings
from imagejob_runner.pipeline.turn import now
from imagejob_runner.pipeline.works import PREPARED, load
from imagejob_runner.planning import Plan, planned_models
from imagejob_runner.pod.context import Context
from imagejob_runner.pod.environment import PodEnvironment
from imagejob_runner.pod.exits import StoppedError
from imagejob_runner.pod.finish import complete
from imagejob_runner.pod.job import plan_to_work_by
from imagejob_runner.pod.logs import ProgressLog, summary_line
from imagejob_runner.pod.metrics import PodMetrics, serve
from imagejob_runner.pod.output import writable_output
from imagejob_runner.pod.reporter import Reporter, own_pod
from imagejob_runner.pod.standing import Observer
from imagejob_runner.preparation import processes as preparation
from imagejob_runner.shard import ShardRequest, ShardRun
from imagejob_runner.startup import process_begun
from imagejob_runner.storage import OutputStore
from nodelease import LeaseClient

STOP_SECONDS: Final = 40.0
"""Longest time from a signal until the process ends without what is not whole by then; pods have a minute."""
LOOK_SECONDS: Final = 1.0

logger = logging.getLogger(__name__)


async def work(context: Context) -> None:
    """Does what is missing of the pod's shards, and completes the output when no row of the whole job is missing.

    Rows are done again where `failurePolicy.retryFailed` says so, and then parts change until the last pod is done. So no working pod can
    tell when the job is, and the summary is left to `finish`.

    Raises:
        StoppedError: A signal came before the shards were done.
        RunnerError: The work cannot go on.
    """
    job, pod = context.job, context.pod
    # torch takes seconds to load, and needs nothing of what is looked up meanwhile; a pod that turns out to have nothing to do just ends.
    kinds = {step.kind for step in job.pipeline.steps}
    if not PREPARED.isdisjoint(kinds):
        preparation.start_server()
    loaded = asyncio.create_task(in_daemon(partial(load, kinds)))
    output = await writable_output(context, planned=job.spec.source.urls is None)
    plan = await context.stop.or_else(plan_to_work_by(job, output))
    shards = pod.shards(plan.shards)
    logger.info(
        "%s/%s: pod %d of %d on %s, shards %s of %d",
        job.namespace,
        job.name,
        pod.index,
        pod.pods,
        pod.node or "this machine",
        ", ".join(map(str, shards)) or "none",
        plan.shards,
    )
    if not shards:
        return
    await _ShardWork(context, output, plan, shards, loaded).run()
    if job.spec.failure_policy.retry_failed or context.stop.asked:
        return
    if len(await context.stop.or_else(committed_chunks(output, plan))) == plan.chunks:
        await complete(context, output, plan)


def lease_client(pod: PodEnvironment) -> LeaseClient:
    """Takes slots of the node's Leases; without a cluster, of this machine's own store."""
    if pod.lease_namespace:
        return LeaseClient.kubernetes()
    return LeaseClient.local(f"{pod.namespace}/{pod.name}" if pod.name else f"runner-{os.getpid()}")


class _ShardWork:
    """The work on a pod's shards, and what is told about it."""

    def __init__(self, context: Context, output: OutputStore, plan: Plan, shards: tuple[int, ...], loaded: asyncio.Task[None]) -> None:
        self._context, self._output, self._plan, self._shards = context, output, plan, shards
        self._loaded = loaded
        self._retry = context.job.spec.failure_policy.retry_failed
        self._limits = sorted({limit.name for step in context.job.pipeline.steps for limit in step.limits})
        self._total = sum(plan.chunk_total(chunk) for shard in shards for chunk in range(shard, plan.chunks, plan.shards))
        self._overran = False

    async def run(self) -> None:
        client = lease_client(self._context.pod) if self._limits else None
        self._observer = Observer(self._total, self._limits, client)
        begun = now()
        async with self._told():
            try:
                await self._work(client)
            finally:
                # Before the last report is made: others wait for the slots. One under which a thread still computes, which nothing can
                # stop but the end of the process, is freed by that end: the operator's reaper or the local store's server sees it.
                if client is not None and not self._overran:
                    await asyncio.to_thread(client.close)
        standing = self._observer.look()
        logger.info("Done with the shards after %.1f s: %s", now() - begun, summary_line(standing))
        limiting = self._observer.overall().bottleneck
        if limiting is not None:
            logger.info("%s", limiting.message[0].upper() + limiting.message[1:])

    async def _work(self, client: LeaseClient | None) -> None:
        if self._retry:
            await reopen(self._output)
        done = await self._context.stop.or_else(committed_chunks(self._output, self._plan, self._shards))
        if not self._retry and sum(map(self._plan.chunk_total, done)) == self._total:
            await self._count(done)
        else:
            await self._do(client)

    async def _count(self, done: set[int]) -> None:
        """Counts the rows where no image is left to do: neither torch nor a model is loaded for that."""
        rows = FoundRows(self._output, self._plan)
        self._observer.rows = rows
        rows.expect(done)
        await self._context.stop.or_else(rows.read())

    async def _do(self, client: LeaseClient | None) -> None:
        stop = self._context.stop
        await stop.or_else(self._loaded)
        run = ShardRun(self._request(), client)
        self._observer.run = run
        ready = asyncio.Event()

        async def when_ready() -> None:
            ready.set()
            logger.info("Ready for the first image %.1f s after the start of the process", now() - process_begun())

        task = asyncio.create_task(run.run(when_ready))
        if await stop.during(task):
            task.result()
            return
        if not ready.is_set():
            raise StoppedError("asked to stop while the model was being loaded")
        logger.info("Asked to stop: finishing the batch, and committing what is whole")
        await run.stop()
        await asyncio.wait({task}, timeout=STOP_SECONDS)
        self._overran = not task.done()
        if task.done():
            task.result()
        standing = self._observer.look()
        if not task.done() or standing.images.done < self._total:
            raise StoppedError(f"asked to stop: {summary_line(standing)}; another pod goes on")

    def _request(self) -> ShardRequest:
        job, pod = self._context.job, self._context.pod
        node = pod.node or os.uname().nodename
        return ShardRequest(
            output_url=job.spec.output.url,
            shards=self._shards,
            pipeline=job.pipeline,
            models=planned_models(self._plan.components),
            retry_failed=self._retry,
            run_id=uuid.uuid4().hex[:12],
            settings=EngineSettings(priority=job.spec.priority, node=node),
        )

    @contextlib.asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        """Tells the log, the API server and Prometheus how the work goes, while inside; and the result, however it ends."""
        observer, context = self._observer, self._context
        pod = context.pod
        reporter = Reporter(own_pod(pod), pod.progress_seconds, observer.report, context.stop.ask)
        end_metrics = serve(METRICS_PORT, PodMetrics(lambda: observer.latest))
        tasks = [asyncio.create_task(self._watch()), asyncio.create_task(reporter.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            context.tell(images=observer.look().images)
            await reporter.close()
            end_metrics()

    async def _watch(self) -> None:
        log = ProgressLog()
        while True:
            log.update(self._observer.look(), now())
            await asyncio.sleep(LOOK_SECONDS)
