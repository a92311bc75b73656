"""Plans a job into its output, or finds that it is planned there already.

The order of writes is what makes planning safe against a kill and against a second planner: first the manifest, in a folder named by its
own digest, so that planners of different jobs never write the same names and planners of the same job write the same bytes; the plan last,
and only if there is none. Whoever loses that race reads the winner's plan and compares.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from imagejob_api.imagejob import ImageJobSpec
from imagejob_api.pipeline import Download, ImagePipelineSpec
from imagejob_api.pod import default_chunk_size
from imagejob_api.redaction import shown_url
from imagejob_runner.constants import MANIFEST_FOLDER, PLAN_FILE, RESULTS_FOLDER, SUCCESS_FILE, WRITABLE_FILE
from imagejob_runner.exceptions import InvalidSourceError, OutputExistsError, StorageError
from imagejob_runner.planning.chunks import manifest_name
from imagejob_runner.planning.components import pipeline_components
from imagejob_runner.planning.differences import fingerprint_error
from imagejob_runner.planning.digest import SourceDigest
from imagejob_runner.planning.plan import Plan, encode_plan, find_plan, fingerprint_of
from imagejob_runner.planning.spool import Spool
from imagejob_runner.sources import Entry, list_source
from imagejob_runner.storage import OutputStore

_SHOWN_NAMES: Final = 3


async def plan_job(
    spec: ImageJobSpec,
    pipeline: ImagePipelineSpec,
    output: OutputStore,
    *,
    name: str,
    default_shards: int,
    parallelism: int | None = None,
    owner: str = "",
    before_writing: Callable[[], Awaitable[None]] | None = None,
) -> Plan:
    """Plans a job, or resumes an equal one.

    A plan that exists keeps its chunk size and its number of shards, whatever the job says now; then nothing is written.

    Args:
        spec: The job.
        pipeline: Its pipeline.
        output: Where it writes.
        name: The job's name.
        default_shards: Number of shards when the job sets none.
        parallelism: Processes at once; the job's own unless given. A job that sets no chunk size gets one that suits so many.
        owner: Uid of the job, if it has one. What a process of the same job has planned is nothing that `ifExists: fail` refuses.
        before_writing: Awaited before anything of a new plan is written. If it raises, nothing is: a mistake that it finds can be put
            right and the output used, while a plan that is written refuses the corrected job.

    Returns:
        The plan, with `pipeline` as given.

    Raises:
        OutputExistsError: The output holds something, and must not.
        FingerprintError: The output belongs to a job that differs; says in what.
        DuplicateIdError: Two inputs have one id. Nothing has been written.
        InvalidJobError: The source or the pipeline says something that cannot be.
        StorageError: Something cannot be read or written.
    """
    planner = _Planner(spec, pipeline, output, name, owner, before_writing)
    existing = await find_plan(output)
    if spec.output.if_exists == "fail":
        await planner.refuse_anything(existing)
    await output.clean_up()
    if existing is None:
        return await planner.create(spec.shards or default_shards, parallelism or spec.parallelism)
    source = SourceDigest()
    async for entry in planner.entries():
        source.add(entry)
    return await planner.resume(existing, source)


async def confirm_plan(plan: Plan, output: OutputStore, pipeline: ImagePipelineSpec, output_format: str) -> None:
    """Makes sure that a pipeline, with its files as they are now, writes the rows that a plan is for.

    The source is not listed: whoever planned has done that.

    Raises:
        FingerprintError: It does not; says in what.
        ModelError: A model is not the one that its sha256 says, or cannot be had.
        RunnerError: A model or a list of labels cannot be read.
    """
    components = {"source": plan.components["source"], "steps": await pipeline_components(pipeline)}
    if plan.fingerprint != fingerprint_of(components) or plan.format != output_format:
        raise await fingerprint_error(output, plan, components, output_format, None)


class _Planner:
    """One planning of one job."""

    def __init__(
        self,
        spec: ImageJobSpec,
        pipeline: ImagePipelineSpec,
        output: OutputStore,
        name: str,
        owner: str,
        before_writing: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._spec = spec
        self._pipeline = pipeline
        self._output = output
        self._name, self._owner = name, owner
        self._before_writing = before_writing
        self._download = next((step.download for step in pipeline.steps if step.download is not None), Download())

    def entries(self) -> AsyncIterator[Entry]:
        """The inputs, listed anew with each call."""
        return list_source(self._spec.source, output_url=self._output.url, download=self._download)

    async def refuse_anything(self, plan: Plan | None) -> None:
        """Raises OutputExistsError if the output holds anything at all that is not of this very job."""
        if plan is not None and self._owns(plan):
            return
        # A manifest without a plan may be one that another pod of this job is about to write the plan for.
        passing = f"{MANIFEST_FOLDER}/" if self._owner else None
        found = [name async for name in self._output.names() if name != WRITABLE_FILE and (passing is None or not name.startswith(passing))]
        if found:
            shown = ", ".join(found[:_SHOWN_NAMES]) + (f" and {len(found) - _SHOWN_NAMES} more" if len(found) > _SHOWN_NAMES else "")
            raise OutputExistsError(
                f"{self._output.url} holds {shown}, and output.ifExists is fail; use another output.url, empty it, or set ifExists: resume"
            )

    async def create(self, shards: int, parallelism: int) -> Plan:
        """Writes a new plan."""
        await self._refuse_orphans()
        with Spool() as spool:
            await spool.fill(self.entries())
            if spool.total == 0:
                raise InvalidSourceError(f"the source lists no inputs: {self._empty_hint()}")
            components = await self._components(spool.digest)
            if self._before_writing is not None:
                await self._before_writing()
            chunk_size = self._spec.chunk_size or default_chunk_size(spool.total, parallelism, self._pipeline.steps)
            spool.divide(chunk_size)
            # More shards than chunks would be pods with nothing to do.
            shards = min(shards, -(-spool.total // chunk_size))
            plan = Plan(
                name=self._name,
                owner=self._owner,
                total=spool.total,
                chunk_size=chunk_size,
                shards=shards,
                format=self._spec.output.format,
                typed=True,
                manifest=f"{MANIFEST_FOLDER}/{spool.content_id}-{shards}",
                fingerprint=fingerprint_of(components),
                components=components,
                pipeline=self._pipeline,
            )
            for shard in range(shards):
                await self._output.replace_file(manifest_name(plan.manifest, shard), spool.shard_file(shard, shards))
            if await self._output.create(PLAN_FILE, encode_plan(plan)):
                return plan
            winner = await find_plan(self._output)
            if winner is None:
                raise StorageError(f"{self._output.url}: {PLAN_FILE} appeared and vanished while planning; does somebody empty the output?")
            if self._spec.output.if_exists == "fail" and not self._owns(winner):
                raise OutputExistsError(f"{self._output.url}: another run planned its job there just now, and output.ifExists is fail")
            return await self.resume(winner, spool.digest)

    async def resume(self, plan: Plan, source: SourceDigest) -> Plan:
        """The plan that is there, if it is of an equal job."""
        components = await self._components(source)
        if plan.fingerprint != fingerprint_of(components) or plan.format != self._spec.output.format:
            raise await fingerprint_error(self._output, plan, components, self._spec.output.format, self.entries())
        return plan.model_copy(update={"pipeline": self._pipeline})

    def _owns(self, plan: Plan) -> bool:
        return bool(self._owner) and plan.owner == self._owner

    async def _components(self, source: SourceDigest) -> dict[str, Any]:
        return {"source": source.component(), "steps": await pipeline_components(self._pipeline)}

    async def _refuse_orphans(self) -> None:
        """Results without a plan are somebody else's, or what is left of a plan that was deleted: nothing to mix new rows with."""
        async for name in self._output.names(RESULTS_FOLDER):
            raise OutputExistsError(f"{self._output.url} holds {name} but no {PLAN_FILE}; use another output.url, or remove it")
        if await self._output.read(SUCCESS_FILE) is not None:
            raise OutputExistsError(f"{self._output.url} holds {SUCCESS_FILE} but no {PLAN_FILE}; use another output.url, or remove it")

    def _empty_hint(self) -> str:
        source = self._spec.source
        if source.prefix is not None:
            return f"nothing below {shown_url(source.prefix.url)} fits the glob {source.prefix.glob!r}; check both"
        return f"{shown_url(source.manifest.url) if source.manifest else 'it'} has no rows"
