"""Every state that a Lease and those who take part in it can come to, within bounds.

The transitions, the codec, the row of requests, the age at which a grant is used, the life of a holding, expiry and the operator's plan are
the real code. What the client's writer and session do around them is said again here, one step at a time, so that everything that can come
in between does: a write is refused, or done and its answer lost, or done and its answer late, or lost and done later; the watch tells each
of it at any time later; anybody stands still for any time; a process dies; the Lease is deleted and made again.
"""

from typing import Any

from imagejob_operator.limits.facts import Goal
from imagejob_operator.limits.records import read_record
from nodelease.kubernetes.objects import new_lease
from tests.tools.lease_judge import _by_itself, _step
from tests.unit.lease.checker.copies import Code
from tests.unit.lease.checker.parts import GONE, BrokenError, Client, Flight, Hold, Scope, World

PAIR = ("gpu", "node")


_AHEAD = 4
"""The operator's clock is ahead by so much."""


class _Claim:
    queued = False


class _Nobody:
    def any_on(self, _node: str) -> bool:
        return True


class Model:
    """The steps from one world to the next."""

    def __init__(self, code: Code, scope: Scope) -> None:
        self.code = code
        self.scope = scope
        self.states: list[Any] = []
        self._numbers: dict[Any, int] = {}
        self._memory: dict[Any, Any] = {}
        self._claim = _Claim()
        code.wall = (lambda: 0) if scope.operator == "there" else (lambda: 1000 + 10 * code.time)

    def first(self) -> World:
        """Where it begins."""
        scope = self.scope
        state = self.number(
            self.code.transitions.begin(self.code.state.LeaseState(slots=scope.slots, duration_seconds=scope.duration), 100)
        )
        clients = tuple(Client(rounds=rounds, version=1, state=state) for rounds in scope.rounds)
        world = World(
            clients,
            state,
            1,
            newest_fence=100,
            passes=scope.passes,
            faults=scope.faults,
            abandoned=scope.abandoned,
            crashes=scope.crashes,
            made_again=scope.made_again,
        )
        for who in range(len(clients)) if scope.begun else ():
            for name in (f"{who} asks", f"{who}: join", *(f"{other} hears" for other in range(len(clients)) if other != who)):
                world = dict(self.steps(world)).get(name, world)
        return world

    # What the real code says, remembered.

    def number(self, state: Any) -> int:  # noqa: ANN401  a copy's LeaseState
        number = self._numbers.get(state)
        if number is None:
            number = self._numbers[state] = len(self.states)
            self.states.append(state)
        return number

    def remembered(self, key: tuple[Any, ...], make: Any) -> Any:  # noqa: ANN401  anything
        try:
            return self._memory[key]
        except KeyError:
            made = self._memory[key] = make()
            return made

    def _row(self, who: int, client_row: tuple[bool, tuple[int, ...], int, int]) -> Any:  # noqa: ANN401  a copy's Row
        row = self.code.row.Row(f"c{who}-", f"pod-{who}", self.scope.priorities[who], 1)
        wants, numbers, row._asked, row._next = client_row
        row._claims, row._numbers = [self._claim] if wants else [], list(numbers)
        return row

    @staticmethod
    def _rest(row: Any) -> tuple[bool, tuple[int, ...], int, int]:  # noqa: ANN401  a copy's Row
        return bool(row._claims), tuple(row._numbers), row._asked, row._next

    def applied(self, who: int, op: tuple[Any, ...], row: tuple[Any, ...], state: int) -> tuple[int, tuple[Any, ...]]:
        """What an operation makes of a state, and of the client's row."""
        return self.remembered(("apply", who, op, row, state), lambda: self._apply(who, op, row, state))  # type: ignore[no-any-return]

    def _apply(self, who: int, op: tuple[Any, ...], row: Any, state: int) -> tuple[int, tuple[Any, ...]]:  # noqa: ANN401  as stored
        before, transitions = self.states[state], self.code.transitions
        kind = op[0]
        if kind in {"join", "pass"} and self.scope.plain:
            waiter = self.code.state.Waiter(f"c{who}-1", f"pod-{who}", self.scope.priorities[who])
            if kind == "join":
                after = transitions.request(before, waiter)
            else:
                after = transitions.yield_(before, op[1], op[2], waiter.priority, [waiter])
                row = (after is not before or row[0], *row[1:])
        elif kind in {"join", "pass"}:
            real = self._row(who, row)
            after = real.join(before) if kind == "join" else real.give_way(before, self._claim, op[1], op[2])
            row = self._rest(real)
        elif kind == "release":
            after = transitions.release(before, op[1])
        elif kind == "withdraw":
            after = transitions.withdraw(before, op[1])
        elif kind == "expire":
            after = transitions.expire(before, *op[1:])
        else:
            after = transitions.renew(before, op[1], op[2])
        after = transitions.counted(before, after)
        return (state if after is before else self.number(after)), row

    def written(self, op: tuple[Any, ...], before: int, after: int, started: int) -> tuple[int, int]:
        """What is written for a change, as its writer knows it and as others see it."""
        key = ("write", op, before, after, started)
        return self.remembered(key, lambda: self._written(op, before, after, started))  # type: ignore[no-any-return]

    def _written(self, op: tuple[Any, ...], before: int, after: int, started: int) -> tuple[int, int]:
        by_operator = op[0] == "reap"
        self.code.clock_name = "operator" if by_operator else "node"
        own = self.code.codec.stamp(self.states[before], self.states[after], started + (_AHEAD if by_operator else 0))
        self.code.clock_name = "node"
        try:
            shown = self.code.codec.decode(self.code.codec.encode(own))
        except Exception as error:
            raise BrokenError(f"nobody can read it: {error}") from error
        problems = [*_by_itself(shown), *_step(self.states[before], shown, None)]
        left = {(holder.id, holder.fence) for holder in shown.holders}
        for holder in self.states[before].holders:
            ways = {("release", holder.id), ("withdraw", holder.id), ("pass", holder.id, holder.fence)}
            ways.add(("expire", holder.id, holder.fence, holder.beat))
            if (holder.id, holder.fence) not in left and op not in ways and holder.id not in (op[1] if by_operator else ()):
                problems.append(f"{op} ended grant {holder.fence} of {holder.id}")
        lost = self.states[before].ids - shown.ids - set(op[1] if by_operator else op[1:2])
        if lost:
            problems.append(f"{op} took the places of {sorted(lost)}")
        if problems:
            raise BrokenError(problems[0])
        return self.number(own), self.number(shown)

    def counted_from(self, state: int, request: str, time: int) -> float | None:
        """Since when a grant may be counted on."""
        self.code.time = time
        shown = self.states[state]
        key = ("since", state, request, time)
        return self.remembered(key, lambda: self.code.holding.counted_from(shown.holder(request), shown.duration_seconds))  # type: ignore[no-any-return]

    def times(self, hold: Hold) -> tuple[float, float, float]:
        """When a holding is to be renewed, when it ends unless it is, and when others may have its slot."""

        def ask() -> tuple[float, float, float]:
            holder = self.code.state.Holder(hold.id, "", hold.fence, hold.beat, (0,))
            duration = self.scope.duration
            real = self.code.holding.Holding(
                None, "gpu", holder, priority=0, waited=False, asked_at=0, since=hold.renewed_at, duration=duration
            )
            return real.renew_at, real.deadline, hold.renewed_at + (real.deadline - hold.renewed_at) * 3 / 2

        return self.remembered(("times", hold), ask)  # type: ignore[no-any-return]

    def dead(self, client: Client, time: int) -> tuple[str, int, int] | None:
        """A holder that the client would expire."""

        def ask() -> tuple[str, int, int] | None:
            observer = self.code.expiry.BeatObserver()
            observer._since = dict(client.seen)
            due = observer.due(self.states[client.state], time, 0)
            return (due[0].id, due[0].fence, due[0].beat) if due else None

        return self.remembered(("dead", client.state, client.seen, time), ask)  # type: ignore[no-any-return]

    # What the client does with what it learns, as `session` has it.

    def learn(self, who: int, client: Client, version: int, state: int, time: int) -> Client:
        """A newer state, or that there is none."""
        key = ("learn", who, client, version, state, time)
        return self.remembered(key, lambda: self._learn(who, client, version, state, time))  # type: ignore[no-any-return]

    def _learn(self, who: int, client: Client, version: int, state: int, time: int) -> Client:
        if state == GONE:
            client = client._replace(version=version, state=GONE, joining=client.joining)
            if client.hold is not None:
                client = self.lost(client, time)
            return client
        if client.state != GONE and version < client.version:
            return client
        client = client._replace(version=version, state=state)
        return self.review(who, client, time)

    def lost(self, client: Client, time: int) -> Client:
        hold = client.hold
        if hold is None:
            return client
        _, deadline, end = self.times(hold)
        until = 0 if client.passing else int(min(end, max(time, 0) + end - deadline))
        return client._replace(hold=None, passing=False, works_until=max(client.works_until, until))

    def review(self, who: int, client: Client, time: int) -> Client:
        state = self.states[client.state]
        observer = self.code.expiry.BeatObserver()
        observer._since = dict(client.seen)
        observer.observe(state, time)
        client = client._replace(seen=tuple(observer._since.items()))
        if client.row[0] and not (client.passing and self.scope.plain):
            row, granted, waits = self.remembered(("row", who, client.row, client.state), lambda: self._look(who, client.row, client.state))
            client = client._replace(row=row)
            for request in granted:
                counted = self.counted_from(client.state, request, time)
                holder = state.holder(request)
                if counted is None:
                    client = client._replace(hold=None, passing=False, confirming=(request, holder.fence))
                else:
                    client = client._replace(hold=Hold(request, holder.fence, holder.beat, int(counted)), passing=False)
            if waits and not granted:
                client = client._replace(joining=True)
        hold = client.hold
        if hold is not None and not client.passing:
            holder = state.holder(hold.id)
            if holder is None or holder.fence != hold.fence:
                client = self.lost(client, time)
        wanted = {request for _, request in client.leave} | self.ids(who, client)
        strays = [request for request in state.ids if request.startswith(f"c{who}-") and request not in wanted]
        return client._replace(leave=(*client.leave, *(("withdraw", request) for request in sorted(strays))))

    def _look(self, who: int, row: tuple[bool, tuple[int, ...], int, int], state: int) -> tuple[Any, ...]:
        if self.scope.plain:
            held = self.states[state].holder(f"c{who}-1") is not None
            return (not held, *row[1:]), [f"c{who}-1"] if held else [], not held and self.states[state].waiter(f"c{who}-1") is None
        real = self._row(who, row)
        granted = [holder.id for _, holder in real.granted(self.states[state])]
        return self._rest(real), granted, bool(real) and real.waits(self.states[state])

    def ids(self, who: int, client: Client) -> set[str]:
        ids = set(self._row(who, client.row).ids())
        if client.confirming is not None:
            ids.add(client.confirming[0])
        if client.hold is not None:
            ids.add(client.hold.id)
        return ids

    def done(self, client: Client, op: tuple[Any, ...], state: int, started: int, time: int) -> Client:
        """An operation is written, or needed no write."""
        kind, shown = op[0], self.states[state].holder(op[1]) if len(op) > 2 else None
        stands = shown is not None and shown.fence == op[2]
        if kind == "join":
            client = client._replace(joining=False)
        elif kind == "expire":
            client = client._replace(expiring=None)
        elif kind in {"release", "withdraw"}:
            client = client._replace(leave=tuple(entry for entry in client.leave if entry != op[:2]))
        elif kind == "confirm" and client.confirming is not None:
            client = client._replace(confirming=None)
            if not stands:
                return self.asks(client)
            client = client._replace(hold=Hold(op[1], op[2], shown.beat, started), row=(False, *client.row[1:]))
        elif client.hold is not None and kind == "pass" and client.passing:
            client = self.passed(client, client.hold, time, stands=stands)
        elif client.hold is not None and kind == "renew" and client.hold.id == op[1] and stands:
            renewed = max(client.hold.renewed_at, started)
            client = client._replace(hold=client.hold._replace(renewed_at=renewed, beat=shown.beat))
        return client

    def passed(self, client: Client, hold: Hold, time: int, *, stands: bool) -> Client:
        """A yield is written, or needed no write: then it keeps its grant."""
        if not stands:
            return client._replace(hold=None, passing=False)
        if time < self.times(hold)[1]:
            return client._replace(passing=False)
        return client._replace(hold=None, passing=False, confirming=(hold.id, hold.fence), row=(True, *client.row[1:]))

    def asks(self, client: Client) -> Client:
        if self.scope.plain:
            return client._replace(row=(True, (1,), 1, 2), joining=True)
        _, numbers, asked, following = client.row
        return client._replace(row=(True, (*numbers, following), asked, following + 1), joining=True)

    # Steps.

    def steps(self, world: World) -> list[tuple[str, World]]:
        """All that can come next."""
        found: list[tuple[str, World]] = []
        for who, client in enumerate(world.clients):
            if client.alive:
                self.acts(world, who, client, found)
                self.hears(world, who, client, found)
                if world.crashes:
                    dead = Client(alive=False, late=client.late)
                    found.append((f"{who} dies", self.with_client(world._replace(crashes=world.crashes - 1), who, dead)))
            if client.late is not None:
                found.append((f"a late write of {who} arrives", self.arrives(world, who, client)))
        self.operates(world, found)
        if world.time < self.scope.time:
            found.append(("time", world._replace(time=world.time + 1)))
        return found

    def with_client(self, world: World, who: int, client: Client) -> World:
        if not client.rounds and self.idle(client) and client.alive and not (client.late or client.answer or self.there(world, who)):
            client = Client(works_until=client.works_until)  # it has had all that it wanted, and nothing of it is left
        clients = (*world.clients[:who], client, *world.clients[who + 1 :])
        known = min((other.version for other in clients if other.version != GONE), default=world.version)
        log = tuple(entry for entry in world.log if entry[0] > known)
        return world._replace(clients=clients, log=log)

    def wants(self, client: Client, time: int) -> tuple[Any, ...] | None:
        """What it would write next."""
        if client.confirming is not None:
            return ("confirm", *client.confirming)
        if client.hold is not None and client.passing:
            return ("pass", client.hold.id, client.hold.fence)
        if client.leave:
            return client.leave[0]
        if client.hold is not None and time >= self.times(client.hold)[0]:
            return ("renew", client.hold.id, client.hold.fence)
        if client.expiring is not None:
            return ("expire", *client.expiring)
        return ("join",) if client.joining else None

    def there(self, world: World, who: int) -> bool:
        """Whether the Lease has an entry of a client."""
        key = ("there", who, world.state)
        return world.state != GONE and self.remembered(key, lambda: any(i[1] == str(who) for i in self.states[world.state].ids))  # type: ignore[no-any-return]

    @staticmethod
    def idle(client: Client) -> bool:
        return not (client.hold or client.confirming or client.row[0] or client.leave or client.expiring)

    def acts(self, world: World, who: int, client: Client, found: list[tuple[str, World]]) -> None:
        time = world.time
        if client.answer is not None:
            flight = client.answer
            told = self.done(client._replace(answer=None), flight.op, flight.state, flight.started, time)
            newest = (flight.version, flight.state) if flight.version >= told.version else (told.version, told.state)
            found.append((f"{who} is answered", self.with_client(world, who, self.learn(who, told, *newest, time))))
            return
        op = self.wants(client, time)
        if op is not None and client.state != GONE:
            self.writes(world, who, client, op, found)
        if client.row[0] and client.expiring is None and client.state != GONE and (dead := self.dead(client, time)) is not None:
            found.append((f"{who} takes {dead} for dead", self.with_client(world, who, client._replace(expiring=dead))))
        hold = client.hold
        if hold is not None and not client.passing and self.scope.releases:
            gives_up = client._replace(hold=None, leave=(*client.leave, ("release", hold.id)))
            found.append((f"{who} releases", self.with_client(world, who, gives_up)))
            if world.passes and client.state != GONE and self.states[client.state].contended(hold.id):
                passes = client._replace(passing=True)
                found.append((f"{who} passes on", self.with_client(world._replace(passes=world.passes - 1), who, passes)))
        if client.rounds and self.idle(client):
            found.append((f"{who} asks", self.with_client(world, who, self.asks(client._replace(rounds=client.rounds - 1)))))
        if client.row[0] and world.abandoned and client.confirming is None and not client.passing:
            real = self._row(who, client.row)
            surplus = real.remove(self._claim)
            leave = (*client.leave, ("withdraw", surplus)) if surplus is not None else client.leave
            gives_up = client._replace(row=self._rest(real), leave=leave, joining=False)
            found.append(
                (f"{who} does not want it any more", self.with_client(world._replace(abandoned=world.abandoned - 1), who, gives_up))
            )

    def writes(self, world: World, who: int, client: Client, op: tuple[Any, ...], found: list[tuple[str, World]]) -> None:
        """The writer's attempt, and what may become of it."""
        time, name = world.time, f"{who}: {' '.join(map(str, op))}"
        after, row = self.applied(who, op, client.row, client.state)
        tried = client._replace(row=row)
        if after == client.state:
            done = self.done(tried, op, after, time, time)
            found.append((f"{name}, nothing to write", self.with_client(world, who, self.review(who, done, time))))
            return
        if client.version != world.version:  # refused: it reads what there is
            found.append((f"{name}, refused", self.with_client(world, who, self.learn(who, tried, world.version, world.state, time))))
            if world.faults:
                self.is_late(world, who, tried, op, after, found)
            return
        own, shown = self.written(op, client.state, after, time)
        wrote = self.write(world, shown)
        told = self.done(tried, op, own, time, time)
        found.append((name, self.with_client(wrote, who, self.learn(who, told, wrote.version, own, time))))
        if world.faults:
            fewer = wrote._replace(faults=world.faults - 1)
            found.append((f"{name}, and the answer is lost", self.with_client(fewer, who, tried)))
            flight = Flight(op, wrote.version, own, shown, time)
            found.append((f"{name}, and the answer is late", self.with_client(fewer, who, tried._replace(answer=flight))))
            self.is_late(world, who, tried, op, after, found)

    def is_late(self, world: World, who: int, tried: Client, op: tuple[Any, ...], after: int, found: list[tuple[str, World]]) -> None:
        if tried.late is None and tried.version == world.version:
            own, shown = self.written(op, tried.state, after, world.time)
            flight = Flight(op, tried.version, own, shown, world.time)
            late = tried._replace(late=flight)
            found.append((f"{who}: {op} is late", self.with_client(world._replace(faults=world.faults - 1), who, late)))

    def arrives(self, world: World, who: int, client: Client) -> World:
        flight = client.late
        assert flight is not None
        if flight.version == world.version and world.state != GONE:
            world = self.write(world, flight.shown)
        return self.with_client(world, who, client._replace(late=None))

    def write(self, world: World, shown: int) -> World:
        """A write is done."""
        before = {(holder.id, holder.fence) for holder in self.states[world.state].holders} if world.state != GONE else set()
        fences = [holder.fence for holder in self.states[shown].holders if (holder.id, holder.fence) not in before]
        if any(fence <= world.newest_fence for fence in fences):
            raise BrokenError(f"fences {fences} after {world.newest_fence}")
        version = world.version + 1
        return world._replace(
            state=shown, version=version, log=(*world.log, (version, shown)), newest_fence=max([world.newest_fence, *fences])
        )

    def hears(self, world: World, who: int, client: Client, found: list[tuple[str, World]]) -> None:
        """The watch brings the next state."""
        entry = next((entry for entry in world.log if entry[0] > client.version), None) if client.version != GONE else None
        if entry is not None:
            found.append((f"{who} hears", self.with_client(world, who, self.learn(who, client, *entry, world.time))))

    def operates(self, world: World, found: list[tuple[str, World]]) -> None:
        """What the operator does, and what is done to the Lease."""
        if world.state != GONE:
            state = self.states[world.state]
            if self.scope.reaps and not all(client.alive for client in world.clients):
                gone = frozenset(request for request in state.ids if not world.clients[int(request[1])].alive)
                after = self.number(self.code.transitions.reap(state, gone))
                if after != world.state:
                    found.append(("the operator reaps", self.write(world, self.written(("reap", gone), world.state, after, world.time)[1])))
            if world.made_again:
                version = world.version + 1
                deleted = world._replace(
                    state=GONE, version=version, log=(*world.log, (version, GONE)), gone_at=world.time, gone_state=world.state
                )
                found.append(("the Lease is deleted", deleted._replace(made_again=world.made_again - 1)))
        elif (made := self.made(world)) is not None:
            found.append(("the operator makes it again", self.write(world, made)._replace(gone_at=None, gone_state=GONE)))

    def made(self, world: World) -> int | None:
        key = ("made", world.gone_at, world.gone_state, world.time)
        return self.remembered(key, lambda: self._made(world))  # type: ignore[no-any-return]

    def _made(self, world: World) -> int | None:
        assert world.gone_at is not None
        code, goal = self.code, Goal(self.scope.slots, active=True, duration_seconds=self.scope.duration)
        code.time = world.gone_at
        vacancies = code.vacancies.Vacancies(_Nobody(), lambda: code.time)
        if self.scope.operator == "there":
            lease = new_lease(*PAIR, node_uid="u", namespace="n", state=self.states[world.gone_state])
            lease["metadata"] |= {"uid": "l", "resourceVersion": "1"}
            vacancies.note(read_record(lease, PAIR, 0.0), goal)
        else:
            vacancies.begin()
        code.time = world.time
        node = type("Node", (), {"uid": "u"})()
        beginning = vacancies.beginning(PAIR, goal)
        action = code.plan.plan(PAIR, goal, node, None, (), namespace="n", beginning=beginning, now=world.time)
        return self.number(code.codec.decode(action.lease)) if isinstance(action, code.plan.Create) else None

    # What must hold.

    def check(self, world: World) -> None:
        """Raises `BrokenError` if something is as it must never be."""
        users = 0
        for who, client in enumerate(world.clients):
            if not client.alive:
                continue
            hold = client.hold
            uses = hold is not None and not client.passing and world.time < self.times(hold)[2]
            users += uses or world.time < client.works_until
            if hold is None or not uses or world.time >= self.times(hold)[1] or self.scope.made_again:
                continue
            holder = self.states[world.state].holder(hold.id)
            if holder is None or holder.fence != hold.fence:
                raise BrokenError(f"{who} has a valid holding that is not in the Lease")
        if users > self.scope.slots:
            raise BrokenError(f"{users} use {self.scope.slots} slots")

    def check_end(self, world: World) -> None:
        """Nothing more can happen: everybody has had what was wanted, and nothing is left behind."""
        if self.scope.time:  # then it is time that is over
            return
        for who, client in enumerate(world.clients):
            if client.alive and (client.rounds or client.row[0] or client.confirming):
                raise BrokenError(f"{who} waits for ever")
        if world.state != GONE and self.states[world.state].ids:
            raise BrokenError(f"{self.states[world.state].ids} are left behind")
