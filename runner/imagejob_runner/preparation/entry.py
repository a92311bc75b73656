"""An image in the pool, from its request until its slot is released."""

import asyncio
from dataclasses import dataclass, field

from imagejob_runner.preparation.messages import Request


@dataclass(slots=True, eq=False)
class Entry:
    """An image in the pool."""

    request: Request
    order: int
    """Its place among all images of the pool."""
    slot: int
    used: list[int] = field(default_factory=lambda: [0, 0])
    """Attempts that have ended a worker, by step."""
    losses: int = 0
    """How often a worker ended with it on board and nobody knows at which image."""
    unit: int = -1
    """In which it was handed out; -1 while it is in none, or waits aside."""
    permit: "asyncio.Task[None] | None" = None
    """Waits for room to decode it, and keeps that."""
    over: asyncio.Event | None = None
    """Set when it does not need the room any more."""
    granted: bool = False
    """Whether it has that room."""
    device_seconds: float = 0.0
    """What the device needs to decode it."""
