"""The state on disk: one file for each limit, replaced whole.

It outlives a killed server, and a server that ended because nobody needed it. There is no fsync: after a crash of the machine all who held
are gone too, and a file that was torn by it is set aside.
"""

import json
import logging
from dataclasses import replace
from pathlib import Path

from nodelease.codec import decode, encode
from nodelease.constants import LIMIT_NAME
from nodelease.exceptions import MalformedLeaseError
from nodelease.local.constants import STATE_FOLDER
from nodelease.store import Snapshot

logger = logging.getLogger(__name__)


def boot_id() -> str:
    """What tells one boot of this machine from another."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class StateFiles:
    """Reads and writes the limits of a directory."""

    def __init__(self, directory: Path) -> None:
        self._folder = directory / STATE_FOLDER
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._boot = boot_id()

    def load(self) -> dict[str, Snapshot]:
        """All limits. Of another boot only the limits and their fences are left: nobody who held or waited then is alive."""
        found = {}
        for path in sorted(self._folder.glob("*.json")):
            try:
                found[path.stem] = self._read(path)
            except (MalformedLeaseError, ValueError, KeyError, TypeError, RecursionError) as error:
                logger.warning("Set %s aside: %s", path, error)
                path.rename(path.with_suffix(".malformed"))
        return found

    def save(self, limit: str, snapshot: Snapshot) -> None:
        """Replace a limit's file.

        Raises:
            OSError: It cannot be written; the old one is still there.
        """
        path = self._folder / f"{limit}.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps({"boot": self._boot, "version": snapshot.version, "lease": encode(snapshot.state)}))
        new.replace(path)

    def _read(self, path: Path) -> Snapshot:
        if LIMIT_NAME.fullmatch(path.stem) is None:
            raise ValueError("its name is not that of a limit")
        record = json.loads(path.read_text())
        snapshot = Snapshot(str(int(record["version"])), decode(record["lease"]))
        if record["boot"] != self._boot:
            snapshot = replace(snapshot, state=replace(snapshot.state, holders=(), queue=()))
        return snapshot
