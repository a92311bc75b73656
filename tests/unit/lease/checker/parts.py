"""What a world is made of: values, so that two that are the same are one."""

from typing import Any, NamedTuple

GONE = -1
"""In place of a state: there is no Lease."""


class BrokenError(AssertionError):
    """Something that must never be."""


class Scope(NamedTuple):
    """What may happen."""

    slots: int = 1
    duration: int = 6
    priorities: tuple[int, ...] = (0, 0, 0)
    """Of each client."""
    rounds: tuple[int, ...] = (1, 1, 1)
    """How often each asks."""
    passes: int = 0
    """How often a holding is passed on."""
    time: int = 0
    """How long it goes on."""
    faults: int = 0
    """Answers lost, answers late, writes late."""
    abandoned: int = 0
    crashes: int = 0
    made_again: int = 0
    """How often the Lease is deleted and made again."""
    operator: str = "there"
    """`there`, or `away` while the Lease is deleted."""
    plain: bool = False
    """Clients use the transitions as anybody may: with one id, over and over. Else as this project's client does, with rows of ids."""
    begun: bool = False
    """All ask one after another before anything else happens."""
    releases: bool = True
    """Whether holders give slots up of themselves."""
    reaps: bool = True
    """Whether the operator removes the dead."""


class Hold(NamedTuple):
    """A holding."""

    id: str
    fence: int
    beat: int
    renewed_at: int


class Flight(NamedTuple):
    """A write whose answer has not come."""

    op: tuple[Any, ...]
    version: int
    """Under which it was done; of one that is still to be done, which version it expects."""
    state: int
    """What was written, as the writer knows it."""
    shown: int
    """The same as others see it."""
    started: int


class Client(NamedTuple):
    """One process."""

    alive: bool = True
    rounds: int = 0
    version: int = GONE
    state: int = GONE
    """The newest that it knows."""
    row: tuple[bool, tuple[int, ...], int, int] = (False, (), 0, 1)
    """Whether it wants a slot; numbers, how many of them were asked for, the next one."""
    joining: bool = False
    confirming: tuple[str, int] | None = None
    hold: Hold | None = None
    passing: bool = False
    leave: tuple[tuple[str, str], ...] = ()
    """Ids to be released or withdrawn."""
    works_until: int = 0
    """A piece of work begun in a holding that was lost since may go on until then."""
    seen: tuple[tuple[tuple[str, int, int], int], ...] = ()
    """Since when it sees holders as they look."""
    expiring: tuple[str, int, int] | None = None
    """A holder that it takes for dead: id, fence and beat."""
    answer: Flight | None = None
    late: Flight | None = None


class World(NamedTuple):
    """All that there is."""

    clients: tuple[Client, ...]
    state: int
    version: int
    log: tuple[tuple[int, int], ...] = ()
    """Versions that somebody has not been told of yet."""
    time: int = 0
    newest_fence: int = 0
    gone_at: int | None = None
    gone_state: int = GONE
    passes: int = 0
    faults: int = 0
    abandoned: int = 0
    crashes: int = 0
    made_again: int = 0
