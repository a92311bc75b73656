"""The programs that the tests use besides Python, at pinned versions, each built once into the cache.

``python -m tests.cluster.tools [NAME...]`` installs them (all, unless named) and prints where they are.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.cache import cached
from tests.cluster.exceptions import UnavailableError
from tests.cluster.golang import require_go, run_go

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tool:
    """A program that ``go install`` builds."""

    name: str
    package: str
    version: str
    go: str
    """Oldest Go that builds it: what its go.mod asks for."""

    def install(self) -> Path:
        """Path of the program, built if it is not in the cache.

        Raises:
            UnavailableError: It cannot be built here; the message says why.
        """
        return cached(f"{self.name}-{self.version}", self.name, self._build) / self.name

    def _build(self, folder: Path) -> None:
        go = require_go(self.go, why=self.name)
        _LOG.info("building %s %s", self.name, self.version)
        env = {"GOBIN": str(folder), "GOTMPDIR": str(folder)}
        run_go(go, ["install", f"{self.package}@{self.version}"], folder=folder, env=env, what=f"{self.name} {self.version}")


KIND: Final = Tool("kind", "sigs.k8s.io/kind", "v0.33.0", go="1.21")
HELM: Final = Tool("helm", "helm.sh/helm/v4/cmd/helm", "v4.3.1", go="1.26")
KWOK: Final = Tool("kwok", "sigs.k8s.io/kwok/cmd/kwok", "v0.8.0", go="1.26")
KUBECONFORM: Final = Tool("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", "v0.8.0", go="1.26")
COREDNS: Final = Tool("coredns", "github.com/coredns/coredns", "v1.14.2", go="1.25")
VERSITYGW: Final = Tool("versitygw", "github.com/versity/versitygw/cmd/versitygw", "v1.8.0", go="1.25")

TOOLS: Final = {tool.name: tool for tool in (KIND, HELM, KWOK, KUBECONFORM, COREDNS, VERSITYGW)}


def main(names: Sequence[str]) -> None:
    """Installs the tools of some names, or all, and prints their paths."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if unknown := [name for name in names if name not in TOOLS]:
        sys.exit(f"no such tool: {', '.join(unknown)}; there are {', '.join(TOOLS)}")
    try:
        for name in names or TOOLS:
            sys.stdout.write(f"{TOOLS[name].install()}\n")
    except UnavailableError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
