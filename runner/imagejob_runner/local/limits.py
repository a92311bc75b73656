"""The node's limits on one machine: what the operator does with NodeLimits in a cluster."""

import os
from collections.abc import Mapping
from pathlib import Path

from imagejob_api.nodelimit import NodeLimit
from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_runner.exceptions import InvalidJobError
from nodelease import Bounds, LeaseClient


class LocalLimits:
    """Keeps this node's limits as a job's file has them, while a run goes on.

    Args:
        pipeline: Its steps name the limits.
        limits: The NodeLimits of the file, by name.

    Raises:
        InvalidJobError: A step takes a limit that is not given: it would never run.
    """

    def __init__(self, pipeline: ImagePipelineSpec, limits: Mapping[str, NodeLimit]) -> None:
        self._limits: dict[str, NodeLimit] = {}
        for step in pipeline.steps:
            for limit in step.limits:
                if limit.name not in limits:
                    raise InvalidJobError(
                        f"step {step.name!r} takes the limit {limit.name!r}, and there is no NodeLimit of that name: add one to the file"
                    )
                self._limits[limit.name] = limits[limit.name]
        self.slots = {name: slots_on_this_machine(limit) for name, limit in sorted(self._limits.items())}
        self._client: LeaseClient | None = None

    def open(self) -> None:
        """Tells the machine's store of the limits, which it starts if need be; does nothing the second time. Blocks."""
        if self.slots and self._client is None:
            self._client = LeaseClient.local(f"supervisor-{os.getpid()}")
            for name, slots in self.slots.items():
                spec = self._limits[name].spec
                bounds = Bounds(spec.max_hold_seconds, spec.max_priority)
                self._client.define(
                    name, slots=slots, lease_duration_seconds=spec.lease_duration_seconds, active=spec.active, bounds=bounds
                )

    def close(self) -> None:
        """Takes leave of the store."""
        if self._client is not None:
            self._client.close()


def slots_on_this_machine(limit: NodeLimit) -> int:
    """Slots of a limit on this machine: its override, or `slots`, or `slotsPerDevice` for each GPU (one device if there is none)."""
    spec = limit.spec
    node = os.uname().nodename
    for override in spec.overrides:
        if override.node == node:
            return override.slots
    if spec.slots is not None:
        return spec.slots
    devices = len([path for path in Path("/dev").glob("nvidia[0-9]*") if path.name[6:].isdigit()])
    return (spec.slots_per_device or 1) * max(1, devices)
