"""Images are named by what they are made from."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.recipes import Recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "Dockerfile").write_text("FROM scratch AS app\nCOPY program /\n")
    (tmp_path / "program").write_text("#!/bin/sh\n")
    return Recipe("app", tmp_path / "Dockerfile", "app", {"BASE": "one"}, {"program": tmp_path / "program", "note": b"text"})


def test_the_same_ingredients_give_the_same_name_wherever_they_are(recipe: Recipe, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("Dockerfile", "program"):
        (elsewhere / name).write_bytes((tmp_path / name).read_bytes())
    moved = Recipe("app", elsewhere / "Dockerfile", "app", {"BASE": "one"}, {"note": b"text", "program": elsewhere / "program"})
    assert moved.image == recipe.image
    assert recipe.image.startswith("imagejob.test/app:")


def test_every_ingredient_counts(recipe: Recipe, tmp_path: Path) -> None:
    changed = {
        recipe.image,
        replace(recipe, target="other").image,
        replace(recipe, arguments={"BASE": "two"}).image,
        replace(recipe, files={**recipe.files, "note": b"other"}).image,
        replace(recipe, files={"renamed": recipe.files["program"], "note": b"text"}).image,
    }
    (tmp_path / "program").chmod(0o755)
    changed.add(recipe.image)
    (tmp_path / "program").write_text("#!/bin/bash\n")
    changed.add(recipe.image)
    (tmp_path / "Dockerfile").write_text("FROM scratch AS app\n")
    changed.add(recipe.image)
    assert len(changed) == 8
