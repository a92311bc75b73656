"""Glob patterns mean what people expect of them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagejob_runner.sources import Glob


@pytest.mark.parametrize(
    ("pattern", "takes", "leaves"),
    [
        ("**/*", ["a", "a/b", "a/b/c.jpg", "a b\n.jpg", "..%2Fup.jpg", "a/..b"], [".DS_Store", ".git/x", "a/.hidden", "a/.git/x"]),
        ("**", ["a", "a/b", "a/b/c.jpg"], [".DS_Store", "a/.git/x"]),
        ("*.jpg", ["a.jpg", "..jpg"], ["a/b.jpg", "a.JPG", "a.jpg2", ".jpg"]),
        ("**/*.jpg", ["a.jpg", "a/b.jpg", "a/b/c.jpg"], ["a.png", "a.jpg/b"]),
        ("a/**/c", ["a/c", "a/b/c", "a/b/b/c"], ["c", "b/a/c", "a/b/c/d", "a/.b/c"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b/a"]),
        ("**/.*", [".DS_Store", "a/.x"], ["a", ".git/x"]),
        ("*.{jpg,jpeg,png}", ["a.jpg", "b.jpeg", "c.png"], ["a.gif", "a.{jpg"]),
        ("{a,b}/{c,d}/*", ["a/c/x", "b/d/x"], ["a/e/x"]),
        ("a{b", ["a{b"], ["ab"]),
        ("[ab]?.jpg", ["a1.jpg", "b\n.jpg"], ["c1.jpg", "a.jpg"]),
        ("[!a].jpg", ["b.jpg"], ["a.jpg"]),
        ("/a/*", ["a/b"], ["b/b"]),
        ("[", ["["], ["a"]),
    ],
)
def test_patterns(pattern: str, takes: list[str], leaves: list[str]) -> None:
    glob = Glob(pattern)
    assert [path for path in takes if not glob.matches(path)] == []
    assert [path for path in leaves if glob.matches(path)] == []


@pytest.mark.parametrize(("pattern", "depth"), [("*", 1), ("a/*", 2), ("{a,b/c}", 2), ("**/*", None), ("{a,**}", None)])
def test_depth(pattern: str, depth: int | None) -> None:
    assert Glob(pattern).depth == depth


_PART = st.text("ab", min_size=1, max_size=2)


@given(st.lists(st.sampled_from(["**", "*", "a", "?", "b*"]), min_size=1, max_size=4), st.lists(_PART, min_size=1, max_size=5))
def test_the_same_as_a_regular_expression(pattern: list[str], parts: list[str]) -> None:
    expression = ""
    for index, piece in enumerate(pattern):
        last = index == len(pattern) - 1
        if piece == "**":
            expression += "(?:[^/]+/)*" + ("[^/]+" if last else "")
        else:
            expression += piece.replace("*", "[^/]*").replace("?", "[^/]") + ("" if last else "/")
    path = "/".join(parts)
    assert Glob("/".join(pattern)).matches(path) == (re.fullmatch(expression, path) is not None)
