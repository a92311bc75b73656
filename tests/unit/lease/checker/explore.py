"""The way through all worlds, nearest first, so that what goes wrong is told by the shortest story."""

from tests.unit.lease.checker.parts import BrokenError, World
from tests.unit.lease.checker.world import Model


def explore(model: Model, most: int) -> tuple[int, int]:
    """Go everywhere, nearest first. Returns how many worlds and steps there are.

    Raises:
        BrokenError: Something is wrong; the message tells how it came about.
    """
    first = model.first()
    came: dict[World, tuple[World, str] | None] = {first: None}
    layer, steps = [first], 0
    while layer:
        following = []
        for world in layer:
            try:
                found = model.steps(world)
            except BrokenError as error:
                raise BrokenError(f"{error}\n{story(came, world)}") from error
            if not found:
                _end(model, came, world)
            for name, after in found:
                steps += 1
                if after in came:
                    continue
                came[after] = (world, name)
                try:
                    model.check(after)
                except BrokenError as error:
                    raise BrokenError(f"{error}\n{story(came, after)}") from None
                following.append(after)
        layer = following
        if len(came) > most:
            raise OverflowError(f"more than {most} worlds")
    return len(came), steps


def _end(model: Model, came: dict[World, tuple[World, str] | None], world: World) -> None:
    try:
        model.check_end(world)
    except BrokenError as error:
        raise BrokenError(f"{error}\n{story(came, world)}") from None


def story(came: dict[World, tuple[World, str] | None], world: World) -> str:
    """How it came to this."""
    told = []
    at: World | None = world
    while at is not None:
        before = came[at]
        told.append(f"{at.time:3}  {before[1] if before else 'the beginning'}")
        at = before[0] if before else None
    return "\n".join(reversed(told))
