"""Options that the cluster's commands share, as kubectl has them."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from imagejob_cli.cluster.constants import PLUGIN, PROGRAM

if TYPE_CHECKING:
    from imagejob_cli.cluster.kubeconfig import Access

P = ParamSpec("P")
R = TypeVar("R")


def cluster_options(command: Callable[P, R]) -> Callable[..., R]:
    """Adds --namespace, --context and --kubeconfig to a command, which gets them as one argument, `access`."""

    @click.option("-n", "--namespace", metavar="NS", help="Namespace to work in. [default: the context's]")
    @click.option("--context", metavar="NAME", help="Context of the kubeconfig. [default: the current one]")
    @click.option("--kubeconfig", metavar="FILE", help="Kubeconfig file. [default: $KUBECONFIG, else ~/.kube/config]")
    @functools.wraps(command)
    def with_access(*arguments: P.args, **options: P.kwargs) -> R:
        from imagejob_cli.cluster.kubeconfig import Access

        values = {name: options.pop(name) for name in ("kubeconfig", "context", "namespace")}
        access = Access(**{name: None if value is None else str(value) for name, value in values.items()})
        options["access"] = access
        return command(*arguments, **options)

    return with_access


operator_namespace_option = click.option(
    "--operator-namespace",
    metavar="NS",
    help="Namespace of the Leases. [default: $IMAGEJOB_LEASE_NAMESPACE, else where they are found, else imagejob-system]",
)


def program() -> str:
    """What the user calls this program: `imagejob`, or `kubectl imagejob`."""
    context = click.get_current_context(silent=True)
    name = context.find_root().info_name if context is not None else None
    return PLUGIN if name == PLUGIN else PROGRAM


def command_line(access: Access, *words: str) -> str:
    """A command to copy, which means the same cluster and namespace as the one that was typed."""
    places = (("-n", access.namespace), ("--context", access.context), ("--kubeconfig", access.kubeconfig))
    options = [part for option, value in places if value is not None for part in (option, value)]
    return f"{program()} {shlex.join([*words, *options])}"
