"""Slots for tests that are about something else."""

from itertools import count

from imagejob_runner.pipeline.turn import now


class WantedSlot:
    """A slot that somebody else always wants."""

    fences = count(1)
    max_hold_seconds = 60.0

    def __init__(self, limit: str) -> None:
        self.limit, self.asked_at, self.fence = limit, now(), next(self.fences)
        self.id, self.slots, self.waited, self.valid, self.contended = f"me-{self.fence}", (0,), True, True, True

    async def wait_contended(self) -> None:
        """It is already."""

    async def release(self) -> None:
        """The other one has it now."""

    async def pass_on(self) -> "WantedSlot":
        return WantedSlot(self.limit)


class WantedSlots:
    """A limiter of such slots."""

    async def acquire(self, limit: str, *, slots: int, priority: int) -> WantedSlot:
        del slots, priority
        return WantedSlot(limit)
