"""One process of the hand-over benchmark: ``KUBECONFIG NAMESPACE NODE ROUNDS``.

It says "ready", waits for a line, and prints its holdings as one JSON value. Times are seconds of CLOCK_BOOTTIME, the same for all.
"""

import asyncio
import json
import random
import sys
from pathlib import Path

from nodelease import Holding, LeaseClient
from nodelease.clock import now

LIMIT = "gpu"
WORK_SECONDS = (0.005, 0.015)


async def take(client: LeaseClient, rounds: int) -> list[dict[str, float]]:
    """Hold a slot for a moment, pass it on and queue again: slot, fence and times of each holding."""
    held = []

    def ended(holding: Holding) -> None:
        held.append({"slot": holding.slots[0], "fence": holding.fence, "granted": holding.granted_at, "passed": now()})

    holding = await client.acquire(LIMIT)
    for _ in range(rounds):
        await asyncio.sleep(random.uniform(*WORK_SECONDS))  # noqa: S311  no secret
        ended(holding)
        holding = await holding.pass_on()
    ended(holding)
    await holding.release()
    return held


def main() -> None:
    """See above."""
    kubeconfig, namespace, node, rounds = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    with LeaseClient.kubernetes(pod=f"bench/{node}", node=node, namespace=namespace, kubeconfig=kubeconfig) as client:
        client.status(LIMIT)  # connects
        print("ready", flush=True)
        sys.stdin.readline()
        held = asyncio.run(take(client, rounds))
    print(json.dumps(held), flush=True)


if __name__ == "__main__":
    main()
