"""Keeps packets for a cluster's own addresses on this machine.

Until kube-proxy has written its rules, a packet for a service leaves its node by the default route, then this machine by its own, and
somebody out there may answer. An unreachable route on the machine stops it. Not in the nodes: there the route is looked up before the
service's address is replaced.
"""

import logging
import os
import shutil
from collections.abc import Sequence
from typing import Final

from tests.cluster.commands import run

_LOG = logging.getLogger(__name__)

_PROTOCOL: Final = "211"
"""Marks a route as ours; a number that no routing daemon uses (/etc/iproute2/rt_protos)."""


def block(ranges: Sequence[str]) -> None:
    """Makes ranges of addresses unreachable, except those that something else on this machine has a route for."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        _LOG.warning("without root and `ip`, packets for %s may leave this machine while a cluster starts", " and ".join(ranges))
        return
    for addresses in ranges:
        if not run(["ip", "route", "show", "exact", addresses]).strip():
            run(["ip", "route", "add", "unreachable", addresses, "proto", _PROTOCOL])


def unblock(ranges: Sequence[str]) -> None:
    """Takes back what `block` did."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return
    for addresses in ranges:
        if run(["ip", "route", "show", "exact", addresses, "proto", _PROTOCOL]).strip():
            run(["ip", "route", "del", "unreachable", addresses, "proto", _PROTOCOL])


def blocked() -> list[str]:
    """The routes on this machine that `block` has set."""
    return run(["ip", "route", "show", "proto", _PROTOCOL]).splitlines() if shutil.which("ip") is not None else []
