"""The command line of the test cluster."""

import argparse
import logging
import sys
from collections.abc import Callable
from typing import Final

from tests.cluster import lifecycle, project_images
from tests.cluster.cluster import Cluster
from tests.cluster.engine import find_engine
from tests.cluster.exceptions import ClusterError
from tests.cluster.release import Release
from tests.tools.chart import NAMESPACE

_EPILOG: Final = """\
examples:
  python -m tests.cluster up                 a cluster of three nodes, two GPUs on each worker
  python -m tests.cluster up --gpus 4        the same, or the running one, with four GPUs on each worker
  python -m tests.cluster load runner        build the runner's image and give it to the workers
  python -m tests.cluster load busybox:1.37  give the workers an image that Docker has
  python -m tests.cluster install            build both images of the project, and install the chart with them
  python -m tests.cluster status             whether it runs, and how to reach it
  python -m tests.cluster down               remove it, and everything that came with it

See tests/cluster/README.md.
"""


def _up(arguments: argparse.Namespace) -> None:
    _tell(lifecycle.up(arguments.name, gpus=arguments.gpus))


def _down(arguments: argparse.Namespace) -> None:
    lifecycle.down(arguments.name)


def _load(arguments: argparse.Namespace) -> None:
    cluster = _running(arguments.name)
    for name in arguments.image:
        image = project_images.ensure(cluster.engine, name) if name in project_images.NAMES else name
        cluster.load(image)
        _print(image)


def _install(arguments: argparse.Namespace) -> None:
    cluster = _running(arguments.name)
    images = {name: project_images.ensure(cluster.engine, name) for name in project_images.NAMES}
    for image in images.values():
        cluster.load(image)
    Release(cluster, images, cluster.nodes("worker")[0]).apply()
    _print(cluster.kubectl(f"--namespace={NAMESPACE}", "get", "pods").rstrip())
    _print("")
    _print_environment(cluster)


def _status(arguments: argparse.Namespace) -> None:
    _tell(_running(arguments.name))


def _running(name: str) -> Cluster:
    cluster = lifecycle.find(name)
    if cluster is None:
        engine = find_engine()
        raise ClusterError(f"no cluster {name} runs{'' if engine else ', nor a Docker engine'}; make one with: make cluster-up")
    return cluster


def _tell(cluster: Cluster) -> None:
    _print(
        cluster.kubectl(
            "get",
            "nodes",
            "--output=custom-columns=NODE:.metadata.name,VERSION:.status.nodeInfo.kubeletVersion,"
            "READY:.status.conditions[?(@.type=='Ready')].status,GPUS:.status.allocatable.nvidia\\.com/gpu",
        ).rstrip()
    )
    _print("")
    _print_environment(cluster)


def _print_environment(cluster: Cluster) -> None:
    if cluster.engine.host:
        _print(f"export DOCKER_HOST={cluster.engine.host}")
    _print(f"export KUBECONFIG={cluster.kubeconfig}")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster",
        description="Makes a real Kubernetes cluster for the tests, with or without a container registry at hand.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--name", default=lifecycle.default_name(), help="the cluster's name (default: this checkout's, %(default)s)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, act: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        added.set_defaults(act=act)
        return added

    up = command("up", _up, "make the cluster, unless it runs")
    up.add_argument("--gpus", type=int, default=lifecycle.DEFAULT_GPUS, metavar="N", help="GPUs of each worker (default: %(default)s)")
    command("down", _down, "remove the cluster and what was started for it")
    load = command("load", _load, "give images to the workers")
    load.add_argument("image", nargs="+", help=f"{' or '.join(project_images.NAMES)}, which is built first, or an image that Docker has")
    command("install", _install, "build the project's images, give them to the workers, and install the chart, or upgrade it")
    command("status", _status, "print the nodes and how to reach the cluster; fail if it does not run")
    return parser


def main() -> None:
    """Runs the command that the arguments name."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        arguments.act(arguments)
    except ClusterError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
