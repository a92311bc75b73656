"""How numbers and names are written for people."""

_MINUTE = 60
_HOUR = 3600
_TEN = 10
_LEAST = 0.005


def printable(text: str) -> str:
    """Text that cannot move the cursor or colour the screen: characters that do not print are written as Python escapes."""
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in text)


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 image`, `2 images`, `1,000 images`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def clock(seconds: float) -> str:
    """A span as `0:07`, `1:05` or `2:00:00`."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, _HOUR)
    minutes, left = divmod(rest, _MINUTE)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def span(seconds: float) -> str:
    """A span as `350 ms`, `3.2 s` or, from a minute on, `1:05`."""
    if seconds < 1:
        return milliseconds(1000 * seconds)
    return f"{seconds:.1f} s" if seconds < _MINUTE else clock(seconds)


def milliseconds(value: float) -> str:
    """Milliseconds with as many digits as one can care about: `0.04 ms`, `3.2 ms`, `350 ms`."""
    if value < _LEAST:
        return "0 ms"
    digits = 0 if value >= _TEN else 1 if value >= 1 else 2
    return f"{value:.{digits}f} ms"


def rate(images_per_second: float) -> str:
    """`124 images/s`, or `0.31 images/s`."""
    digits = 0 if images_per_second >= _TEN else 1 if images_per_second >= 1 else 2
    return f"{images_per_second:,.{digits}f} images/s"
