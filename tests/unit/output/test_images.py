"""Names of derived images: safe for any id, and never shared."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagejob_runner.output import derived_image_name

_HOSTILE = ["../../etc/passwd", "/abs", "a" * 300, "con", ".", "..", "a\nb", "é", "e\u0301", "A", "a"]
_IDS = st.text(min_size=1, max_size=400) | st.sampled_from(_HOSTILE)


@given(_IDS)
def test_safe(identity: str) -> None:
    name = derived_image_name(identity, "jpeg")
    assert re.fullmatch(r"images/[a-z0-9-]+\.jpg", name)
    assert len(name) <= 111


@given(st.sets(_IDS, min_size=2, max_size=8))
def test_different_ids_have_different_names_on_any_file_system(ids: set[str]) -> None:
    names = {unicodedata.normalize("NFKC", derived_image_name(identity, "png")).casefold() for identity in ids}
    assert len(names) == len(ids)


@pytest.mark.parametrize(
    ("identity", "form", "start", "end"),
    [
        ("photos/Cat 1.JPG", "jpeg", "images/photos-cat-1-jpg-", ".jpg"),
        ("../../x", "png", "images/x-", ".png"),
        ("猫", "webp", "images/image-", ".webp"),
    ],
)
def test_people_can_still_read_them(identity: str, form: str, start: str, end: str) -> None:
    name = derived_image_name(identity, form)
    assert name.startswith(start)
    assert name.endswith(end)
    assert derived_image_name(identity, form) == name
