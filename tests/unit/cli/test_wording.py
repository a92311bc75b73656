import pytest

from imagejob_cli.wording import clock, count, milliseconds, printable, rate, span


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (65, "1:05"), (7200, "2:00:00"), (-1, "0:00")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 ms"), (0.35, "350 ms"), (3.21, "3.2 s"), (65, "1:05")])
def test_span(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(0.001, "0 ms"), (0.044, "0.04 ms"), (3.21, "3.2 ms"), (350.4, "350 ms")])
def test_milliseconds(value: float, text: str) -> None:
    assert milliseconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.314, "0.31 images/s"), (3.14, "3.1 images/s"), (1234.5, "1,234 images/s")])
def test_rate(value: float, text: str) -> None:
    assert rate(value) == text


def test_count() -> None:
    assert (count(1, "image"), count(2000, "image"), count(2, "process", "processes")) == ("1 image", "2,000 images", "2 processes")


def test_text_of_users_cannot_move_the_cursor() -> None:
    assert printable("a\nb\x1b[2J\x07\u202e é") == "a\\nb\\x1b[2J\\x07\\u202e é"
