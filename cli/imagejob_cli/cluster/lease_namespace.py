"""In which namespace the Leases are: the operator's, which a user need not know."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from imagejob_cli.cluster.api import Api
from imagejob_cli.cluster.constants import DEFAULT_OPERATOR_NAMESPACE
from imagejob_cli.cluster.exceptions import ForbiddenError
from imagejob_cli.cluster.resources import LEASE
from imagejob_cli.wording import printable
from nodelease.kubernetes.names import ENV_LEASE_NAMESPACE, LABEL_LIMIT, LABEL_MANAGED_BY, LABEL_NODE, MANAGED_BY

LEASE_SELECTORS: Final[Mapping[str, str]] = {"labelSelector": f"{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_LIMIT},{LABEL_NODE}"}
"""Our Leases among all Leases."""


@dataclass(frozen=True, slots=True)
class LeasePlace:
    """Where the Leases are."""

    namespace: str
    """The namespace."""
    note: str = ""
    """What the user should know about the choice."""


async def find_leases(api: Api, given: str | None) -> LeasePlace:
    """The namespace of the Leases.

    What was given, else $IMAGEJOB_LEASE_NAMESPACE, else where there are Leases with our labels as far as the user may look.

    Args:
        api: The cluster.
        given: What the user said.
    """
    if named := given or os.environ.get(ENV_LEASE_NAMESPACE):
        return LeasePlace(named)
    try:
        listing = await api.list(LEASE, None, LEASE_SELECTORS)
    except ForbiddenError:
        return LeasePlace(DEFAULT_OPERATOR_NAMESPACE)
    return choose_place(frozenset(str(lease["metadata"]["namespace"]) for lease in listing.items))


def choose_place(found: frozenset[str]) -> LeasePlace:
    """The namespace that is believed, of those with Leases.

    Anybody who may create Leases somewhere can give them our labels, so of several only the default one is believed without being named.
    """
    if len(found) == 1:
        return LeasePlace(*found)
    others = ", ".join(printable(name) for name in sorted(found - {DEFAULT_OPERATOR_NAMESPACE}))
    note = f"Leases with imagejob's labels are also in {others}; choose with --operator-namespace" if others else ""
    return LeasePlace(DEFAULT_OPERATOR_NAMESPACE, note)
