"""A `call` function that a test controls by hand, and an engine with such steps over chunks of made-up inputs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_runner.item import ImageItem
from imagejob_runner.pipeline.engine import Engine, EngineSettings
from imagejob_runner.pipeline.flight import ChunkInFlight, Todo
from imagejob_runner.pipeline.turn import Limiter
from imagejob_runner.rows import Row
from imagejob_runner.sources import Entry

Handler = Callable[[ImageItem], Awaitable[Any]]
HANDLERS: dict[str, Handler] = {}


async def pull(item: ImageItem, lever: str) -> Any:  # noqa: ANN401  what the test's handler gives
    """The function of the steps: whatever the test has put under the name `lever`."""
    return await HANDLERS[lever](item)


def step(name: str, handler: Handler, *, limits: tuple[str, ...] = (), hold: str = "5s", **fields: Any) -> dict[str, Any]:  # noqa: ANN401  fields
    """A `call` step that awaits `handler`."""
    HANDLERS[name] = handler
    taken = [{"name": limit, "hold": hold} for limit in limits]
    retries = {"limit": 0}
    return {
        "name": name,
        "call": {"function": f"{__name__}:pull", "arguments": {"lever": name}},
        "limits": taken,
        "retries": retries,
        **fields,
    }


def ids(chunk: int, size: int) -> list[str]:
    return [f"{chunk}-{place}" for place in range(size)]


@dataclass
class Workshop:
    """An engine at work; commits wait while `may_commit` is not set."""

    steps: list[dict[str, Any]]
    chunks: list[int]
    """Sizes."""
    limiter: Limiter | None = None
    folder: str = ""
    """Where the inputs are, if a step reads them."""
    settings: EngineSettings = field(default_factory=lambda: EngineSettings(cpus=2))
    committed: list[ChunkInFlight] = field(default_factory=list)
    may_commit: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_commit.set()
        self.engine = Engine(
            ImagePipelineSpec.model_validate({"steps": self.steps}),
            limiter=self.limiter,
            output=None,
            commit=self._commit,
            settings=self.settings,
            models={},
        )

    async def run(self) -> None:
        async with asyncio.timeout(20):
            await self.engine.run(self._todo())

    @property
    def rows(self) -> list[Row]:
        return [row for chunk in self.committed for row in chunk.rows if row is not None]

    async def _todo(self) -> AsyncIterator[Todo]:
        for index, size in enumerate(self.chunks):
            entries = [Entry(identity, f"file://{self.folder}/{identity}") for identity in ids(index, size)]
            yield Todo(index, [None] * size, list(enumerate(entries)), replaces=False)

    async def _commit(self, chunk: ChunkInFlight) -> None:
        await self.may_commit.wait()
        self.committed.append(chunk)


async def until(condition: Callable[[], bool], within: float = 10) -> None:
    """Lets others run until a condition is true."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  conditions of all kinds, not all of which tell when they change
            await asyncio.sleep(0.001)


async def quiet(seen: Callable[[], object], rounds: int = 200) -> None:
    """Lets others run until what is seen has not changed for many rounds of the loop."""
    before, same = seen(), 0
    while same < rounds:
        await asyncio.sleep(0)
        before, same = seen(), same + 1 if seen() == before else 0
