"""A process that takes slots, for the tests: `worker.py DIRECTORY hold|stress ARGUMENT`."""

import os
import sys
import time
from pathlib import Path

from nodelease import LeaseClient
from nodelease.clock import now


def hold(client: LeaseClient) -> None:
    """Hold a slot until told to go; answer `valid?` meanwhile."""
    holding = client.acquire_blocking("gpu")
    print("held", holding.slots[0], holding.fence, holding.granted_at, flush=True)  # noqa: T201  the test reads it
    for line in sys.stdin:
        if line == "valid?\n":
            print(holding.valid, flush=True)  # noqa: T201  the test reads it
        if line == "release\n":
            asked = now()
            holding.release_blocking()
            print("released", asked, flush=True)  # noqa: T201  the test reads it


def stress(client: LeaseClient, rounds: int, folder: Path) -> None:
    """Take a slot again and again; a file that must not be there yet shows that nobody else has it."""
    for _ in range(rounds):
        holding = client.acquire_blocking("gpu")
        if holding.valid:
            file = folder / f"slot-{holding.slots[0]}"
            os.close(os.open(file, os.O_CREAT | os.O_EXCL))
            time.sleep(0.001)
            file.unlink()
        holding.release_blocking()
    print("done", client.counters("gpu").writes, flush=True)  # noqa: T201  the test reads it


def main() -> None:
    """See above."""
    directory = Path(sys.argv[1])
    with LeaseClient.local(f"worker-{os.getpid()}", directory) as client:
        if sys.argv[2] == "hold":
            hold(client)
        else:
            stress(client, int(sys.argv[3]), directory)


if __name__ == "__main__":
    main()
