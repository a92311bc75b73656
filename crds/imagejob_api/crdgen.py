"""Writes `crds/*.yaml`, the chart's copies of them and `docs/reference.md` from the models: ``python -m imagejob_api.crdgen [--check]``."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel

from imagejob_api.constants import CATEGORY, GROUP, VERSION
from imagejob_api.imagejob import ImageJob, ImagePipeline
from imagejob_api.nodelimit import NodeLimit
from imagejob_api.reference import reference_page
from imagejob_api.schema import structural_schema

CHECKOUT: Final = Path(__file__).parents[2]

_HEADER: Final = "# generated from crds/imagejob_api by `make crds`; do not edit\n"
_CHART_METADATA: Final = """\
  labels:
    {{- include "imagejob.labels" . | nindent 4 }}
  {{- if .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`."""

    name: str
    path: str
    type: Literal["string", "integer", "date"] = "string"
    wide: bool = False
    description: str = ""

    def to_kubernetes(self) -> dict[str, Any]:
        """The column as an item of ``additionalPrinterColumns``."""
        column: dict[str, Any] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        if self.description:
            column["description"] = self.description
        return {**column, "priority": 1} if self.wide else column


@dataclass(frozen=True, slots=True)
class Definition:
    """What a CustomResourceDefinition says besides its schema."""

    model: type[BaseModel]
    plural: str
    short_names: tuple[str, ...]
    scope: Literal["Namespaced", "Cluster"]
    columns: tuple[Column, ...]

    @property
    def kind(self) -> str:
        """Name of the kind."""
        return self.model.__name__


_AGE: Final = Column("Age", ".metadata.creationTimestamp", "date")

DEFINITIONS: Final = (
    Definition(
        ImageJob,
        "imagejobs",
        ("ij",),
        "Namespaced",
        (
            Column("Phase", ".status.phase"),
            Column("Progress", ".status.progress", description="Images done of all"),
            Column("Failed", ".status.images.failed", "integer", description="Images with a failed row"),
            Column("Rate", ".status.imagesPerSecond", description="Images a second of late"),
            Column("Waiting", ".status.waitingForLimit", "integer", description="Pods that wait for a slot of a limit"),
            Column("Pipeline", ".spec.pipelineRef.name", wide=True, description="ImagePipeline; empty for one written in the job"),
            Column("Pods", ".status.pods.active", "integer", wide=True),
            Column("ETA", ".status.eta", wide=True, description="Expected end"),
            Column("Reason", ".status.reason", wide=True, description="How the job has ended, or why it does not run"),
            Column("Output", ".spec.output.url", wide=True),
            _AGE,
        ),
    ),
    # "ip" is Kubernetes' own short name of IPAddress.
    Definition(ImagePipeline, "imagepipelines", ("ipl",), "Namespaced", (_AGE,)),
    Definition(
        NodeLimit,
        "nodelimits",
        ("nl",),
        "Cluster",
        (
            Column("Slots", ".status.slots", "integer", description="Slots on all nodes"),
            Column("Held", ".status.held", "integer", description="Slots in use"),
            Column("Waiting", ".status.waiting", "integer", description="Requests in the queues"),
            Column("Nodes", ".status.nodes", "integer", description="Nodes that have the limit"),
            _AGE,
        ),
    ),
)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def definition_yaml(definition: Definition) -> str:
    """The YAML text of one CustomResourceDefinition."""
    schema = structural_schema(definition.model)
    version: dict[str, Any] = {"name": VERSION, "served": True, "storage": True}
    if "status" in schema["properties"]:
        version["subresources"] = {"status": {}}
    version["additionalPrinterColumns"] = [column.to_kubernetes() for column in definition.columns]
    version["schema"] = {"openAPIV3Schema": schema}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{definition.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": definition.scope,
            "names": {
                "kind": definition.kind,
                "listKind": f"{definition.kind}List",
                "plural": definition.plural,
                "singular": definition.kind.lower(),
                "shortNames": list(definition.short_names),
                "categories": [CATEGORY],
            },
            "versions": [version],
        },
    }
    return _HEADER + yaml.dump(crd, Dumper=_Dumper, sort_keys=False, width=140, allow_unicode=True)


def chart_template(definition: Definition) -> str:
    """The template of the Helm chart that is one CustomResourceDefinition. In a chart's folder `crds` Helm would never upgrade it."""
    name = f"  name: {definition.plural}.{GROUP}\n"
    before, _, after = definition_yaml(definition).partition(name)
    if "{{" in before + after:
        raise ValueError(f"Helm would take the braces in the description of {definition.kind} for its own")
    return "{{- if .Values.crds.enabled }}\n" + before + name + _CHART_METADATA + after + "{{- end }}\n"


def generated(checkout: Path = CHECKOUT) -> Mapping[Path, str]:
    """Every generated file of a checkout with the text that it must have."""
    definitions = {checkout / "crds" / f"{each.plural}.yaml": definition_yaml(each) for each in DEFINITIONS}
    templates = {checkout / "charts/imagejob/templates/crds" / f"{each.plural}.yaml": chart_template(each) for each in DEFINITIONS}
    return {**definitions, **templates, checkout / "docs" / "reference.md": reference_page([each.model for each in DEFINITIONS])}


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the generated files, or with ``--check`` only says which differ.

    Returns:
        1 if ``--check`` found a difference, else 0.
    """
    parser = argparse.ArgumentParser(prog="python -m imagejob_api.crdgen", description="Write the CRDs and the reference from the models.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a file is not what the models say")
    parser.add_argument("--checkout", type=Path, default=CHECKOUT, help="root of the checkout (default: the one this module is in)")
    options = parser.parse_args(arguments)
    if not (options.checkout / "pyproject.toml").is_file():
        parser.error(f"{options.checkout} is no checkout of imagejob; name one with --checkout")
    stale = [path for path, text in generated(options.checkout).items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        name = path.relative_to(options.checkout)
        if options.check:
            sys.stderr.write(f"{name} is not what crds/imagejob_api says; run `make crds` and commit it\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(generated(options.checkout)[path], encoding="utf-8")
            sys.stdout.write(f"wrote {name}\n")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
