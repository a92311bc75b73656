"""Counts the rows that were in an output before, by status, while other work goes on."""

import contextlib
import logging
from collections import Counter
from collections.abc import Collection
from typing import Final

from imagejob_runner.exceptions import StorageError
from imagejob_runner.output.parts import skim_part
from imagejob_runner.output.window import ordered, parts_ahead
from imagejob_runner.planning import Plan
from imagejob_runner.rows import Row
from imagejob_runner.storage import OutputStore

UNREAD: Final = "unread"
"""Stands for the status of a row that is there and has not been looked at yet."""

logger = logging.getLogger(__name__)


class FoundRows:
    """Rows that a run has found in its output.

    How many there are is known from the names of the parts alone; what became of them only when they are read.

    Args:
        output: The output.
        plan: Its plan.
    """

    def __init__(self, output: OutputStore, plan: Plan) -> None:
        self._output, self._plan = output, plan
        self._unread: list[int] = []
        self.statuses: Counter[str] = Counter()
        """Rows by status; those that have not been read yet as `UNREAD`."""

    def expect(self, chunks: Collection[int]) -> None:
        """Takes in committed chunks that `read` is to look at."""
        self._unread += sorted(chunks)
        self.statuses[UNREAD] += sum(map(self._plan.chunk_total, chunks))

    def add(self, rows: Collection[Row]) -> None:
        """Takes in rows that somebody else has read."""
        self.statuses.update(row["status"] for row in rows)

    async def read(self) -> None:
        """Reads the chunks that are expected, a few at a time. One that cannot be read stays `UNREAD`: the end of the job tells why."""
        chunks, self._unread = self._unread, []
        async with contextlib.aclosing(ordered(chunks, self._statuses, parts_ahead(self._plan))) as parts:
            async for found in parts:
                self.statuses[UNREAD] -= found.total()
                self.statuses.update(found)

    async def _statuses(self, chunk: int) -> Counter[str]:
        try:
            return (await skim_part(self._output, self._plan, chunk)).statuses
        except StorageError as error:
            logger.warning("Rows that are there cannot be counted: %s", error)
            return Counter()


def remaining(found: Counter[str], known: Counter[str]) -> Counter[str]:
    """`found` without rows that are `known` to be among them; those not read yet count as any."""
    rest = found.copy()
    for status, count in known.items():
        seen = min(rest[status], count)
        rest[status] -= seen
        rest[UNREAD] -= count - seen
    return rest
