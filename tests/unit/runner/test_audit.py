import random
from collections.abc import Iterable

import pytest

from imagejob_runner.audit import KEPT_GAPS, KEPT_HOLDS, Hold, LimitFigures, LimitTally
from imagejob_runner.statistics import percentile


def hold(slot: int, start: float, end: float, *, asked: float | None = None, waited: bool = False) -> Hold:
    return Hold("n", "b", "gpu", slot, int(start * 10), "x", start if asked is None else asked, start, end, end - start, waited)


def limit_figures(holds: Iterable[Hold], writes: int) -> LimitFigures:
    tally = LimitTally()
    for each in holds:
        tally.add(each)
    return tally.figures(writes)


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


def test_many_holds_are_added_up_without_being_kept() -> None:
    count = 3 * KEPT_HOLDS
    holds = [hold(0, 10 * turn, 10 * turn + 9, asked=10 * turn - 5, waited=True) for turn in range(1, count + 1)]
    chance = random.Random(4)  # noqa: S311  no secret
    for start in range(0, count, 20):  # as processes report: a little out of order
        part = holds[start : start + 20]
        chance.shuffle(part)
        holds[start : start + 20] = part
    tally = LimitTally()
    for each in holds:
        tally.add(each)
    figures = tally.figures(writes=3)
    assert (figures.max_holders, figures.holds, figures.writes) == (1, count, 3)
    assert figures.held_seconds == pytest.approx(9 * count)
    assert figures.wait_seconds == pytest.approx(5 * count)
    assert figures.hand_over_seconds == pytest.approx(count - 1), "none is lost between what is kept and what is not"
    assert len(figures.hand_over_ms) == min(KEPT_GAPS, count - 1)
    assert len(tally._recent) < 2 * KEPT_HOLDS


def test_an_overlap_is_seen_across_what_is_kept_and_what_is_not() -> None:
    before = [hold(0, turn, turn + 0.5) for turn in range(KEPT_HOLDS - 1)]
    pair = [hold(0, KEPT_HOLDS, KEPT_HOLDS + 5), hold(1, KEPT_HOLDS + 1, KEPT_HOLDS + 2)]
    after = [hold(0, KEPT_HOLDS + 10 + turn, KEPT_HOLDS + 10.5 + turn) for turn in range(KEPT_HOLDS)]
    assert limit_figures([*before, *pair, *after], writes=0).max_holders == 2


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 3), (99, 5), (100, 5)])
def test_percentiles_are_of_the_nearest_rank(percent: float, expected: float) -> None:
    assert percentile([5, 1, 4, 2, 3], percent) == expected


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile([], 50) is None
