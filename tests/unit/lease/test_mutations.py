"""Every guard of the state machine is needed: taking any one away makes the property tests fail."""

import inspect
import sys
from types import ModuleType

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from nodelease import state as state_module
from nodelease import transitions
from tests.unit.lease.model import machine

QUICK = settings(
    max_examples=600,
    stateful_step_count=15,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)

MUTATIONS = {
    "state: ids of those who hold": ("{entry.id for entry in self.holders} | {entry", "{entry"),
    "state: ids of those who wait": (" | {entry.id for entry in self.queue}", ""),
    "request only what is not there": ("for waiter in waiters if waiter.id not in known]", "for waiter in waiters]"),
    "request of what is there writes nothing": (
        "return _grant(_enqueue(state, new)) if new else state",
        "return state if not waiters else replace(_grant(_enqueue(state, new)))",
    ),
    "request grants at once": ("return _grant(_enqueue(state, new)) if new else state", "return _enqueue(state, new) if new else state"),
    "several requests keep their order": ("return _grant(_enqueue(state, new)) if", "return _grant(_enqueue(state, new[::-1])) if"),
    "release leaves the queue alone": (
        "    if state.holder(request_id) is None:\n        return state\n    return _grant",
        "    return _grant",
    ),
    "release grants": (
        "return _grant(_without(state, {request_id}))\n\n\ndef yield_",
        "return _without(state, {request_id})\n\n\ndef yield_",
    ),
    "yield only by who is there": (
        "    if holder is None or holder.fence != fence or not state.gives_way",
        "    if holder and holder.fence != fence or holder and not state.gives_way",
    ),
    "yield of an older grant": ("if holder is None or holder.fence != fence or", "if holder is None or"),
    "yield without others keeps": (" or not state.gives_way(holder, priority)", ""),
    "yield queues again": ("_enqueue(_without(state, {request_id}), waiters)", "_without(state, {request_id})"),
    "yield grants": (
        "return _grant(_enqueue(_without(state, {request_id}), waiters))",
        "return _enqueue(_without(state, {request_id}), waiters)",
    ),
    "yield queues before it grants": (
        "return _grant(_enqueue(_without(state, {request_id}), waiters))",
        "return _grant(_enqueue(_grant(_without(state, {request_id})), waiters))",
    ),
    "state: yield without others, unless it drains": (
        "return self.drains(holder) or any(self.grantable(other)",
        "return any(self.grantable(other)",
    ),
    "state: yield passes over requests too large": ("self.grantable(other) and other.priority", "other.priority"),
    "state: yield does not give way to lower priority": ("self.grantable(other) and other.priority >= bounded", "self.grantable(other)"),
    "state: yield gives way to equal priority": ("other.priority >= bounded for other", "other.priority > bounded for other"),
    "renew only who is there": (
        "if not any(holder.id == request_id and holder.fence == fence for",
        "if not any(holder.id == request_id for",
    ),
    "renew without change writes nothing": (
        "    if not any(holder.id == request_id and holder.fence == fence for holder in state.holders):\n        return state\n",
        "",
    ),
    "renew only its own beat": ("if holder.id == request_id else holder for", "if True else holder for"),
    "reap grants": ("return _grant(_without(state, request_ids))", "return _without(state, request_ids)"),
    "expire only who has not moved": ("(holder.fence, holder.beat) != (fence, beat)", "False"),
    "expire compares fences": ("(holder.fence, holder.beat) != (fence, beat)", "holder.beat != beat"),
    "expire compares beats": ("(holder.fence, holder.beat) != (fence, beat)", "holder.fence != fence"),
    "expire takes what the dead waits for": ("    if beat == 0:\n", "    if False:\n"),
    "expire leaves what one waits for that has shown life": ("    if beat == 0:\n", "    if True:\n"),
    "expire leaves what others wait for": (" if process(waiter.id) == process(request_id)}", "}"),
    "resize without change writes nothing": ("state if changed == state else changed", "changed"),
    "resize grants": ("return _grant(state if changed == state else changed)", "return state if changed == state else changed"),
    "first come, first served": ("other.priority >= waiters[0].priority]", "other.priority > waiters[0].priority]"),
    "priority goes first": ("if other.priority >= waiters[0].priority]", "]"),
    "removal from the queue": ("for waiter in state.queue if waiter.id not in request_ids)", "for waiter in state.queue)"),
    "removal of holders": ("for holder in state.holders if holder.id not in request_ids)", "for holder in state.holders)"),
    "removal of nobody writes nothing": (
        "    if len(holders) == len(state.holders) and len(queue) == len(state.queue):\n        return state\n",
        "",
    ),
    "no grant without enough slots": ("if head.slots > len(free):", "if not free:"),
    "a head that does not fit holds up the rest": (
        "next(filter(state.grantable, state.queue), None)",
        "next((w for w in state.queue if w.slots <= len(state.free)), None)",
    ),
    "a request too large is passed over": ("next(filter(state.grantable, state.queue), None)", "next(iter(state.queue), None)"),
    "all free slots are granted": ("queue=queue, transitions=fence)\n", "queue=queue, transitions=fence)\n        break\n"),
    "each grant has its own fence": ("fence = state.transitions + 1", "fence = state.transitions or 1"),
    "the fence is kept": ("queue=queue, transitions=fence)", "queue=queue)"),
    "the granted leave the queue": ("if waiter is not head)", ")"),
    "state: inactive has no capacity": ("return self.slots if self.active else 0", "return self.slots"),
    "state: those who drain count": ("count = self.capacity - self.held", "count = self.capacity"),
    "state: no room is left while the limit drains": ("        if count <= 0:\n            return ()\n", ""),
    "state: no more than the room left": ("if slot not in used)[:count]", "if slot not in used)"),
    "state: a slot in use is not free": ("for slot in range(self.slots) if slot not in used)", "for slot in range(self.slots))"),
    "state: too large a request": ("return waiter.slots <= self.slots", "return waiter.slots < self.slots"),
    "state: only a holder is contended": ("        if holder is None:\n            return False\n", ""),
    "state: contended while the limit drains": (
        "return self.drains(holder) or any(self.grantable(waiter)",
        "return any(self.grantable(waiter)",
    ),
    "state: not contended by requests too large": ("any(self.grantable(waiter) for waiter in self.queue)", "bool(self.queue)"),
    "state: drains only beyond the capacity": ("self.held > self.capacity and holder", "holder"),
    "state: drains only the slots beyond": ("self.held > self.capacity and holder.slots[-1] >= self.capacity", "self.held > self.capacity"),
}


def mutated(old: str, new: str) -> ModuleType:
    """The transitions with one guard changed, in them or in the state that they ask."""
    state_source = inspect.getsource(state_module)
    source = inspect.getsource(transitions)
    assert (state_source + source).count(old) == 1, f"the guard {old!r} is not there, or there twice"
    changed_state = ModuleType("mutated_state")
    sys.modules["mutated_state"] = changed_state  # dataclasses look their module up while it is made
    exec(compile(state_source.replace(old, new), "mutated_state", "exec"), changed_state.__dict__)  # noqa: S102  our own source
    module = ModuleType("mutated_transitions")
    changed = source.replace(old, new).replace("from nodelease.state import", "from mutated_state import")
    exec(compile(changed, "mutated_transitions", "exec"), module.__dict__)  # noqa: S102  our own source
    module.__dict__["LeaseState"] = changed_state.__dict__["LeaseState"]
    return module


def test_the_unchanged_transitions_pass() -> None:
    run_state_machine_as_test(machine(mutated("def request(", "def request("), storm=30), settings=QUICK)


@pytest.mark.parametrize("guard", MUTATIONS)
def test_without_the_guard_the_properties_fail(guard: str) -> None:
    module = mutated(*MUTATIONS[guard])
    with pytest.raises((AssertionError, AttributeError, ExceptionGroup)):
        run_state_machine_as_test(machine(module, storm=30), settings=QUICK)
