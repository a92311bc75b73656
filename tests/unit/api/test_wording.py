import pytest

from imagejob_api.wording import hint


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("flower", ["trees", "flowers"], "did you mean flowers?"),
        ("zebras", ["trees", "flowers"], "there is trees, flowers"),
        ("zebras", [], "there is none at all"),
        ("zebras", list("abcdefghijk"), "there is a, b, c, d, e, f, g, h, i, j, …"),
    ],
)
def test_what_may_have_been_meant(word: str, known: list[str], expected: str) -> None:
    assert hint(word, known) == expected
    assert hint(word, iter(known)) == expected
