"""Proves from an output alone that every input has exactly one row, that all of it is as it was written, and that no slot was held twice.

Nothing that the run said about itself is believed: the plan says what there must be, its digests that the manifest is the planned one, the
manifest which inputs there are, the parts what became of them. A few chunks at a time are in memory, so an output of any size can be
checked.
"""

import contextlib
import hashlib
from typing import Final

from imagejob_runner.constants import RESULTS_FOLDER
from imagejob_runner.exceptions import StorageError
from imagejob_runner.output.claims import Claims, DerivedImage
from imagejob_runner.output.codec import decode_rows
from imagejob_runner.output.end import Ended, check_end
from imagejob_runner.output.holds import check_holds
from imagejob_runner.output.parts import chunk_name, chunk_of
from imagejob_runner.output.report import VerifyReport
from imagejob_runner.output.window import ordered, parts_ahead
from imagejob_runner.planning import Chunk, ManifestDigest, Plan, SourceDigest, fingerprint_of, manifest_name, read_plan, shard_chunks
from imagejob_runner.rows import Row
from imagejob_runner.storage import OutputStore

_RESUME: Final = "run the same job again to go on"
_REDO: Final = "delete the file and run the same job again"
_FOREIGN: Final = "remove it: nothing of this job wrote it"
_ELSEWHERE: Final = "it must be whole: use another output"


async def verify(output: OutputStore) -> VerifyReport:
    """Checks an output from top to bottom.

    Args:
        output: The output.

    Returns:
        What was found; `VerifyReport.ok` is the verdict.

    Raises:
        StorageError: There is no plan, or it is damaged, or something cannot be read at all.
    """
    plan = await read_plan(output)
    proof = _Proof(output, plan)
    await proof.run()
    return proof.report


class _Proof:
    """One check of one output."""

    def __init__(self, output: OutputStore, plan: Plan) -> None:
        self.report = VerifyReport(output.url, total=plan.total)
        self._output, self._plan = output, plan
        self._claims: Claims
        self._source, self._manifest = SourceDigest(), ManifestDigest()
        self._ended = Ended()
        self._present: set[int] = set()

    async def run(self) -> None:
        plan = self._plan
        try:
            self._check_plan()
            self._claims = Claims(plan)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"the plan in {self._output.url} cannot be ({error}); restore it, or use another output") from error
        await self._list_parts()
        await self._list_manifest()
        for shard in range(plan.shards):
            try:
                await self._check_shard(shard)
            except StorageError as error:
                self.report.add(manifest_name(plan.manifest, shard), None, str(error), _ELSEWHERE)
        self._check_manifest()
        await check_end(self._output, plan, self._ended, self.report)
        await check_holds(self._output, self.report)

    def _check_plan(self) -> None:
        plan = self._plan
        if plan.fingerprint != fingerprint_of(plan.components):
            raise ValueError("its fingerprint is not that of its components")
        if plan.shards > plan.chunks or plan.components["source"]["count"] != plan.total:
            raise ValueError("its numbers contradict each other")

    async def _list_parts(self) -> None:
        async for name in self._output.names(RESULTS_FOLDER):
            chunk = chunk_of(self._plan, name)
            if chunk is None:
                self.report.add(name, None, "no chunk of the plan has this part", _FOREIGN)
            else:
                self._present.add(chunk)

    async def _list_manifest(self) -> None:
        known = {manifest_name(self._plan.manifest, shard) for shard in range(self._plan.shards)}
        async for name in self._output.names(self._plan.manifest):
            if name not in known:
                self.report.add(name, None, "no shard of the plan has this manifest", _FOREIGN)

    async def _check_shard(self, shard: int) -> None:
        chunks = shard_chunks(self._output, self._plan, shard)
        async with contextlib.aclosing(ordered(chunks, self._read, parts_ahead(self._plan))) as parts:
            async for chunk, data in parts:
                await self._check_chunk(chunk, data)

    async def _read(self, chunk: Chunk) -> tuple[Chunk, bytes | None]:
        if chunk.index not in self._present:
            return chunk, None
        return chunk, await self._output.read(chunk_name(self._plan, chunk.shard, chunk.index))

    async def _check_chunk(self, chunk: Chunk, data: bytes | None) -> None:
        report, name = self.report, chunk_name(self._plan, chunk.shard, chunk.index)
        self._manifest.add(chunk.index, chunk.digest)
        for entry in chunk.entries:
            self._source.add(entry)
        if data is None:
            report.add(name, None, f"missing: {len(chunk.entries)} inputs have no row", _RESUME)
            return
        try:
            rows = decode_rows(data, self._plan.format, name)
        except StorageError as error:
            report.add(name, None, str(error).removeprefix(f"{name}, "), _REDO)
            return
        images = self._claims.check(chunk.entries, rows, lambda line, message: report.add(name, line, message, _REDO))
        await self._check_images(name, images)
        self._count(chunk.index, rows)

    def _count(self, chunk: int, rows: list[Row]) -> None:
        for row in rows:
            match row["status"]:
                case "ok":
                    self.report.succeeded += 1
                case "failed":
                    self.report.failed += 1
                case _:
                    self.report.skipped += 1
        self._ended.add(chunk, rows)

    async def _check_images(self, part: str, images: list[DerivedImage]) -> None:
        async def problem(image: DerivedImage) -> tuple[DerivedImage, str | None]:
            data = await self._output.read(image.name)
            if data is None:
                return image, "is not there"
            if len(data) != image.size or hashlib.sha256(data).hexdigest() != image.sha256:
                return image, f"has {len(data)} bytes, which are not those that were written ({image.size})"
            return image, None

        async with contextlib.aclosing(ordered(images, problem)) as found:
            async for image, wrong in found:
                if wrong is not None:
                    self.report.add(
                        image.name, None, f"{wrong}: row {image.row} of {part} names it", f"delete {part} and run the same job again"
                    )

    def _check_manifest(self) -> None:
        plan, source = self._plan, self._source.component()
        if source != plan.components["source"]:
            self.report.add(
                plan.manifest, None, f"has other inputs than were planned ({source['count']} of {plan.total} are there)", _ELSEWHERE
            )
        elif not plan.manifest.rpartition("/")[2].startswith(f"{self._manifest.name()}-"):
            self.report.add(plan.manifest, None, "has the planned inputs, but not as they were written", _ELSEWHERE)
