"""A cluster of kind's: making it, finding it again, and removing it with all that came with it.

Every cluster has a folder below the cache, made before the cluster and removed after it. Nothing without such a folder is ever touched.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster import routes
from tests.cluster.cache import cache_root
from tests.cluster.cluster import Cluster
from tests.cluster.engine import Engine, alone, ensure_engine, find_engine, stop_unused_engine
from tests.cluster.exceptions import ClusterError
from tests.cluster.kind import kind
from tests.cluster.node_image import ensure_node_image

_LOG = logging.getLogger(__name__)

_CONFIG: Final = Path(__file__).with_name("kind.yaml")
_KUBEADM: Final = Path(__file__).with_name("kubeadm.yaml")
_AUDIT_POLICY: Final = Path(__file__).with_name("audit-policy.yaml")
_START_SECONDS: Final = 300
DEFAULT_GPUS: Final = 2


def default_name() -> str:
    """The name of this checkout's cluster; each checkout has its own."""
    checkout = Path(__file__).parents[2]
    return f"imagejob-{hashlib.sha256(str(checkout).encode()).hexdigest()[:6]}"


def find(name: str) -> Cluster | None:
    """The cluster of that name, if it was made by this tool and all of its containers run."""
    engine = find_engine()
    if engine is None or not _folder(name).is_dir():
        return None
    cluster = Cluster(name, engine, _folder(name))
    return cluster if cluster.runs() else None


def up(name: str, *, gpus: int = DEFAULT_GPUS, tell: Callable[[str], None] = _LOG.info) -> Cluster:
    """A cluster with all nodes Ready and names resolving: the one that runs, or a new one.

    Args:
        name: What it is called; its containers' names begin with it.
        gpus: How many ``nvidia.com/gpu`` each worker is to have.
        tell: Takes a line that says how long it took, and whether the node image had to be made.

    Raises:
        UnavailableError: This machine cannot run one; says what is missing.
        ClusterError: Something went wrong on the way. A cluster that could not be made leaves nothing; one that runs is left as it is.
    """
    with alone():
        begun = time.monotonic()
        cluster, how = find(name), "they ran before"
        if cluster is None:
            cluster, how = _create(name)
    cluster.wait_until_ready(_START_SECONDS)
    cluster.advertise_gpus(gpus)
    tell(f"{len(cluster.nodes())} nodes Ready after {time.monotonic() - begun:.0f} s; {how}")
    return cluster


def down(name: str) -> None:
    """Removes the cluster of that name and what was started for it; does nothing if there is none."""
    with alone():
        # Its containers outlive an engine that was stopped some other way, as by a reboot.
        engine = ensure_engine() if _folder(name).is_dir() else find_engine()
        if engine is not None:
            _remove(name, engine)
            stop_unused_engine()


def remains(name: str) -> list[str]:
    """What is there of the cluster of that name, for people; nothing after `down`.

    An engine that does not run has no containers, and is not asked for networks.
    """
    with alone():
        folder = _folder(name)
        found = [f"folder {folder}"] if folder.exists() else []
        engine = find_engine()
        if engine is not None:
            found += [f"container {node}" for node in Cluster(name, engine, folder).nodes()]
            found += [f"network {network}" for network in _networks(engine) if network == name]
        if not any(_clusters().iterdir()):
            found += [f"route {route}" for route in routes.blocked()]
    usual = Path.home() / ".kube" / "config"
    if usual.is_file() and f"kind-{name}" in usual.read_text():
        found.append(f"kind-{name} in {usual}")
    return found


def _create(name: str) -> tuple[Cluster, str]:
    """A new cluster, and how its node image was come by, in words."""
    engine = ensure_engine()
    try:
        _remove(name, engine)  # what a run that was killed has left of it
        return _create_in(engine, name)
    except BaseException:
        _remove(name, engine)
        stop_unused_engine()
        raise


def _create_in(engine: Engine, name: str) -> tuple[Cluster, str]:
    if name in kind(engine, "get", "clusters").split():
        raise ClusterError(f"there is a kind cluster {name} that this tool did not make: choose another name, or delete it with kind")
    image = ensure_node_image(engine)
    cluster = Cluster(name, engine, _folder(name))
    cluster.audit_log.parent.mkdir(parents=True)
    shutil.copy(_AUDIT_POLICY, cluster.audit_log.with_name("policy.yaml"))
    configuration = _configuration()
    configuration["kubeadmConfigPatches"] = [path.read_text() for path in (_KUBEADM, image.kubelet) if path is not None]
    mount = {"hostPath": str(cluster.audit_log.parent), "containerPath": "/etc/kubernetes/audit"}
    configuration["nodes"][0]["extraMounts"] = [mount]
    routes.block(_ranges(configuration))
    _LOG.info("creating the cluster %s", name)
    kind(
        engine,
        *("create", "cluster", f"--name={name}", f"--image={image.name}", f"--kubeconfig={cluster.kubeconfig}", "--config=-"),
        stdin=json.dumps(configuration).encode(),
        network=name,
    )
    return cluster, "the node image had to be made" if image.made else "the node image was there"


def _remove(name: str, engine: Engine) -> None:
    folder = _folder(name)
    if folder.is_dir():
        _LOG.info("removing the cluster %s", name)
        kind(engine, "delete", "cluster", f"--name={name}", f"--kubeconfig={folder / 'kubeconfig'}")
        if name in _networks(engine):  # it may not have come to one
            engine.docker("network", "rm", name)
        shutil.rmtree(folder)
    if not any(_clusters().iterdir()):
        routes.unblock(_ranges(_configuration()))


def _networks(engine: Engine) -> list[str]:
    return engine.docker("network", "ls", "--format={{.Name}}").split()


def _configuration() -> dict[str, Any]:
    configuration: dict[str, Any] = yaml.safe_load(_CONFIG.read_text())
    return configuration


def _ranges(configuration: dict[str, Any]) -> list[str]:
    networking = configuration["networking"]
    return [networking["podSubnet"], networking["serviceSubnet"]]


def _clusters() -> Path:
    clusters = cache_root() / "clusters"
    clusters.mkdir(parents=True, exist_ok=True)
    return clusters


def _folder(name: str) -> Path:
    return _clusters() / name
