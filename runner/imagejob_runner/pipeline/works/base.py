"""What the works of all kinds of steps have in common."""

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from imagejob_runner.pipeline.budget import Budget
from imagejob_runner.pipeline.flight import Flight


class Work(Protocol):
    """One step's work on one image."""

    async def run(self, flight: Flight) -> None:
        """Works on the image in place.

        Raises:
            ImageError: The image fails.
            SkipImage: The image is left out.
        """

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Memory:
    """What images in flight may hold together."""

    bytes: Budget
    pixels: Budget

    async def give_back(self, flight: Flight) -> None:
        """An image has ended: frees all it held."""
        await self.bytes.give_back(flight.chunk.sequence, flight.held_bytes)
        await self.pixels.give_back(flight.chunk.sequence, flight.held_pixels)
        flight.held_bytes = flight.held_pixels = 0
        flight.item.data = flight.item.image = flight.item.array = None


class PlainWork:
    """A work without resources of its own."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    async def run(self, flight: Flight) -> None:
        """Nothing to do: the row is committed with its chunk."""
