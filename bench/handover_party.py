"""One process of the hand-over benchmark: ``KUBECONFIG NAMESPACE NODE take ROUNDS``, or ``... write ROUNDS``, or ``... read ROUNDS``.

It says "ready", waits for a line, and prints what it measured as one JSON value. Times are seconds of CLOCK_BOOTTIME, the same for all.
"""

import asyncio
import json
import random
import sys
from dataclasses import replace
from pathlib import Path

from nodelease import Holding, LeaseClient
from nodelease.clock import now
from nodelease.kubernetes.access import KubeconfigAccess
from nodelease.kubernetes.store import KubernetesStore

LIMIT = "gpu"
WORK_SECONDS = (0.005, 0.015)
PAUSE_SECONDS = 0.03


def ready() -> None:
    """Wait for the others."""
    print("ready", flush=True)
    sys.stdin.readline()


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


async def write(store: KubernetesStore, rounds: int) -> list[float]:
    """Write the Lease again and again: when each write began."""
    ready()
    snapshot = await store.read(LIMIT)
    begun = []
    for number in range(1, rounds + 1):
        await asyncio.sleep(PAUSE_SECONDS)
        begun.append(now())
        snapshot = await store.replace(LIMIT, replace(snapshot.state, transitions=number), snapshot.version)
    await store.close()
    return begun


async def read(store: KubernetesStore, rounds: int) -> list[float]:
    """Watch the Lease: when each of the writes was heard of."""
    heard: dict[int, float] = {}
    async for observation in store.watch(LIMIT):
        if observation.snapshot is not None:
            heard[observation.snapshot.state.transitions] = now()
        if len(heard) == 1:
            ready()
        if rounds in heard:
            break
    await store.close()
    return [heard[number] for number in range(1, rounds + 1)]


def main() -> None:
    """See above."""
    kubeconfig, namespace, node, what, rounds = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])
    if what == "take":
        with LeaseClient.kubernetes(pod=f"bench/{node}", node=node, namespace=namespace, kubeconfig=kubeconfig) as client:
            client.status(LIMIT)  # connects
            ready()
            measured: list[dict[str, float]] | list[float] = asyncio.run(take(client, rounds))
    else:
        store = KubernetesStore(KubeconfigAccess(kubeconfig), namespace, node)
        measured = asyncio.run((write if what == "write" else read)(store, rounds))
    print(json.dumps(measured), flush=True)


if __name__ == "__main__":
    main()
