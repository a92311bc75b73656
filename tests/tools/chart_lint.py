"""Lints the Helm chart: ``python -m tests.tools.chart_lint``.

For each values file in the chart's folder `ci` Helm's own checks, and every manifest against the schema of its kind.
"""

import logging
import sys
from pathlib import Path
from typing import Final

from tests.cluster.commands import run
from tests.cluster.exceptions import ClusterError
from tests.cluster.tools import KUBECONFORM
from tests.tools.chart import CHART, NAMESPACE, RELEASE, helm
from tests.tools.schemas import LOCATION, kubernetes_schemas

VALUES: Final = sorted((CHART / "ci").glob("*-values.yaml"))

_FOREIGN_KINDS: Final = "PodMonitor"
"""Of other projects, which carry no schema that could be had here."""


def lint(values: Path) -> str:
    """Checks the chart with a values file; returns kubeconform's summary.

    Raises:
        CommandError: Something is wrong with it; carries what.
        UnavailableError: Helm, kubeconform or the schemas are not there and cannot be made here.
    """
    helm("lint", "--strict", "--quiet", f"--namespace={NAMESPACE}", f"--values={values}", str(CHART))
    manifests = helm("template", RELEASE, str(CHART), f"--namespace={NAMESPACE}", f"--values={values}")
    return check_manifests(manifests)


def check_manifests(manifests: str) -> str:
    """Checks manifests against the schemas of their kinds; returns kubeconform's summary.

    Raises:
        CommandError: One does not keep to its schema, or has none.
        UnavailableError: kubeconform or the schemas are not there and cannot be made here.
    """
    location = f"-schema-location={kubernetes_schemas() / LOCATION}"
    return run([str(KUBECONFORM.install()), "-strict", "-summary", f"-skip={_FOREIGN_KINDS}", location], stdin=manifests.encode()).strip()


def main() -> None:
    """Checks the chart with every values file."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for values in VALUES:
        try:
            sys.stdout.write(f"{values.name}: {lint(values)}\n")
        except ClusterError as error:
            sys.exit(f"{values.name}: {error}")


if __name__ == "__main__":
    main()
