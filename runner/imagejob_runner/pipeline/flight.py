"""Images and chunks in flight."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from imagejob_runner.exceptions import ImageError, SkipImage
from imagejob_runner.item import ImageItem
from imagejob_runner.pipeline.progress import Outcome
from imagejob_runner.rows import Row

if TYPE_CHECKING:
    import numpy as np

    from imagejob_runner.device.jpeg import Header


class Entry(Protocol):
    """One input, as the plan has it."""

    @property
    def id(self) -> str:
        """Name of the input."""

    @property
    def url(self) -> str:
        """Where it is."""


@dataclass(slots=True)
class Todo:
    """A chunk that is to be done, or done in part.

    Attributes:
        index: Number of the chunk in the plan.
        rows: One place for each input; filled where the row stands already.
        entries: Inputs to do, each with its place.
        replaces: Whether the chunk stands in the output and is written anew.
    """

    index: int
    rows: list[Row | None]
    entries: Sequence[tuple[int, Entry]]
    replaces: bool


@dataclass(slots=True)
class ChunkInFlight:
    """A chunk of which some images have started.

    Attributes:
        sequence: Place in the order in which this process takes up chunks.
        index: Number of the chunk in the plan.
        rows: One place for each input, filled as the images end.
        remaining: Images that have not ended.
        replaces: Whether the chunk stands in the output and is written anew.
        ended: How the images ended that were done, as `Progress.ended`.
    """

    sequence: int
    index: int
    rows: list[Row | None]
    remaining: int
    replaces: bool = False
    ended: Counter[Outcome] = field(default_factory=Counter)


@dataclass(slots=True)
class Flight:
    """One image and what it holds.

    Attributes:
        attempts: Attempts of the step it is in, or ended in.
        held_bytes: Share of the byte budget.
        held_memory: Share of the budget for decoding, and for what is decoded.
        decoding: Whether it is let in to be decoded.
        in_window: Whether it has one of the places on the way to the gate.
        slot: Number of the slot of shared memory that its model input or its file is in, if any.
        encoded: Bytes of a JPEG that the model's device is to decode, instead of a model input: uint8, shape (bytes,).
        header: What its markers say.
    """

    item: ImageItem
    chunk: ChunkInFlight
    position: int
    attempts: int = 1
    held_bytes: int = 0
    held_memory: int = 0
    decoding: bool = False
    in_window: bool = True
    slot: int | None = None
    encoded: "np.ndarray | None" = None
    header: "Header | None" = None


Ended = tuple[Flight, ImageError | SkipImage | None]
"""An image that goes no further: it has failed, is left out, or (None) has gone through the last stage."""
