import signal

import pytest

from imagejob_cli.interruption import Interruption


class Recorder:
    """Stands where a LocalRun stands; whole runs are interrupted in tests/process."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.planning = False

    def interrupt(self) -> None:
        self.calls.append("interrupt")

    def kill(self) -> None:
        self.calls.append("kill")


@pytest.fixture
def run() -> Recorder:
    return Recorder()


def interruption(run: Recorder) -> Interruption:
    return Interruption(run, lambda: run.planning, run.calls.append)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_in_order_then_at_once_then_by_force(run: Recorder, number: signal.Signals) -> None:
    with interruption(run):
        signal.raise_signal(number)
        assert run.calls[1:] == ["interrupt"]
        assert "what is whole is committed" in run.calls[0]
        signal.raise_signal(number)
        assert run.calls[3:] == ["kill"]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


def test_nothing_is_to_be_ended_in_order_while_planning(run: Recorder) -> None:
    run.planning = True
    with interruption(run), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert run.calls == []


def test_signals_are_given_back(run: Recorder) -> None:
    before = [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]
    with interruption(run):
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)] == before
