"""Reads the files of a user into checked objects: exactly what `kubectl apply -f` would take.

A file may hold several documents, `List`s, and objects of other groups, such as the Namespace or ConfigMap beside a job; those are
set aside.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from imagejob_api.constants import API_VERSION, GROUP
from imagejob_api.exceptions import InvalidFileError, Problem
from imagejob_api.imagejob import ImageJob, ImagePipeline
from imagejob_api.nodelimit import NodeLimit
from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_api.wording import field_path, mistakes, nearest, shown
from imagejob_api.yamlfile import Document, Location, YamlError, read_documents

KINDS: Final[Mapping[str, type[ImageJob | ImagePipeline | NodeLimit]]] = {
    "ImageJob": ImageJob,
    "ImagePipeline": ImagePipeline,
    "NodeLimit": NodeLimit,
}

_SUFFIXES: Final = (".json", ".yaml", ".yml")

Key = tuple[str, str, str]
"""Kind, namespace (empty for a NodeLimit) and name."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an object was read."""

    file: str
    """The file as the user named it."""
    document: str
    """The document in the words of a message."""
    line: int | None
    """Its first line."""

    def __str__(self) -> str:
        """Place and document, for a message about another object."""
        return f"{self.file}:{self.line}" if self.line else f"{self.file}, {self.document}"


@dataclass(frozen=True, slots=True)
class MissingLimit:
    """A limit that a step names and none of the documents defines."""

    step: str
    """Name of the step."""
    limit: str
    """Name of the limit."""
    nearest: str | None
    """A limit that is there and has a similar name."""

    def __str__(self) -> str:
        """What is missing, and what may have been meant."""
        hint = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"step {self.step} takes the limit {self.limit}, and no NodeLimit of that name is in the files{hint}"


@dataclass(frozen=True, slots=True)
class MissingPipeline:
    """An ImagePipeline that a job refers to and none of the documents defines."""

    namespace: str
    """Namespace of the job, and so of the pipeline."""
    name: str
    """Name of the pipeline."""
    hint: str
    """What may have been meant; empty if nothing comes to mind."""

    def __str__(self) -> str:
        """What is missing."""
        return f"there is no ImagePipeline {self.name} in namespace {self.namespace} in the files"


@dataclass(slots=True)
class Documents:
    """The objects of some files."""

    jobs: list[ImageJob] = field(default_factory=list)
    """ImageJobs in the order of the files."""
    pipelines: dict[tuple[str, str], ImagePipeline] = field(default_factory=dict)
    """ImagePipelines by namespace and name."""
    limits: dict[str, NodeLimit] = field(default_factory=dict)
    """NodeLimits by name."""
    ignored: list[str] = field(default_factory=list)
    """Notes on objects of other groups, which `kubectl apply` would take and imagejob has no use for."""
    origins: dict[Key, Origin] = field(default_factory=dict)
    """Where each object was read."""

    def pipeline_of(self, job: ImageJob) -> ImagePipelineSpec | MissingPipeline:
        """The pipeline of a job: its own, or the ImagePipeline that it refers to, in its namespace.

        One that is not in the files is no mistake in itself: on a cluster it may be there already.
        """
        if job.spec.pipeline is not None:
            return job.spec.pipeline
        reference = job.spec.pipeline_ref
        if reference is None:
            raise ValueError("a validated ImageJob has a pipeline or a reference to one")
        namespace = job.metadata.namespace
        pipeline = self.pipelines.get((namespace, reference.name))
        if pipeline is not None:
            return pipeline.spec
        return MissingPipeline(namespace, reference.name, self._reference_hint(namespace, reference.name))

    def resolve(self, job: ImageJob) -> ImagePipelineSpec:
        """The pipeline of a job, for whoever runs it with nothing but the files.

        Raises:
            InvalidFileError: It refers to an ImagePipeline that is not in the files.
        """
        found = self.pipeline_of(job)
        if not isinstance(found, MissingPipeline):
            return found
        key = ("ImageJob", job.metadata.namespace, job.metadata.name)
        origin = self.origins.get(key, Origin("ImageJob", job.metadata.name, None))
        raise InvalidFileError(
            [
                Problem(
                    file=origin.file,
                    document=origin.document,
                    path="spec.pipelineRef.name",
                    message=str(found),
                    fix=found.hint or "add the ImagePipeline to the file, or name its file with another -f",
                ),
            ]
        )

    def _reference_hint(self, namespace: str, name: str) -> str:
        elsewhere = [other for other, known in self.pipelines if known == name]
        if elsewhere:
            return f"there is one in namespace {elsewhere[0]}; a reference stays in its own namespace, so give both the same"
        guess = nearest(name, (known for there, known in self.pipelines if there == namespace))
        return f"did you mean {guess}?" if guess else ""

    def missing_limits(self, pipeline: ImagePipelineSpec) -> list[MissingLimit]:
        """Limits that steps of `pipeline` take and the files do not define, in the order of the steps.

        No mistake in itself: on a cluster the platform's engineer defines limits, and on a laptop they may be there already.
        """
        return [
            MissingLimit(step.name, limit.name, nearest(limit.name, self.limits))
            for step in pipeline.steps
            for limit in step.limits
            if limit.name not in self.limits
        ]


def load_documents(paths: Sequence[Path | Literal["-"]]) -> Documents:
    """Reads and checks files; ``-`` is standard input, a folder means the .yaml, .yml and .json files directly in it.

    Raises:
        InvalidFileError: With every mistake in every file.
    """
    reader = _Reader()
    for path in paths:
        reader.read(path)
    if reader.problems:
        raise InvalidFileError(reader.problems)
    return reader.found


class _Reader:
    """Collects objects and mistakes over all files."""

    def __init__(self) -> None:
        self.found = Documents()
        self.problems: list[Problem] = []

    def read(self, path: Path | Literal["-"]) -> None:
        file = "standard input" if path == "-" else str(path)
        try:
            if path != "-" and path.is_dir():
                self._folder(path)
                return
            data = sys.stdin.buffer.read() if path == "-" else path.read_bytes()
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self.problems.append(Problem(file, f"not UTF-8 text: byte {error.start} cannot be read", "save it as UTF-8"))
            return
        except OSError as error:
            fix = "check the path" if isinstance(error, FileNotFoundError) else ""
            self.problems.append(Problem(file, f"cannot be read: {error.strerror or error}", fix))
            return
        self._text(file, text)

    def _folder(self, path: Path) -> None:
        inside = sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES)
        if not inside:
            self.problems.append(Problem(str(path), "this folder holds no .yaml, .yml or .json file", "name the file"))
        for each in inside:
            self.read(each)

    def _text(self, file: str, text: str) -> None:
        seen = len(self.problems)
        read = 0
        try:
            for document in read_documents(text):
                read += 1
                self._object(file, document, document.value, ())
        except YamlError as error:
            where = field_path(error.location)
            self.problems.append(Problem(file, error.message, error.fix, path=where, line=error.line))
        if read == 0 and len(self.problems) == seen:
            self.problems.append(Problem(file, "holds no object", "write an ImageJob into it; examples/imagejob.yaml is one"))

    def _object(self, file: str, document: Document, value: object, root: Location) -> None:
        origin = Origin(file, _describe(document, value), document.line(root))
        if not isinstance(value, dict):
            self._problem(
                origin, document, root, "an object must be a mapping of fields that begins with apiVersion and kind", value=shown(value)
            )
            return
        version, kind = value.get("apiVersion"), value.get("kind")
        for name, given, example in (("apiVersion", version, API_VERSION), ("kind", kind, "ImageJob")):
            if not isinstance(given, str) or not given:
                message = "must be text" if given else "is required but not there"
                self._problem(origin, document, (*root, name), message, f"write {name}: {example}", shown(given) if given else None)
        if not (isinstance(version, str) and version and isinstance(kind, str) and kind):
            return
        if _is_list(version, kind) and isinstance(value.get("items"), list):
            for index, item in enumerate(value["items"]):
                self._object(file, document, item, (*root, "items", index))
        elif self._is_ours(origin, document, root, version, kind):
            self._validate(origin, document, value, root, KINDS[kind])
        elif version.partition("/")[0] != GROUP and kind not in KINDS:
            self.found.ignored.append(f"{origin}: {kind} {_name(value)} is for kubectl; imagejob leaves it alone")

    def _is_ours(self, origin: Origin, document: Document, root: Location, version: str, kind: str) -> bool:
        """Whether the object is one of ours; a near miss of ours is a mistake."""
        ours = version.partition("/")[0] == GROUP
        if not ours and kind not in KINDS:
            return False
        correct = True
        if version != API_VERSION:
            self._problem(
                origin,
                document,
                (*root, "apiVersion"),
                f"{kind} must have {API_VERSION}",
                f"write apiVersion: {API_VERSION}",
                shown(version),
            )
            correct = False
        if kind not in KINDS:
            guess = nearest(kind, KINDS)
            fix = f"did you mean {guess}?" if guess else ""
            self._problem(origin, document, (*root, "kind"), f"must be one of {', '.join(KINDS)}", fix, shown(kind))
            correct = False
        return correct

    def _validate(
        self, origin: Origin, document: Document, value: dict[str, Any], root: Location, model: type[ImageJob | ImagePipeline | NodeLimit]
    ) -> None:
        try:
            # Strict JSON by alias: what an API server takes, with no coercion ("32" is no number) and no Python spelling of a field.
            checked = model.model_validate_json(json.dumps(value), strict=True, by_alias=True, by_name=False)
        except ValidationError as error:
            for mistake in sorted(mistakes(model, document, value, error, root), key=lambda found: document.line(found.location) or 0):
                self._problem(origin, document, mistake.location, mistake.message, mistake.fix, mistake.value)
            return
        key = (checked.kind, getattr(checked.metadata, "namespace", ""), checked.metadata.name)
        if key in self.found.origins:
            message = f"{checked.kind} {'/'.join(filter(None, key[1:]))} was defined already at {self.found.origins[key]}"
            self._problem(origin, document, root, message, "rename one of them, or remove it")
            return
        self.found.origins[key] = origin
        match checked:
            case ImageJob():
                self.found.jobs.append(checked)
            case ImagePipeline():
                self.found.pipelines[key[1], key[2]] = checked
            case NodeLimit():
                self.found.limits[key[2]] = checked

    def _problem(
        self, origin: Origin, document: Document, location: Location, message: str, fix: str = "", value: str | None = None
    ) -> None:
        line = document.line(location)
        problem = Problem(origin.file, message, fix, document=origin.document, path=field_path(location), value=value, line=line)
        self.problems.append(problem)


def _is_list(version: str, kind: str) -> bool:
    return (version == "v1" and kind == "List") or (version == API_VERSION and kind.removesuffix("List") in KINDS and kind.endswith("List"))


def _describe(document: Document, value: object) -> str:
    """The document in the words of a message: its number and, as far as it says so, kind, namespace and name."""
    number = f"document {document.index}"
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        return number
    return f"{number}, {value['kind']} {_name(value)}".rstrip()


def _name(value: dict[str, Any]) -> str:
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return ""
    return "/".join(str(part) for part in (metadata.get("namespace"), metadata.get("name")) if part)
