"""The gate between what may be done again and what is worth not doing twice.

It stands before the first step that computes under a limit or on a model. **Images of the two oldest chunks that are not committed go
through; all others wait, prepared.** So one chunk can be computed while the one before it is written, and a crash costs two chunks at most.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from imagejob_runner.pipeline.channel import Channel
from imagejob_runner.pipeline.flight import Flight

CHUNKS: Final = 2
"""Chunks that may be behind the gate: the one that is computed, and the one that is written."""


class Gate:
    """Lets images through by their chunk.

    Args:
        beyond: Where images go that pass; closed when nothing will pass any more.
    """

    def __init__(self, beyond: Channel[Flight]) -> None:
        self._beyond = beyond
        self._uncommitted: list[int] = []
        """Sequence numbers of the chunks that are taken up and not committed, oldest first."""
        self._waiting: defaultdict[int, list[Flight]] = defaultdict(list)
        self._last_came = False

    @property
    def waiting(self) -> int:
        """Images that are prepared, and wait for an older chunk to be written."""
        return sum(map(len, self._waiting.values()))

    def take_up(self, sequence: int) -> None:
        """A chunk is taken up; sequence numbers grow."""
        self._uncommitted.append(sequence)

    def arrive(self, flights: Sequence[Flight]) -> None:
        """Prepared images come to the gate."""
        for flight in flights:
            self._waiting[flight.chunk.sequence].append(flight)
        self._let_through()

    def committed(self, sequence: int) -> None:
        """A chunk is in the output."""
        self._uncommitted.remove(sequence)
        self._let_through()

    def last_came(self) -> None:
        """No image comes to the gate any more."""
        self._last_came = True
        self._let_through()

    def stop(self) -> None:
        """Nothing passes any more; what waits is dropped."""
        self._waiting.clear()
        self._beyond.close(drop=True)

    def _let_through(self) -> None:
        passing = [flight for sequence in self._uncommitted[:CHUNKS] for flight in self._waiting.pop(sequence, ())]
        if passing:
            self._beyond.add(passing)
        if self._last_came and not self._waiting:
            self._last_came = False
            self._beyond.close()
