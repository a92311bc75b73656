import pytest

from imagejob_runner.audit import Hold, limit_figures
from imagejob_runner.statistics import percentile


def hold(slot: int, start: float, end: float, *, asked: float | None = None, waited: bool = False) -> Hold:
    return Hold("n", "b", "gpu", slot, int(start * 10), "x", start if asked is None else asked, start, end, end - start, waited)


def test_figures_of_two_slots() -> None:
    holds = [hold(0, 0, 3), hold(1, 0, 3), hold(0, 3.01, 6, asked=1, waited=True), hold(1, 3.03, 6, asked=1, waited=True), hold(0, 8, 9)]
    figures = limit_figures(reversed(holds), writes=7)
    assert (figures.max_holders, figures.holds, figures.writes) == (2, 5, 7)
    assert figures.held_seconds == pytest.approx(3 + 3 + 2.99 + 2.97 + 1)
    assert figures.wait_seconds == pytest.approx(2.01 + 2.03)
    assert sorted(figures.hand_over_ms) == pytest.approx([10, 30]), "the last came when nobody was there: no hand-over"


def test_a_hold_that_begins_when_another_ends_does_not_overlap_it() -> None:
    assert limit_figures([hold(0, 0, 3), hold(0, 3, 6)], writes=0).max_holders == 1


def test_an_overlap_is_seen() -> None:
    assert limit_figures([hold(0, 0, 3), hold(1, 2.9, 6)], writes=0).max_holders == 2


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 3), (99, 5), (100, 5)])
def test_percentiles_are_of_the_nearest_rank(percent: float, expected: float) -> None:
    assert percentile([5, 1, 4, 2, 3], percent) == expected


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile([], 50) is None
