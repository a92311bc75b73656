"""Writes that concern holders in being: renewing one's own, and expiring the dead."""

from concurrent.futures import Future

from nodelease import transitions
from nodelease.holding import Holding
from nodelease.state import Holder, LeaseState
from nodelease.writer import Operation


def renewal(holdings: tuple[Holding, ...], renewed: Future[None]) -> Operation:
    """One write that renews all holdings."""

    def apply(state: LeaseState) -> LeaseState:
        for holding in holdings:
            state = transitions.renew(state, holding.id, holding.fence)
        return state

    def done(state: LeaseState, started: float) -> None:
        for holding in holdings:
            holder = state.holder(holding.id)
            if holder is not None and holder.fence == holding.fence:
                holding.renewed(started, holder.beat, state.duration_seconds)
        finish(renewed)

    return Operation(apply, done)


def expiry(holder: Holder) -> Operation:
    """The write that removes a holder that has not moved since it was seen like this."""
    return Operation(lambda state: transitions.expire(state, holder.id, holder.fence, holder.beat))


def finish(future: Future[None]) -> None:
    """End a future that another thread may wait for, or may have left."""
    if not future.done() and future.set_running_or_notify_cancel():
        future.set_result(None)
