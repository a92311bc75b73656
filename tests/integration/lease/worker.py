"""A process that takes slots in a cluster: ``worker.py KUBECONFIG NAMESPACE NODE NAME hold|turns [ROUNDS SECONDS]``.

It prints a line of JSON for what happens. Times are seconds of CLOCK_BOOTTIME.
"""

import json
import sys
import time
from pathlib import Path

from nodelease import LeaseClient
from nodelease.clock import now


def say(what: str, **more: object) -> None:
    """A line for the test."""
    print(json.dumps({"what": what, **more}), flush=True)  # noqa: T201  the test reads it


def hold(client: LeaseClient) -> None:
    """Hold a slot, and do what is asked for."""
    holding = client.acquire_blocking("gpu")
    say("held", slot=holding.slots[0], fence=holding.fence, at=holding.granted_at)
    for line in sys.stdin:
        if line == "valid?\n":
            say("valid" if holding.valid else "lost")
        if line == "release\n":
            asked = now()
            holding.release_blocking()
            say("released", at=asked)


def turns(client: LeaseClient, rounds: int, seconds: float) -> None:
    """Take a slot again and again, and tell when the resource is used."""
    for _ in range(rounds):
        holding = client.acquire_blocking("gpu")
        if holding.valid:
            say("begin", slot=holding.slots[0], fence=holding.fence, at=now())
            time.sleep(seconds)
            say("end", slot=holding.slots[0], fence=holding.fence, at=now())
        holding.release_blocking()
    say("done", writes=client.counters("gpu").writes)


def main() -> None:
    """See above."""
    kubeconfig, namespace, node, name, what = sys.argv[1:6]
    with LeaseClient.kubernetes(pod=f"tests/{name}", node=node, namespace=namespace, kubeconfig=Path(kubeconfig)) as client:
        if what == "hold":
            hold(client)
        else:
            turns(client, int(sys.argv[6]), float(sys.argv[7]))


if __name__ == "__main__":
    main()
