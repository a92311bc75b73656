import time

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from nodelease import transitions
from tests.unit.lease.model import Counter, machine

ENOUGH = 100_000


def test_a_hundred_thousand_transitions_keep_the_contract() -> None:
    begun = Counter.transitions
    deadline = time.monotonic() + 120
    run = machine(transitions, storm=60)
    while Counter.transitions - begun < ENOUGH:
        assert time.monotonic() < deadline, f"only {Counter.transitions - begun} transitions in time"
        run_state_machine_as_test(
            run,
            settings=settings(
                max_examples=60,
                stateful_step_count=30,
                deadline=None,
                database=None,
                derandomize=False,  # as hypothesis does in CI: every round would be the same
                suppress_health_check=list(HealthCheck),
            ),
        )
    assert Counter.transitions - begun >= ENOUGH
