"""Which models a plan is for: what a worker may load, and what rows must say they were made with."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagejob_api.pipeline import Preprocess
from imagejob_runner.images.recipe import fingerprint


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """The model of one `infer` step."""

    sha256: str
    """Of the weights or the program; of the architecture's name and arguments where there is no file."""
    preprocess: str
    """Fingerprint of how its input is made."""
    labels: str | None
    """SHA-256 of the file of its labels; None if there is no such file."""


def planned_models(components: Mapping[str, Any]) -> dict[str, PlannedModel]:
    """The models in a plan's components, by the names of their steps, in the order of the steps.

    Raises:
        ValueError: The components are not such as `pipeline_components` makes.
    """
    try:
        return {step["name"]: _planned(step["infer"]) for step in components["steps"] if "infer" in step}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its components name no models ({type(error).__name__}: {error})") from None


def unnamed_digest(architecture: str | None, arguments: Mapping[str, Any]) -> str:
    """What stands for the digest of a model that has no file."""
    named = json.dumps({"architecture": architecture, "arguments": arguments}, sort_keys=True)
    return hashlib.sha256(named.encode()).hexdigest()


def _planned(infer: Mapping[str, Any]) -> PlannedModel:
    model, labels = infer["model"], infer.get("labels")
    file = model.get("weights") or model.get("program")
    settings = dict(infer["preprocess"])
    recipe = settings.pop("recipe")
    return PlannedModel(
        sha256=file["sha256"] if file is not None else unnamed_digest(model.get("architecture"), model["arguments"]),
        preprocess=fingerprint(Preprocess.model_validate(settings), recipe),
        labels=labels["sha256"] if isinstance(labels, dict) else None,
    )
