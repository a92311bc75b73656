"""Plans a job over many inputs, and writes its output at once, through the very code that plans and writes: what takes long is left out.

python -m bench.million_output photos FOLDER COUNT     empty files, and FOLDER.jsonl, which lists them
python -m bench.million_output plan SOURCE OUTPUT FORMAT
python -m bench.million_output rows OUTPUT             what is missing, and the end
"""

import asyncio
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import free_model
from imagejob_api.imagejob import FailurePolicy, ImageJobSpec
from imagejob_api.pod import default_shards
from imagejob_runner.exceptions import ImageError
from imagejob_runner.item import ImageItem
from imagejob_runner.output import chunk_name, encode_rows, finalize, output_kinds
from imagejob_runner.planning import PlannedModel, plan_job, planned_models, read_plan, shard_chunks
from imagejob_runner.rows import Row, row_of
from imagejob_runner.sources import Entry
from imagejob_runner.storage import open_output

_PER_FOLDER = 1000
_FAILED = 0.01
_LABELS = [f"class {number}, as people call it" for number in range(1000)]


def photos(folder: Path, count: int) -> None:
    """Makes files, and the list of them."""
    with folder.with_suffix(".jsonl").open("w") as manifest:
        for number in range(count):
            path = folder / f"{number // _PER_FOLDER:04d}" / f"img_{number:07d}.jpg"
            if number % _PER_FOLDER == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            manifest.write(f'{{"id": "{path.parent.name}/{path.name}", "url": "{path}"}}\n')


async def plan(source: str, output: str, form: str) -> None:
    """Plans a job over a folder or a list."""
    where = {"manifest" if source.endswith(".jsonl") else "prefix": {"url": source}}
    steps = free_model.steps()
    spec = ImageJobSpec.model_validate({"source": where, "pipeline": {"steps": steps}, "output": {"url": output, "format": form}})
    assert spec.pipeline is not None  # noqa: S101  it stands above
    await plan_job(spec, spec.pipeline, open_output(output), name="million", default_shards=default_shards(1))


async def rows(output: str) -> None:
    """Writes a row for each input, of which a hundredth has failed, then the end."""
    store = open_output(output)
    made = await read_plan(store)
    (model,) = planned_models(made.components).values()
    step = next(step["name"] for step in made.components["steps"] if "infer" in step)
    kinds = output_kinds(made.pipeline)
    chance = random.Random(1)  # noqa: S311  nothing is guarded by it
    for shard in range(made.shards):
        async for chunk in shard_chunks(store, made, shard):
            data = encode_rows([_row(entry, step, model, chance) for entry in chunk.entries], made.format, kinds)
            await store.create(chunk_name(made, shard, chunk.index), data)
    await finalize(store, made, FailurePolicy(), {})


def _row(entry: Entry, step: str, model: PlannedModel, chance: random.Random) -> Row:
    item = ImageItem(entry.id, entry.url, timings={"download": 0.02 * chance.random()})
    if chance.random() < _FAILED:
        return row_of(item, ImageError("CorruptImage", f"the image cannot be decoded: {entry.id}"))
    scores = sorted((chance.random() for _ in range(5)), reverse=True)
    classes = [
        {"label": _LABELS[number], "index": number, "score": round(score, 6)} for score in scores if (number := chance.randrange(1000)) + 1
    ]
    item.outputs[step] = classes
    digest = f"{chance.getrandbits(256):064x}"
    item.provenance = {"node": "gpu-7", "inputSha256": digest, "inputBytes": chance.randrange(9000, 90000), "format": "JPEG"}
    item.provenance |= {"width": 500, "height": 375, "draft": True, "modelSha256": model.sha256, "preprocess": model.preprocess}
    item.timings |= {"decode": 0.003 * chance.random(), step: 0.001 * chance.random(), "save": 1e-5 * chance.random()}
    return row_of(item)


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    actions: dict[str, Callable[..., Any]] = {
        "photos": lambda folder, count: photos(Path(folder), int(count)),
        "plan": lambda source, output, form: asyncio.run(plan(source, output, form)),
        "rows": lambda output: asyncio.run(rows(output)),
    }
    actions[what](*arguments)
