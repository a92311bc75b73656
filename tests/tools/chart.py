"""The Helm chart, and Helm, as tests use them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster.commands import run
from tests.cluster.tools import HELM

CHART: Final = Path(__file__).parents[2] / "charts" / "imagejob"
RELEASE: Final = "imagejob"
NAMESPACE: Final = "imagejob-system"

Json = dict[str, Any]


def helm(*arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> str:
    """What ``helm ARGUMENTS`` prints.

    Raises:
        CommandError: It failed; carries what it said.
        UnavailableError: Helm is not there and cannot be built on this machine.
    """
    return run([str(HELM.install()), *arguments], env=env, stdin=stdin.encode(), timeout=120)


def rendered(values: Json | None = None, *flags: str, release: str = RELEASE, namespace: str = NAMESPACE) -> str:
    """The chart's manifests as Helm would install them.

    Args:
        values: What a values file would say.
        flags: More arguments of `helm template`.
        release: Name of the release.
        namespace: Namespace of the release.

    Raises:
        CommandError: The values are refused; carries the reasons.
    """
    return helm("template", release, str(CHART), f"--namespace={namespace}", "--values=-", *flags, stdin=yaml.safe_dump(values or {}))


def objects(values: Json | None = None, *flags: str, release: str = RELEASE, namespace: str = NAMESPACE) -> list[Json]:
    """The same as objects."""
    found = yaml.safe_load_all(rendered(values, *flags, release=release, namespace=namespace))
    return [each for each in found if each is not None]


def older_chart(folder: Path) -> Path:
    """The chart as it might have been a version ago: its kinds without columns, and a role that is there no longer."""
    chart = folder / "imagejob"
    for source in CHART.rglob("*"):
        if source.is_file():
            place = chart / source.relative_to(CHART)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(source.read_bytes())
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump({**about, "version": "0.0.1", "appVersion": "0.0.1"}))
    for kind in (chart / "templates" / "crds").iterdir():
        before, _, rest = kind.read_text().partition("    additionalPrinterColumns:\n")
        kind.write_text(before + "    schema:\n" + rest.partition("    schema:\n")[2])
    obsolete = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "imagejob-obsolete"}, "rules": []}
    (chart / "templates" / "obsolete.yaml").write_text(yaml.safe_dump(obsolete))
    return chart
