# ruff: noqa: S311  simulations want randomness that a seed repeats
"""Sessions against a store whose network fails."""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from nodelease import transitions
from nodelease.claim import Claim
from nodelease.clock import Moment, clock_id, now
from nodelease.codec import encode
from nodelease.constants import STOP_FRACTION, TAKE_UP_SECONDS
from nodelease.exceptions import AcquireTimeoutError, ClientClosedError, LimitNotFoundError
from nodelease.holding import Holding
from nodelease.state import LeaseState, Waiter
from tests.unit.lease.simulated import Party, Resource, SimulatedServer, work

SEEDS = range(12)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = now() + seconds
    while not condition():
        assert now() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.002)


@pytest.mark.parametrize("seed", SEEDS)
async def test_all_get_their_turn_and_nobody_too_many_whatever_the_network_does(seed: int) -> None:
    rng = random.Random(seed)
    faults = rng.choice([0.0, 0.05, 0.2])
    server, resource = SimulatedServer(LeaseState(slots=2, duration_seconds=60)), Resource(2)
    parties = [Party(server, f"p{number}", random.Random(rng.random()), faults) for number in range(6)]
    async with asyncio.timeout(60):
        rounds = await asyncio.gather(*(work(party, resource, random.Random(rng.random()), 12) for party in parties))
    assert rounds == [12] * len(parties)
    for party in parties:
        await party.session.close(5)
    assert not server.problems
    assert not resource.overused
    assert server.state.ids == set(), "nothing is left behind"


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_crash_at_any_point_leaves_the_slots_to_the_others(seed: int) -> None:
    rng = random.Random(seed)
    server, resource = SimulatedServer(LeaseState(slots=2, duration_seconds=60)), Resource(2)
    parties = [Party(server, f"p{number}", random.Random(rng.random()), 0.05) for number in range(6)]
    working = [asyncio.ensure_future(work(party, resource, random.Random(rng.random()), 12)) for party in parties]
    async with asyncio.timeout(60):
        for victim in (0, 1, 2):
            await asyncio.sleep(rng.random() * 0.02)
            working[victim].cancel()
            await asyncio.gather(working[victim], return_exceptions=True)
            await parties[victim].crash()
        assert await asyncio.gather(*working[3:]) == [12] * 3
    for party in parties[3:]:
        await party.session.close(5)
    assert not server.problems
    assert not resource.overused
    assert server.state.ids == set()


async def test_a_holder_that_is_cut_off_stops_before_others_take_over() -> None:
    server = SimulatedServer(LeaseState(slots=1, duration_seconds=1))
    cut, other = Party(server, "cut", random.Random(1)), Party(server, "other", random.Random(2))
    lost = await cut.acquire()
    waiting = asyncio.ensure_future(other.acquire())
    await until(lambda: bool(server.state.queue))
    cut.store.cut = True
    begun = now()
    await asyncio.wait_for(lost.wait_contended(), 5)  # it is contended at once, or notices the end of its time
    await until(lambda: not lost.valid)
    stopped = now()
    taken = await asyncio.wait_for(waiting, 5)
    assert 0.3 < stopped - begun < 0.75, "two thirds of the duration after the last renewal"
    assert taken.granted_at > stopped
    assert taken.granted_at - begun < 1.5
    writes = server.writes
    cut.store.cut = False
    await asyncio.wait_for(lost.release(), 5)  # nothing to give back: it is another's by now
    assert server.state.holder(taken.id) is not None
    assert server.writes <= writes + 1
    again = asyncio.ensure_future(cut.acquire())
    await until(lambda: bool(server.state.queue))
    await taken.release()
    assert (await again).fence == taken.fence + 1
    await cut.session.close(1)
    await other.session.close(1)


@pytest.mark.parametrize("asks", ["acquire", "pass on"])
async def test_a_grant_whose_answer_was_lost_counts_from_when_it_was_written(asks: str) -> None:
    server = SimulatedServer(LeaseState(slots=1, duration_seconds=3))
    cut, other = Party(server, "cut", random.Random(1)), Party(server, "other", random.Random(2))
    if asks == "acquire":
        holding = await other.acquire()
        cut.store.cut_after_write = True
        waiting = asyncio.ensure_future(cut.acquire())
        await until(lambda: cut.store.cut)
    else:
        held = await cut.acquire()
        taking = asyncio.ensure_future(other.acquire())
        await until(lambda: held.contended)
        cut.store.cut_after_write = True
        waiting = asyncio.ensure_future(held.pass_on())
        holding = await taking
    assert [waiter.pod for waiter in server.state.queue] == ["cut"]
    begun = now()
    await holding.release()
    assert [(holder.pod, holder.beat) for holder in server.state.holders] == [("cut", 0)], "granted, and it does not know for how long"
    await until(lambda: now() - begun > 0.2)
    cut.store.cut = False
    granted = await asyncio.wait_for(waiting, 5)
    assert granted.valid
    assert begun < granted.deadline - TAKE_UP_SECONDS * STOP_FRACTION < begun + 0.2
    await cut.session.close(1)
    await other.session.close(1)


@pytest.mark.parametrize(
    ("granted", "renewals"),
    [
        pytest.param(lambda: Moment(clock_id(), now() - 0.1), 0, id="just now"),
        pytest.param(lambda: Moment(clock_id(), now() - 1.1), 1, id="a third of its time ago"),
        pytest.param(lambda: Moment(clock_id(), now() + 1000), 0, id="in times to come, which is now"),
        pytest.param(lambda: Moment("another", now()), 1, id="by another machine"),
        pytest.param(lambda: None, 1, id="nobody knows when"),
    ],
)
async def test_a_grant_that_may_be_old_is_renewed_before_it_is_used(granted: Callable[[], Moment | None], renewals: int) -> None:
    server = SimulatedServer(LeaseState(slots=1, duration_seconds=3))
    party, other = Party(server, "p", random.Random(1)), Party(server, "other", random.Random(2))
    holding = await other.acquire()
    waiting = asyncio.ensure_future(party.acquire())
    await until(lambda: bool(server.state.queue))
    begun = now()
    released = transitions.release(server.state, holding.id)
    server.write(replace(released, holders=tuple(replace(holder, granted=granted()) for holder in released.holders)))
    taken = await asyncio.wait_for(waiting, 5)
    assert server.state.holders[0].beat == renewals
    time = STOP_FRACTION * (3 if renewals else TAKE_UP_SECONDS)
    assert begun - 0.2 < taken.deadline - time <= now(), "it counts from before the grant, or the renewal, was written"
    await party.session.close(1)
    await other.session.close(1)


async def test_a_holder_renews_and_waiters_write_nothing() -> None:
    server = SimulatedServer(LeaseState(slots=1, duration_seconds=1))
    holder, waiter = Party(server, "holder", random.Random(1)), Party(server, "waiter", random.Random(2))
    holding = await holder.acquire()
    waiting = asyncio.ensure_future(waiter.acquire())
    await until(lambda: bool(server.state.queue))
    await until(lambda: server.state.holders[0].beat >= 4)
    assert holding.valid
    assert not waiting.done()
    assert waiter.session.writer.counters.writes == 1
    await holding.release()
    await waiting
    await holder.session.close(1)
    await waiter.session.close(1)


async def test_a_holder_that_others_removed_is_told() -> None:
    server = SimulatedServer(LeaseState(slots=1))
    party = Party(server, "p", random.Random(1))
    holding = await party.acquire()
    noticed = asyncio.ensure_future(holding.wait_contended())
    await asyncio.sleep(0)
    server.reap({holding.id})
    await asyncio.wait_for(noticed, 5)
    assert not holding.valid
    writes = server.writes
    await holding.release()
    assert server.writes == writes
    assert (await holding.pass_on()).valid, "passing on what was lost is asking again"
    await party.session.close(1)


async def test_a_waiter_that_others_removed_asks_again() -> None:
    server = SimulatedServer(LeaseState(slots=1))
    one, two = Party(server, "one", random.Random(1)), Party(server, "two", random.Random(2))
    holding = await one.acquire()
    waiting = asyncio.ensure_future(two.acquire())
    await until(lambda: bool(server.state.queue))
    server.reap({server.state.queue[0].id})
    await until(lambda: bool(server.state.queue))
    await holding.release()
    assert (await waiting).valid
    await one.session.close(1)
    await two.session.close(1)


async def test_a_grant_to_a_caller_who_has_left_is_given_back() -> None:
    server = SimulatedServer(LeaseState(slots=1))
    party, other = Party(server, "p", random.Random(1)), Party(server, "other", random.Random(2))
    holding = await other.acquire()
    claim = Claim(0, 1, now())
    party.session.acquire(claim, None)
    await until(lambda: bool(server.state.queue))
    claim.future.cancel()
    await holding.release()
    await until(lambda: server.state.transitions == 2 and not server.state.holders)
    await party.session.close(1)
    await other.session.close(1)


async def test_who_held_a_limit_that_was_made_again_holds_it_no_more() -> None:
    server = SimulatedServer(LeaseState(slots=1))
    party, other = Party(server, "p", random.Random(1)), Party(server, "other", random.Random(2))
    holding = await party.acquire()
    waiting = asyncio.ensure_future(other.acquire())
    await asyncio.wait_for(holding.wait_contended(), 5)
    passing = asyncio.ensure_future(holding.pass_on())
    taken = await waiting
    made_again = server.state.transitions + 1000
    server.write(transitions.begin(LeaseState(slots=1), made_again))
    again = await asyncio.wait_for(passing, 5)
    assert again.fence == made_again + 1
    await until(lambda: not taken.valid)
    await party.session.close(1)
    await other.session.close(1)


async def test_a_missing_limit_is_waited_for_and_named(caplog: pytest.LogCaptureFixture) -> None:
    server = SimulatedServer(LeaseState(slots=1))
    snapshot, server.newest = server.newest, None
    party = Party(server, "p", random.Random(1))
    waiting = asyncio.ensure_future(party.acquire())
    await until(lambda: "does not exist" in (party.session.waiting_reason() or ""))
    with pytest.raises(LimitNotFoundError, match=r"no slot of limit 'gpu' within 0.01 s: limit 'gpu' does not exist"):
        await party.acquire(timeout=0.01)
    server.newest = snapshot
    for event in server.changed:
        event.set()
    holding = await asyncio.wait_for(waiting, 5)
    assert party.session.waiting_reason() is None
    assert sum("does not exist" in record.message for record in caplog.records) == 1, "it is said once"
    server.newest = None
    for event in server.changed:
        event.set()
    await until(lambda: not holding.valid)
    await party.session.close(1)


async def test_a_store_that_does_not_answer_is_an_obstacle_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    party = Party(SimulatedServer(LeaseState(slots=1)), "p", random.Random(1))
    party.store.cut = True
    waiting = asyncio.ensure_future(party.acquire())
    await until(lambda: party.session.waiting_reason() == "the store has not answered yet about limit 'gpu'")
    assert party.session.obstacle() is None, "an answer takes a moment"
    monkeypatch.setattr("nodelease.session.ANSWER_SECONDS", 0.01)
    await until(lambda: party.session.obstacle() == "the store has not answered yet about limit 'gpu'")
    party.store.cut = False
    holding = await waiting
    await holding.release()
    await party.session.close(1)


async def test_the_reason_for_waiting() -> None:
    server = SimulatedServer(LeaseState(slots=1, active=False))
    party = Party(server, "p", random.Random(1))
    waiting = asyncio.ensure_future(party.acquire(slots=2))
    await until(lambda: party.session.waiting_reason() == "limit 'gpu' is not active")
    assert party.session.obstacle() == "limit 'gpu' is not active"
    server.write(transitions.resize(server.state, active=True))
    await until(lambda: party.session.waiting_reason() == "limit 'gpu' has 1 slots and 2 are asked for")
    other = await party.acquire()
    server.write(transitions.resize(server.state, slots=2))
    await until(lambda: party.session.waiting_reason() == "limit 'gpu' is in use; place 1 of 1 in its queue")
    assert party.session.obstacle() is None, "it waits for its turn, and for nothing else"
    with pytest.raises(AcquireTimeoutError, match=r"within 0.02 s: limit 'gpu' is in use; place 1"):
        await party.acquire(timeout=0.02)
    await until(lambda: len(server.state.queue) == 1)
    await other.release()
    assert (await waiting).slots == (0, 1)
    blocked = asyncio.ensure_future(party.acquire())
    await until(lambda: bool(server.state.queue))
    await party.session.close(1)
    with pytest.raises(ClientClosedError):
        await blocked
    assert server.state.ids == set()


async def test_a_shorter_duration_gives_those_who_hold_time_to_renew() -> None:
    server = SimulatedServer(LeaseState(slots=1, duration_seconds=60))
    holder, waiter = Party(server, "holder", random.Random(1)), Party(server, "waiter", random.Random(2))
    holding = await holder.acquire()
    waiting = asyncio.ensure_future(waiter.acquire())
    await until(lambda: bool(server.state.queue))
    begun = now()
    await until(lambda: now() - begun > 1.2)
    holder.store.cut = True  # it hears of the change later than the waiter does
    server.write(transitions.resize(server.state, duration_seconds=1))
    begun = now()
    await until(lambda: now() - begun > 0.3)
    holder.store.cut = False
    await until(lambda: server.state.holders[0].beat >= 4)
    assert server.state.holders[0].fence == holding.fence
    assert holding.valid
    assert not waiting.done()
    await holding.release()
    await waiting
    await holder.session.close(1)
    await waiter.session.close(1)


# Several requests of one process.


def entries(server: SimulatedServer) -> list[tuple[str, int]]:
    """The pods in the queue's annotation, and how many requests each entry stands for."""
    queue = json.loads(encode(server.state)["metadata"]["annotations"]["imagejob.dev/queue"])
    return [(entry["pod"], entry.get("count", 1)) for entry in queue]


async def ask(party: Party, times: int) -> list[asyncio.Future[Holding]]:
    waiting = [asyncio.ensure_future(party.acquire()) for _ in range(times)]
    await asyncio.sleep(0)
    return waiting


async def test_many_requests_of_a_process_are_one_entry_and_its_slots_come_free() -> None:
    server = SimulatedServer(LeaseState(slots=1))
    many, other = Party(server, "many", random.Random(1)), Party(server, "other", random.Random(2))
    holding = await many.acquire()
    waiting = await ask(many, 1024)
    await until(lambda: entries(server) == [("many", 1024)])
    assert server.writes == 2, "one for the slot, one for all that wait"
    others = await ask(other, 1)
    await until(lambda: len(server.state.queue) == 1025)
    late = await ask(many, 2)
    for _ in range(3):
        await holding.release()
        holding = await waiting.pop(0)
    await until(lambda: entries(server) == [("many", 1021), ("other", 1)])
    assert server.writes == 6, "one for each hand-over; those who came late have nothing to write yet"
    for claim in waiting[1:]:
        claim.cancel()
    await asyncio.gather(*waiting[1:], return_exceptions=True)
    await until(lambda: entries(server) == [("many", 1), ("other", 1)])
    await holding.release()
    holding = await waiting[0]
    await until(lambda: entries(server) == [("other", 1), ("many", 2)])
    await holding.release()
    await (await others[0]).release()
    await (await late[0]).release()
    assert (await late[1]).valid
    await many.session.close(1)
    assert server.state.ids == set()
    await other.session.close(1)


async def test_who_comes_later_joins_its_process_only_behind_nobody() -> None:
    server = SimulatedServer(LeaseState(slots=1))
    one, two = Party(server, "one", random.Random(1)), Party(server, "two", random.Random(2))
    holding = await one.acquire()
    first = [*await ask(one, 1)]
    await until(lambda: entries(server) == [("one", 1)])
    first += await ask(one, 2)
    await until(lambda: entries(server) == [("one", 3)])
    second = await ask(two, 1)
    await until(lambda: entries(server) == [("one", 3), ("two", 1)])
    passing = asyncio.ensure_future(holding.pass_on())
    (await first[0]).ensure_valid()
    await until(lambda: entries(server) == [("one", 2), ("two", 1)])
    await (await first[0]).release()
    await (await first[1]).release()
    await until(lambda: entries(server) == [("two", 1), ("one", 1)])
    await (await first[2]).release()
    await (await second[0]).release()
    assert (await passing).valid
    assert not server.problems
    await one.session.close(1)
    await two.session.close(1)


async def test_what_does_not_fit_waits_says_so_and_queues_when_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodelease.codec.MOST_CHARACTERS", 1200)
    server = SimulatedServer(LeaseState(slots=1, duration_seconds=2))
    parties = [Party(server, f"namespace/{'pod' * 20}-{number}", random.Random(number)) for number in range(8)]
    holding = await parties[0].acquire()
    waiting = [claim for party in parties[1:] for claim in await ask(party, 3)]
    await until(lambda: all(party.session.waiting_reason() != "limit 'gpu' is in use" for party in parties[1:]))
    assert 0 < len(entries(server)) < 7, "not all fit"
    late = next(party.session for party in parties if party.session.obstacle())
    assert (
        late.obstacle()
        == late.waiting_reason()
        == (
            f"the queue of limit 'gpu' is full: its Lease has room for the {len(server.state.queue)} requests that wait and no more; "
            "this one queues when others have had their turn"
        )
    )
    assert late.writer.counters.writes == 0, "waiting for room costs no writes"
    await until(lambda: server.state.holders[0].beat > 2)
    assert holding.valid, "renewals go on"
    await holding.release()
    while waiting:
        await asyncio.wait(waiting, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        done = [claim for claim in waiting if claim.done()]
        assert len(done) == 1
        waiting.remove(done[0])
        await done[0].result().release()
    assert not server.problems
    for party in parties:
        await party.session.close(1)


@pytest.mark.parametrize("kind", ["release", "pass on", "renewal", "withdrawal"])
async def test_a_request_that_is_refused_holds_up_nothing_that_others_wait_for(kind: str) -> None:
    server = SimulatedServer(LeaseState(slots=1, duration_seconds=2))
    party, other = Party(server, "p", random.Random(1)), Party(server, "other", random.Random(2))
    holding = await party.acquire()
    own = await ask(party, 1)
    await until(lambda: len(server.state.queue) == 1)
    others = await ask(other, 1)
    await until(lambda: len(server.state.queue) == 2)
    server.refuses = lambda before, after: len(after.queue) > len(before.queue)  # as an admission policy does
    refused = asyncio.ensure_future(party.acquire(priority=1))
    await until(lambda: party.session.obstacle() == "refused")
    begun = now()
    if kind == "release":
        await asyncio.wait_for(holding.release(), 0.5)
        await own[0]
    elif kind == "renewal":
        await until(lambda: server.state.holders[0].beat > 1, 1.5)
    elif kind == "withdrawal":
        own[0].cancel()
        await until(lambda: entries(server) == [("other", 1)], 0.5)
    else:
        passing = asyncio.ensure_future(holding.pass_on())
        assert (await asyncio.wait_for(own[0], 0.5)).valid
        passing.cancel()
    assert now() - begun < 1.5
    server.refuses = lambda _before, _after: False
    refused.cancel()
    others[0].cancel()
    await party.session.close(1)
    await other.session.close(1)
    assert server.state.ids == set()


# Signs of life.


async def test_the_dead_cost_two_seconds_whatever_they_waited_for_and_the_living_keep_theirs() -> None:
    server = SimulatedServer(LeaseState(slots=1, duration_seconds=60))
    holder, heir = Party(server, "holder", random.Random(1)), Party(server, "heir", random.Random(2))
    holding = await holder.acquire()
    assert server.state.holders[0].beat == 1, "who asks and is granted shows in the same write that it lives"
    server.write(transitions.request(server.state, *(Waiter(f"dead-1.{number}", "dead") for number in range(1, 1025))))
    waiting = await ask(heir, 1)
    await until(lambda: len(server.state.queue) == 1025)
    begun = now()
    await holding.release()
    taken = await asyncio.wait_for(waiting[0], 10)
    assert TAKE_UP_SECONDS <= now() - begun < TAKE_UP_SECONDS + 1.5
    late = await ask(holder, 1)
    writes, begun = server.writes, now()
    await until(lambda: now() - begun > TAKE_UP_SECONDS + 0.5)
    assert taken.valid
    assert server.writes == writes + 2, "its own request, and the other's one renewal"
    assert server.state.holders[0].beat == 1
    await taken.release()
    await (await late[0]).release()
    await holder.session.close(1)
    await heir.session.close(1)


async def test_one_that_does_not_take_up_its_grant_stops_before_others_take_over() -> None:
    server = SimulatedServer(LeaseState(slots=1, duration_seconds=60))
    holder, cut, heir = (Party(server, name, random.Random(1)) for name in ("holder", "cut", "heir"))
    holding = await holder.acquire()
    waiting = await ask(cut, 2)
    await until(lambda: len(server.state.queue) == 2)
    heirs = await ask(heir, 1)
    await until(lambda: len(server.state.queue) == 3)
    await holding.release()
    taken = await waiting[0]
    cut.store.cut = True
    begun = now()
    await until(lambda: not taken.valid)
    assert now() - begun < TAKE_UP_SECONDS * STOP_FRACTION + 0.2
    inherited = await asyncio.wait_for(heirs[0], 5)
    assert inherited.granted_at - begun > TAKE_UP_SECONDS - 0.1
    assert server.state.queue == ()
    cut.store.cut = False
    await until(lambda: entries(server) == [("cut", 1)])
    await inherited.release()
    assert (await waiting[1]).valid, "it lives, and has asked again"
    for party in (holder, cut, heir):
        party.store.cut = False
        await party.session.close(1)


# A Lease that cannot be read for a moment.


@pytest.mark.parametrize("released", [True, False])
async def test_a_lease_that_is_malformed_for_a_moment_idles_no_slot(released: bool) -> None:  # noqa: FBT001  a parameter
    server = SimulatedServer(LeaseState(slots=1, duration_seconds=3))
    party, other = Party(server, "p", random.Random(1)), Party(server, "other", random.Random(2))
    holding = await party.acquire()
    waiting = await ask(other, 1)
    await until(lambda: bool(server.state.queue))
    server.spoil()
    await until(lambda: "malformed" in (other.session.obstacle() or ""))
    assert holding.valid, "nobody is granted anything from it, and its time has not run out"
    releasing = asyncio.ensure_future(holding.release()) if released else None
    server.mend(replace(server.state, queue=()))
    mended = now()
    if releasing is None:
        await until(lambda: [waiter.pod for waiter in server.state.queue] == ["other"])
        await until(lambda: server.state.holders[0].beat > 1)
        assert holding.valid
        releasing = asyncio.ensure_future(holding.release())
    await asyncio.wait_for(waiting[0], 2)
    assert now() - mended < 2, "well below a lease duration"
    await releasing
    await party.session.close(1)
    await other.session.close(1)


async def test_what_stands_in_the_lease_for_nobody_is_withdrawn() -> None:
    server = SimulatedServer(LeaseState(slots=1))
    party = Party(server, "p", random.Random(1))
    holding = await party.acquire()
    server.write(transitions.request(server.state, Waiter("p-99.1", "p"), Waiter("q-1.1", "q")))
    await until(lambda: [waiter.id for waiter in server.state.queue] == ["q-1.1"])
    assert holding.valid
    await party.session.close(1)
