"""Goes through everything that can happen to a Lease, within bounds, and shows that each guard is needed for that to end well."""

import inspect
from types import ModuleType

import pytest

from tests.unit.lease.checker import world
from tests.unit.lease.checker.copies import Change, Code
from tests.unit.lease.checker.explore import explore
from tests.unit.lease.checker.parts import BrokenError, Scope

TWO = {"rounds": (1, 1), "priorities": (0, 0)}
SCOPES = {
    "turns": Scope(slots=2, passes=1),
    "turns by priority": Scope(priorities=(0, 1, 0), passes=1),
    "answers lost and late, with one id over and over": Scope(passes=1, faults=1, plain=True),
    "more of them, from when all have asked": Scope(passes=1, faults=2, plain=True, begun=True),
    "three clients and two slots, answers lost and late, a death": Scope(slots=2, passes=1, faults=1, crashes=1, begun=True),
    "a request given up, lost and late, a death": Scope(**TWO, faults=1, abandoned=1, crashes=1),
    "three clients and two slots, in time": Scope(slots=2, duration=3, time=3, releases=False, reaps=False, begun=True),
    "answers lost and late, in time": Scope(**TWO, duration=3, time=4, faults=1, reaps=False, begun=True),
    "a death, in time, with an operator whose clock is ahead": Scope(duration=6, time=3, crashes=1, begun=True),
    "the Lease is made again": Scope(**TWO, duration=3, time=4, made_again=1, reaps=False, begun=True),
    "the Lease is made again, and the operator did not see it go": Scope(
        **TWO, duration=3, time=4, made_again=1, reaps=False, begun=True, operator="away"
    ),
}
MOST = 150_000
"""Worlds in any scope."""

NETWORK = "answers lost and late, with one id over and over"
DEATH = "three clients and two slots, answers lost and late, a death"
TIME = "answers lost and late, in time"
AHEAD = "a death, in time, with an operator whose clock is ahead"
AGAIN = "the Lease is made again"
AWAY = "the Lease is made again, and the operator did not see it go"

MUTANTS: dict[str, tuple[str, Change]] = {
    "a request that is repeated keeps its place": (
        NETWORK,
        (
            "transitions",
            "    new = [waiter for waiter in waiters if waiter.id not in known]\n",
            (
                "    new = [waiter for waiter in waiters if state.holder(waiter.id) is None]\n"
                "    state = _without(state, known & {waiter.id for waiter in new})\n"
            ),
        ),
    ),
    "a request that is repeated is one": (NETWORK, ("transitions", "if waiter.id not in known]", "if state.waiter(waiter.id) is None]")),
    "a yield gives up no other grant": (NETWORK, ("transitions", "holder is None or holder.fence != fence or", "holder is None or")),
    "a yield hands on": (
        "turns",
        (
            "transitions",
            "return _grant(_enqueue(_without(state, {request_id}), waiters))",
            "return _enqueue(_without(state, {request_id}), waiters)",
        ),
    ),
    "a release hands on": (
        "turns",
        (
            "transitions",
            "return _grant(_without(state, {request_id}))\n\n\ndef yield_",
            "return _without(state, {request_id})\n\n\ndef yield_",
        ),
    ),
    "what the dead held is handed on": (
        DEATH,
        ("transitions", "return _grant(_without(state, request_ids))", "return _without(state, request_ids)"),
    ),
    "a higher priority goes first": ("turns by priority", ("transitions", "if other.priority >= waiters[0].priority]", "]")),
    "each grant has a fence of its own": ("turns", ("transitions", "fence = state.transitions + 1", "fence = state.transitions or 1")),
    "who is granted a slot leaves the queue": ("turns", ("transitions", "if waiter is not head)", ")")),
    "a slot in use is not free": (
        "turns",
        ("state", "for slot in range(self.slots) if slot not in used)", "for slot in range(self.slots))"),
    ),
    "who moved is not expired": (TIME, ("transitions", "(holder.fence, holder.beat) != (fence, beat)", "False")),
    "an observer sees renewals": (TIME, ("expiry", "return (holder.id, holder.fence, holder.beat)", "return (holder.id, holder.fence, 0)")),
    "an observer waits for a whole duration": (TIME, ("expiry", "+ span(holder.beat, state.duration_seconds) +", "+ 2 +")),
    "a holder stops after two thirds": (TIME, ("constants", "STOP_FRACTION: Final = 2 / 3", "STOP_FRACTION: Final = 5 / 6")),
    "first come, first served": (
        NETWORK,
        ("transitions", "if other.priority >= waiters[0].priority]", "if other.priority > waiters[0].priority]"),
    ),
    "a grant counts from when it was written, not from when it is seen": (
        AHEAD,
        ("holding", "since = holder.granted.here() if", "since = now() if"),
    ),
    "a grant that was not taken up is used for two thirds of the time for that": (
        AHEAD,
        (
            "holding",
            "self._renewed_at + span(self._beat, self._duration) * STOP_FRACTION",
            "self._renewed_at + self._duration * STOP_FRACTION",
        ),
    ),
    "it is made again when nobody can use a slot of it": (AGAIN, ("operator_vacancies", "until = now + max(", "until = now + min(1, ")),
    "another clock's grant is renewed before it is used": (
        AHEAD,
        ("clock", "if self.clock == clock_id() else None", "if self.clock else None"),
    ),
    "a Lease that is gone is not made again at once": (AGAIN, ("operator_plan", "if now < beginning.at:", "if False:")),
    "an operator that did not see it go waits, too": (
        AWAY,
        ("operator_vacancies", "Beginning(since + goal.duration_seconds if", "Beginning(since if"),
    ),
    "fences go on where the operator saw the last one": (
        AGAIN,
        ("operator_vacancies", "max(wall_microseconds(), vacancy.fence)", "wall_microseconds()"),
    ),
    "fences go on where nobody saw the last one": (
        AWAY,
        (
            "operator_plan",
            "transitions.begin(LeaseState(goal.slots, goal.duration_seconds, goal.active, bounds=goal.bounds), beginning.epoch)",
            "LeaseState(goal.slots)",
        ),
    ),
    "client: a write replaces only what was read": (DEATH, ("world", "if client.version != world.version:", "if False:")),
    "client: a renewal counts from before it was written": (
        TIME,
        ("world", "max(client.hold.renewed_at, started)", "max(client.hold.renewed_at, time)"),
    ),
    "client: what stands there and nobody wants is withdrawn": (
        "a request given up, lost and late, a death",
        ("world", "for request in sorted(strays)", "for request in ()"),
    ),
}


def checked(scope: str, *changes: Change) -> tuple[int, int]:
    """Goes through a scope. A change of the module `world` is one of what the client does, as it is said again there."""
    model, code = world.Model, Code(*(change for change in changes if change[0] != "world"))
    for name, old, new in changes:
        if name == "world":
            source = inspect.getsource(world)
            assert source.count(old) == 1, f"the guard {old!r} is not there, or there twice"
            module = ModuleType("changed_world")
            exec(compile(source.replace(old, new), "changed_world", "exec"), module.__dict__)  # noqa: S102  our own source
            model = module.Model
    return explore(model(code, SCOPES[scope]), MOST)


@pytest.mark.parametrize("scope", SCOPES)
def test_all_is_well_whatever_happens(scope: str) -> None:
    worlds, steps = checked(scope)
    assert worlds > 500, "the scope shows something"
    assert steps > worlds


@pytest.mark.parametrize("guard", MUTANTS)
def test_without_the_guard_something_breaks(guard: str) -> None:
    scope, change = MUTANTS[guard]
    with pytest.raises(BrokenError):
        checked(scope, change)
