"""Whether a spec can be run as it is: valid, with a pipeline, and with limits that are there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from imagejob_api import output_in_pods
from imagejob_api.constants import MAX_OBJECT_CHARACTERS
from imagejob_api.imagejob import ImageJobSpec
from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_api.pod import JobFile
from imagejob_api.reasons import Reason
from imagejob_api.wording import field_path, mistakes
from imagejob_api.yamlfile import Document
from imagejob_operator.imagejobs.observed import Hindrance, Observed
from imagejob_operator.manifest import Json
from imagejob_operator.objects.job_file import MAX_BYTES, job_file

_SHOWN_MISTAKES: Final = 5
_Model = TypeVar("_Model", bound=BaseModel)


class NotAcceptedError(Exception):
    """A job cannot be run as it is."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.hindrance = Hindrance(reason, message)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a job's objects are made from."""

    file: JobFile
    limit_nodes: Mapping[str, str]
    """Labels of the nodes that have all limits that the steps take."""


def read_spec(seen: Observed) -> ImageJobSpec:
    """The spec of an ImageJob.

    Raises:
        NotAcceptedError: It is not valid, or the ImageJob is longer than any may be and has not started.
    """
    characters = _characters(seen.job)
    if characters > MAX_OBJECT_CHARACTERS and not seen.jobs and not (seen.job.get("status") or {}).get("startTime"):
        raise NotAcceptedError(
            Reason.INVALID_SPEC,
            f"The ImageJob has {characters:,} characters with its labels and annotations, and may have {MAX_OBJECT_CHARACTERS:,}; put its"
            " URLs into a manifest, and take out annotations.",
        )
    return _checked(ImageJobSpec, seen.job.get("spec"), Reason.INVALID_SPEC)


def _characters(job: Json) -> int:
    """Length of all keys and texts of the spec, the labels and the annotations: no more than the admission policy counts."""
    metadata = job["metadata"]
    left: list[object] = [job.get("spec"), metadata.get("labels"), metadata.get("annotations")]
    count = 0
    while left:
        value = left.pop()
        if isinstance(value, str):
            count += len(value)
        elif isinstance(value, dict):
            left += (*value.keys(), *value.values())
        elif isinstance(value, list):
            left += value
    return count


def accept(seen: Observed, spec: ImageJobSpec, *, started: bool) -> Accepted:
    """What the objects of a job are made from; of one that has started, what its pods were told first.

    Raises:
        NotAcceptedError: Something that the job needs is missing or wrong.
    """
    if not started and (why := output_in_pods.why_not(spec)) is not None:
        raise NotAcceptedError(Reason.OUTPUT_IN_PODS, f"{why[0].upper()}{why[1:]}; {output_in_pods.FIX}.")
    stored = seen.stored if started else None
    pipeline = _pipeline(seen, spec) if stored is None else stored.pipeline
    file = job_file(seen.job, spec, pipeline, stored)
    size = len(file.encoded().encode())
    if size > MAX_BYTES:
        raise NotAcceptedError(
            Reason.INVALID_SPEC, f"The job has {size:,} bytes, and pods can be told {MAX_BYTES:,}; put its URLs into a manifest."
        )
    return Accepted(file, _limit_nodes(seen, pipeline, spec.template.node_selector, started=started))


def _pipeline(seen: Observed, spec: ImageJobSpec) -> ImagePipelineSpec:
    if spec.pipeline is not None:
        return spec.pipeline
    name = spec.pipeline_ref.name if spec.pipeline_ref is not None else ""
    if seen.pipeline is None:
        namespace = seen.job["metadata"]["namespace"]
        raise NotAcceptedError(Reason.PIPELINE_NOT_FOUND, f"There is no ImagePipeline {name} in namespace {namespace}.")
    return _checked(ImagePipelineSpec, seen.pipeline.get("spec"), Reason.INVALID_PIPELINE, f"ImagePipeline {name}: ")


def _checked(model: type[_Model], value: object, reason: Reason, origin: str = "") -> _Model:
    try:
        # Strict JSON by alias, as for a file: what the API server takes, and no other spelling.
        return model.model_validate_json(json.dumps(value), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        found = mistakes(model, Document(1, value), value, error)
    except (TypeError, ValueError, RecursionError) as error:  # a value that no model expects, such as an integer of a thousand digits
        raise NotAcceptedError(reason, f"{origin}spec cannot be read: {error}") from error
    said = []
    for mistake in found[:_SHOWN_MISTAKES]:
        place = field_path(("spec", *mistake.location))
        value_shown = f", not {mistake.value}" if mistake.value is not None else ""
        said.append(f"{place}: {mistake.message}{value_shown}")
    more = f"; and {len(found) - _SHOWN_MISTAKES} more" if len(found) > _SHOWN_MISTAKES else ""
    raise NotAcceptedError(reason, f"{origin}{'; '.join(said)}{more}.")


def _limit_nodes(seen: Observed, pipeline: ImagePipelineSpec, chosen: Mapping[str, str], *, started: bool) -> Mapping[str, str]:
    """Labels of the nodes that have all limits. A job that has started is not held up by what becomes of its limits: its pods wait."""
    nodes: dict[str, str] = {}
    if seen.limits is None:
        return nodes
    for step, name in ((each.name, limit.name) for each in pipeline.steps for limit in each.limits):
        limit = seen.limits(name)
        if limit is None:
            if started:
                continue
            raise NotAcceptedError(
                Reason.LIMIT_NOT_FOUND,
                f"Step {step} takes the limit {name}, and there is no valid NodeLimit of that name; see kubectl describe nodelimit {name}.",
            )
        if not limit.active and not started:
            raise NotAcceptedError(Reason.LIMIT_INACTIVE, f"Step {step} takes the limit {name}, which is switched off (active: false).")
        for label, value in limit.node_selector.items():
            other = nodes.get(label, chosen.get(label, value))
            if other != value and not started:
                raise NotAcceptedError(
                    Reason.LIMIT_ON_NO_NODE,
                    f"The limit {name} is on nodes with {label}={value}, and the job needs nodes with {label}={other}.",
                )
            nodes[label] = value
    return nodes
