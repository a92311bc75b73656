"""What makes two runs of a job the same: the parts of a pipeline that change what a row says.

How fast, how often and how many at once changes no row and stands in no fingerprint: concurrency, timeouts, retries, limits, batch size,
devices, threads, compiling, headers, and the bounds that only decide whether an image is accepted at all (raise one, and the images that
failed can be done again).
"""

import asyncio
from typing import Any

from imagejob_api.pipeline import ImagePipelineSpec, Infer, Model, Step
from imagejob_api.redaction import shown_url
from imagejob_runner.exceptions import InvalidJobError, ModelError, RunnerError
from imagejob_runner.fetch import model_file, sha256_of
from imagejob_runner.images.recipe import RECIPE
from imagejob_runner.models.labels import IMAGENET


async def pipeline_components(pipeline: ImagePipelineSpec) -> list[dict[str, Any]]:
    """The part of the fingerprint that the pipeline makes, with the digests of the files that it names.

    Raises:
        ModelError: A model is not the one that its sha256 says, or there is no such file.
        RunnerError: A model or a list of labels cannot be read.
    """
    return [{"name": step.name, step.kind: await _step(step)} for step in pipeline.steps]


async def _step(step: Step) -> dict[str, Any]:
    if step.transform is not None:
        found: dict[str, Any] = step.transform.model_dump(mode="json", by_alias=True, exclude_none=True)
        for field in ("maxPixels", "device"):
            del found["decode"][field]
        return found
    if step.infer is not None:
        return await _infer(step.name, step.infer)
    if step.call is not None:
        return step.call.model_dump(mode="json", by_alias=True)
    if step.save is not None:
        return step.save.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {}


async def _infer(step: str, infer: Infer) -> dict[str, Any]:
    found: dict[str, Any] = infer.model_dump(mode="json", by_alias=True, exclude_none=True)
    for field in ("batchSize", "device", "threads", "compile"):
        found.pop(field, None)
    found["preprocess"]["recipe"] = RECIPE
    found["model"] = await _model(step, infer.model)
    if isinstance(infer.labels, str) and infer.labels != IMAGENET:
        found["labels"] = {"sha256": await _digest(infer.labels, f"steps.{step}.infer.labels")}
    return found


async def _model(step: str, model: Model) -> dict[str, Any]:
    where = f"steps.{step}.infer.model"
    found: dict[str, Any] = {"arguments": model.arguments}
    if model.architecture is not None:
        found["architecture"] = model.architecture
    for field, url in (("weights", model.weights), ("program", model.program)):
        if url is None:
            continue
        digest = await _digest(url, f"{where}.{field}")
        if model.sha256 is not None and digest != model.sha256:
            raise ModelError(
                f"{where}.{field} {shown_url(url)!r} has the digest {digest}, but sha256 says {model.sha256}; "
                "it is another file than the one meant"
            )
        found[field] = {"sha256": digest}
    return found


async def _digest(url: str, where: str) -> str:
    try:
        return await asyncio.to_thread(lambda: sha256_of(model_file(url)))
    except InvalidJobError as error:
        raise ModelError(f"{where}: {error}") from error
    except RunnerError as error:
        raise type(error)(f"{where}: {error}") from error
    except OSError as error:
        raise ModelError(f"{where}: {shown_url(url)} cannot be read: {error.strerror}") from error
