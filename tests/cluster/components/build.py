"""Builds Kubernetes, etcd and their clients from Go's module proxy: one program that the Go module in this folder describes.

``python -m tests.cluster.components.build`` builds it, if need be, and prints the folder. Nothing here depends on where modules are
fetched from: go.sum says what they must hold.
"""

import hashlib
import json
import logging
import re
import sys
from pathlib import Path
from typing import Final

from tests.cluster.cache import cached
from tests.cluster.exceptions import UnavailableError
from tests.cluster.golang import require_go, run_go

_LOG = logging.getLogger(__name__)

_MODULE: Final = Path(__file__).parent
_SOURCES: Final = ("go.mod", "go.sum", "main.go")

PROGRAM: Final = "components"
"""The one program; it runs as the component that it is called by."""

NAMES: Final = (
    "etcd",
    "etcdctl",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubeadm",
    "kubectl",
    "kubelet",
)
"""What it can be called; the installed folder has a link for each."""


def required(path: str) -> str:
    """The version of a module that go.mod requires, such as ``v1.36.3``."""
    return _go_mod(rf"^\t{re.escape(path)} (v\S+)")


def _go_mod(pattern: str) -> str:
    found = re.search(pattern, (_MODULE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{_MODULE / 'go.mod'} has no line like {pattern}")
    return found[1]


KUBERNETES_VERSION: Final = required("k8s.io/kubernetes")
ETCD_VERSION: Final = required("go.etcd.io/etcd/server/v3")


def module_folder(path: str) -> Path:
    """The sources of a module that go.mod requires, fetched if they are not in Go's cache.

    Raises:
        UnavailableError: They cannot be fetched here; the message says why.
    """
    go = require_go(_go_mod(r"^go (\S+)"), why=path)
    return Path(json.loads(run_go(go, ["mod", "download", "-json", path], folder=_MODULE, env={}, what=path))["Dir"])


def install_components() -> Path:
    """The folder that holds the program and, under each of `NAMES`, a link to it; built if it is not in the cache.

    Raises:
        UnavailableError: It cannot be built here; the message says why.
    """
    if sys.platform != "linux":
        raise UnavailableError(f"Kubernetes is built for and run on Linux only, and this is {sys.platform}; use a Linux machine")
    return cached(f"kubernetes-{KUBERNETES_VERSION}-{_digest()}", PROGRAM, _build)


def _digest() -> str:
    digest = hashlib.sha256(" ".join(_arguments()).encode())
    for name in _SOURCES:
        digest.update((_MODULE / name).read_bytes())
    return digest.hexdigest()[:12]


def _arguments() -> list[str]:
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".", 2)
    # Kubernetes' own build sets these; kubeadm and kubectl compare them with the API server's.
    facts = {"gitVersion": KUBERNETES_VERSION, "gitMajor": major, "gitMinor": minor}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    flags = ["-s", "-w", *(f"-X {package}.{name}={value}" for package in packages for name, value in facts.items())]
    return ["build", "-trimpath", "-mod=readonly", f"-ldflags={' '.join(flags)}"]


def _build(folder: Path) -> None:
    what = f"Kubernetes {KUBERNETES_VERSION} with etcd {ETCD_VERSION}"
    go = require_go(_go_mod(r"^go (\S+)"), why=what)
    _LOG.info("building %s: six minutes or more the first time on two cores, seconds from Go's cache", what)
    run_go(go, [*_arguments(), "-o", str(folder / PROGRAM), "."], folder=_MODULE, env={"GOTMPDIR": str(folder)}, what=what)
    for name in NAMES:
        (folder / name).symlink_to(PROGRAM)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        sys.stdout.write(f"{install_components()}\n")
    except UnavailableError as error:
        sys.exit(str(error))
