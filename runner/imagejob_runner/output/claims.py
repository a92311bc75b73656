"""What the rows of a chunk must say, by the plan: which inputs, what was found, with which model, and which derived images are there."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from imagejob_api.redaction import kept_url
from imagejob_runner.output.images import derived_image_name
from imagejob_runner.planning import Plan, PlannedModel, planned_models
from imagejob_runner.rows import Row
from imagejob_runner.sources import Entry

Say = Callable[[int | None, str], None]
"""Takes a row's number in its part, or None, and what is wrong."""

_SHOWN: Final = 80
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class DerivedImage:
    """A derived image that a row says is there."""

    row: int
    """The row's number in its part, from 1."""
    name: str
    """Its name in the output."""
    sha256: str
    """Of its bytes."""
    size: int
    """Its bytes."""


class Claims:
    """Judges rows by a plan.

    Args:
        plan: The plan.

    Raises:
        ValueError: The plan's components are not such as planning makes.
    """

    def __init__(self, plan: Plan) -> None:
        steps = plan.components["steps"]
        self._models: dict[str, PlannedModel] = planned_models(plan.components)
        self._formats: dict[str, str] = {step["name"]: step["save"]["image"]["format"] for step in steps if "image" in step.get("save", ())}
        self._downloads = any("download" in step for step in steps)

    def check(self, entries: Sequence[Entry], rows: Sequence[Row], say: Say) -> list[DerivedImage]:
        """Checks the rows of one chunk.

        Returns:
            The derived images that they name.
        """
        self._check_inputs(entries, rows, say)
        images: list[DerivedImage] = []
        for number, row in enumerate(rows, 1):
            for problem in self._wrong(row):
                say(number, f"the row of {shown(row['id'])} {problem}")
            for step, form in self._formats.items():
                if step in row["outputs"]:
                    image = _derived_image(number, row["outputs"][step], derived_image_name(row["id"], form))
                    if image is None:
                        say(number, f"the row of {shown(row['id'])} does not name its derived image in outputs.{step}")
                    else:
                        images.append(image)
        return images

    def _check_inputs(self, entries: Sequence[Entry], rows: Sequence[Row], say: Say) -> None:
        urls = {entry.id: entry.url for entry in entries}
        seen: Counter[str] = Counter()
        wrong = False
        for number, row in enumerate(rows, 1):
            identity = row["id"]
            seen[identity] += 1
            if identity not in urls:
                say(number, f"a row of {shown(identity)}, which is no input of this chunk")
            elif seen[identity] > 1:
                say(number, f"{shown(identity)} has a second row")
            elif row["url"] != urls[identity] and row["url"] != kept_url(urls[identity]):
                say(number, f"the row of {shown(identity)} has another URL than the input")
            else:
                continue
            wrong = True
        for identity in urls.keys() - seen.keys():
            wrong = True
            say(None, f"{shown(identity)} has no row")
        if not wrong and [row["id"] for row in rows] != [entry.id for entry in entries]:
            say(None, "its rows are not in the order of the inputs")

    def _wrong(self, row: Row) -> Iterator[str]:
        """What a row's outputs and provenance say that cannot be."""
        provenance, done = row["provenance"], row["status"] == "ok"
        if done:
            missing = [step for step in (*self._models, *self._formats) if step not in row["outputs"]]
            if missing:
                yield f"is ok, but has no output of the step {missing[0]}"
        for key, fits in _PROVENANCE.items():
            if key in provenance and not fits(provenance[key]):
                yield f"has the provenance {key}: {shown(str(provenance[key]))}, which cannot be"
        if done and self._downloads and not {"inputSha256", "inputBytes"} <= provenance.keys():
            yield "is ok, but does not say which bytes it was made from"
        made_with = (provenance.get("modelSha256"), provenance.get("preprocess"))
        planned = [(model.sha256, model.preprocess) for model in self._models.values()]
        if planned and (done or made_with != (None, None)):
            # A row has room for one: the model that it went through last.
            allowed = planned[-1:] if done else planned
            if made_with not in allowed:
                model, preprocess = allowed[-1]
                said = f"the model {made_with[0]} and the preprocessing {made_with[1]}"
                yield f"was made with {said}, but planned are {model} and {preprocess}"


def shown(text: str) -> str:
    """A text for a message."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _derived_image(number: int, output: Any, name: str) -> DerivedImage | None:  # noqa: ANN401  it may be anything: that is what is checked
    if not isinstance(output, dict) or output.get("image") != name or not _is_sha256(output.get("sha256")):
        return None
    size = output.get("bytes")
    return DerivedImage(number, name, output["sha256"], size) if _is_count(size) and isinstance(size, int) else None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


_PROVENANCE: Final[dict[str, Callable[[object], bool]]] = {
    "node": _is_text,
    "inputSha256": _is_sha256,
    "inputBytes": _is_count,
    "format": _is_text,
    "width": _is_count,
    "height": _is_count,
    "draft": _is_bool,
    "modelSha256": _is_sha256,
    "preprocess": _is_sha256,
}
