"""The state on disk: one file for each limit, to which every write appends one line; the last whole line counts.

It outlives a killed server, and a server that ended because nobody needed it. Appending takes about 10 µs where replacing a file takes 100
µs in memory and several hundred on a disk, and this stands in the way of every hand-over. There is no fsync: after a crash of the machine
all who held are gone too.
"""

import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from nodelease.codec import decode
from nodelease.constants import LIMIT_NAME
from nodelease.exceptions import MalformedLeaseError
from nodelease.local.constants import STATE_FOLDER
from nodelease.local.wire import document, to_line
from nodelease.store import Snapshot

logger = logging.getLogger(__name__)

COMPACT_BYTES: Final = 4 << 20
"""A file that has grown to this is replaced by its last line."""


def boot_id() -> str:
    """What tells one boot of this machine from another."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class StateFiles:
    """Reads and writes the limits of a directory. One server at a time may have them."""

    def __init__(self, directory: Path) -> None:
        self._folder = directory / STATE_FOLDER
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._boot = boot_id()
        self._open: dict[str, int] = {}

    def load(self) -> dict[str, Snapshot]:
        """All limits. Of another boot only the limits and their fences are left: nobody who held or waited then is alive."""
        found = {}
        for path in sorted(self._folder.glob("*.jsonl")):
            try:
                snapshot = self._read(path)
            except (MalformedLeaseError, ValueError, KeyError, TypeError, RecursionError) as error:
                logger.warning("Set %s aside: %s", path, error)
                path.replace(path.with_suffix(".malformed"))
            else:
                found[path.stem] = snapshot
                self._compact(path.stem, self._line(document(snapshot)))
        return found

    def save(self, limit: str, shown: dict[str, Any]) -> None:
        """Write a limit's state.

        Args:
            limit: Its name.
            shown: Its Lease and version, as they are sent.

        Raises:
            OSError: It cannot be written; what was written before still counts.
        """
        line = self._line(shown)
        file = self._open.get(limit)
        if file is None or os.lseek(file, 0, os.SEEK_CUR) > COMPACT_BYTES:
            self._compact(limit, line)
        elif (done := os.write(file, line)) != len(line):
            self.close(limit)  # a torn line must not stand in the middle: the next write begins a new file
            raise OSError(f"only {done} of {len(line)} bytes could be written")

    def close(self, limit: str) -> None:
        """Close a limit's file."""
        file = self._open.pop(limit, None)
        if file is not None:
            os.close(file)

    def _line(self, shown: dict[str, Any]) -> bytes:
        return to_line({"boot": self._boot, **shown})

    def _compact(self, limit: str, line: bytes) -> None:
        self.close(limit)
        path = self._folder / f"{limit}.jsonl"
        new = path.with_suffix(".new")
        new.write_bytes(line)
        new.replace(path)
        self._open[limit] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        os.lseek(self._open[limit], 0, os.SEEK_END)

    def _read(self, path: Path) -> Snapshot:
        if LIMIT_NAME.fullmatch(path.stem) is None:
            raise ValueError("its name is not that of a limit")
        *lines, _torn = path.read_bytes().split(b"\n")
        if not lines:
            raise ValueError("it has no whole line")
        record = json.loads(lines[-1])
        snapshot = Snapshot(str(int(record["version"])), decode(record["lease"]))
        if record["boot"] != self._boot:
            snapshot = replace(snapshot, state=replace(snapshot.state, holders=(), queue=()))
        return snapshot
