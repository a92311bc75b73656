"""What was being decoded when a process died: without it one picture too many kills the next attempt, too, and the one after it.

Only a decoding so large that it goes alone is noted, as a small object in the output, and the note is taken away when it is over. So a
note that is found means that whoever made it died, or is at it just now. Its name says all: chunk, place in it, bytes needed, bytes that
the process could use, and the number of the attempt.
"""

import logging
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from imagejob_runner.constants import SUSPECTS_FOLDER, ErrorCode
from imagejob_runner.exceptions import ImageError, StorageError
from imagejob_runner.pipeline.flight import Flight
from imagejob_runner.process import memory_limit, own_memory

if TYPE_CHECKING:
    from imagejob_runner.storage import OutputStore

ATTEMPTS: Final = 2
"""So often a picture may take a process with it before it is given up: the first time something else may have been at fault."""
_NAME: Final = re.compile(rf"{SUSPECTS_FOLDER}/(\d+)-(\d+)-(\d+)-(\d+)-(\d+)")
_OVER: Final = b"over\n"

logger = logging.getLogger(__name__)

Place = tuple[int, int]
"""Chunk, and place in it."""


@dataclass(frozen=True, slots=True)
class _Note:
    name: str
    place: Place
    needed: int


class Suspects:
    """Decides whether a large picture is decoded, and notes that it is.

    Args:
        output: Where notes are kept; None: nowhere.
    """

    def __init__(self, output: "OutputStore | None") -> None:
        self._output = output
        self._limit = memory_limit()
        self._own = 0
        self._noted: dict[Place, str] = {}

    def ready(self) -> None:
        """Everything but images is loaded: what the process has now is not there for them."""
        self._own = own_memory()

    def check_room(self, flight: Flight, needed: int) -> None:
        """Refuses what cannot fit, whatever else is let go.

        Raises:
            ImageError: TooLargeToDecode.
        """
        room = self._limit - self._own
        if needed > room:
            raise _too_large(
                flight, needed, f"and this process can have {_size(room)} for it ({_size(self._limit)} less what model and libraries take)"
            )

    async def begin(self, flight: Flight, needed: int) -> None:
        """Notes that a picture is being decoded.

        Raises:
            ImageError: TooLargeToDecode: this one, or one that needs no more, has ended processes with as much memory as this one.
            StorageError: The output cannot be read or written.
        """
        if self._output is None:
            return
        place = (flight.chunk.index, flight.position)
        deaths = await self._deaths(self._output)
        fatal = [notes[0].needed for notes in deaths.values() if len(notes) >= ATTEMPTS]
        if needed >= min(fatal, default=needed + 1):
            raise _too_large(flight, needed, f"and decoding that much has ended {ATTEMPTS} processes that could use {_size(self._limit)}")
        attempt = len(deaths.get(place, ())) + 1
        if attempt > 1:
            logger.warning("%s was being decoded when a process died: it is tried once more, alone", flight.item.id)
        name = f"{SUSPECTS_FOLDER}/{place[0]:05d}-{place[1]:05d}-{needed}-{self._limit}-{attempt}"
        self._noted[place] = name  # first: who is cancelled in the middle of it may have written it
        await self._output.replace(name, f"{flight.item.id}\n".encode("utf-8", "backslashreplace"))

    async def end(self, flight: Flight) -> None:
        """The decoding is over, however it ended."""
        name = self._noted.pop((flight.chunk.index, flight.position), None)
        if name is None or self._output is None:
            return
        try:
            await self._output.delete(name)
        except StorageError:  # who may write may not always delete
            await self._output.replace(name, _OVER)

    async def _deaths(self, output: "OutputStore") -> dict[Place, list[_Note]]:
        """Notes of the dead by picture; those of processes that had less memory than this one prove nothing."""
        found: dict[Place, list[_Note]] = defaultdict(list)
        async for name in output.names(SUSPECTS_FOLDER):
            match = _NAME.fullmatch(name)
            if match is not None and int(match[4]) >= self._limit and await output.read(name) not in (None, _OVER):
                place = int(match[1]), int(match[2])
                found[place].append(_Note(name, place, int(match[3])))
        return found


def _too_large(flight: Flight, needed: int, why: str) -> ImageError:
    size = "x".join(str(flight.item.provenance.get(side, "?")) for side in ("width", "height"))
    form = flight.item.provenance.get("format", "image")
    return ImageError(
        ErrorCode.TOO_LARGE_TO_DECODE,
        f"decoding this {form} of {size} pixels takes about {_size(needed)}, {why}: give it more memory, or make the image smaller",
    )


def _size(count: int) -> str:
    return f"{max(count, 0) / 2**20:,.0f} MiB"
