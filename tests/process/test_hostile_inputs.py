"""A folder and a list with all kinds of trouble in them: each input ends in its own correct row, and the good ones never notice."""

import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from tests.process import pictures
from tests.process.harness import Lab, Step, codes, comparable, inputs_from
from tests.process.networks import MeanColour

GOOD = {f"photo-{number}.jpg": pictures.photo(number) for number in range(6)}
ODD_NAMES = {
    "with space.jpg": pictures.photo(10),
    "new\nline.jpg": pictures.photo(11),
    "100%20.jpg": pictures.photo(12),
    "question?.jpg": pictures.photo(13),
    "hash#.jpg": pictures.photo(14),
    "back\\slash.jpg": pictures.photo(15),
    unicodedata.normalize("NFC", "é.jpg"): pictures.photo(16),
    unicodedata.normalize("NFD", "é.jpg"): pictures.photo(17),
    f"{'n' * 251}.jpg": pictures.photo(18),
    "[glob]*.jpg": pictures.photo(19),
    os.fsdecode(b"\xff\xfe.jpg"): pictures.photo(20),
}
ODD_KINDS = {
    "sixteen.png": pictures.sixteen_bit(),
    "cmyk.jpg": pictures.cmyk(),
    "animated.gif": pictures.animated(),
    "palette.png": pictures.palette_with_alpha(),
}
COLOURS = {"sixteen.png": (0.5, 0.5, 0.5), "cmyk.jpg": (0, 1, 1), "animated.gif": (0, 1, 0), "palette.png": (0.5, 0.5, 1)}
BROKEN = {
    "empty.jpg": b"",
    "text.jpg": b"this is no picture at all\n" * 20,
    "cut.jpg": pictures.photo(20)[:-2],
    "cut-early.jpg": pictures.photo(20)[:300],
    "bomb.png": pictures.bomb(),
}
EXPECTED = {
    "empty.jpg": "EmptyFile",
    "text.jpg": "UnsupportedFormat",
    "cut.jpg": "TruncatedImage",
    "cut-early.jpg": "TruncatedImage",
    "bomb.png": "TooManyPixels",
}
PLAIN = {"normalize": {"mean": [0, 0, 0], "std": [1, 1, 1]}, "size": 32, "resize": "squash"}
INFER: Step = {
    "name": "look",
    "infer": {
        "model": {"architecture": f"{MeanColour.__module__}:mean_colour"},
        "preprocess": PLAIN,
        "batchSize": 4,
        "outputs": {"embedding": "raw"},
    },
    "limits": [{"name": "gpu"}],
}
STEPS: list[Step] = [
    {"name": "download", "download": {}},
    {"name": "shrink", "transform": {"operations": [{"thumbnail": {"width": 64, "height": 64}}]}},
    INFER,
    {"name": "save", "save": {"image": {"format": "png"}}},
]


def test_each_file_of_a_hostile_folder_ends_in_its_own_row_and_the_good_ones_as_in_a_clean_run(lab: Lab) -> None:
    pictures.write_all(lab.folder / "clean", {**GOOD, **ODD_NAMES})
    pictures.write_all(lab.folder / "hostile", {**GOOD, **ODD_NAMES, **ODD_KINDS, **BROKEN})
    clean = lab.job(STEPS, {"prefix": {"url": str(lab.folder / "clean")}}, name="of-clean", chunkSize=7)
    hostile = lab.job(STEPS, {"prefix": {"url": str(lab.folder / "hostile")}}, name="of-hostile", chunkSize=7, parallelism=2)
    lab.run(clean).expect(0)
    lab.run(hostile).expect(1)

    rows = lab.output("of-hostile").by_id()
    ids = {os.fsencode(name.replace("\\", "\\\\")).decode("utf-8", "backslashreplace") for name in (*GOOD, *ODD_NAMES)}
    assert codes(rows) == {**dict.fromkeys((*ids, *ODD_KINDS), "ok"), **EXPECTED}
    assert all(not row["error"]["retryable"] and row["error"]["attempts"] == 1 for row in rows.values() if row["error"])
    for name, colour in COLOURS.items():
        assert rows[name]["outputs"]["look"] == pytest.approx(colour, abs=0.02), name

    expected = comparable([_elsewhere(row) for row in lab.output("of-clean").rows()])
    assert comparable([_elsewhere(rows[row["id"]]) for row in expected]) == expected
    assert _images_of(lab.output("of-hostile").folder) == sorted(
        row["outputs"]["save"]["image"] for row in rows.values() if not row["error"]
    )

    lenient = lab.job(
        STEPS,
        {"prefix": {"url": str(lab.folder / "hostile")}},
        name="of-hostile",
        chunkSize=7,
        parallelism=2,
        failurePolicy={"maxFailureRate": 1},
    )
    assert not lab.output("of-hostile").succeeded
    lab.verify("of-hostile")
    answer = lab.run(lenient).expect(5).answer
    assert answer["images"] == {"total": 26, "succeeded": 21, "failed": 5, "skipped": 0}
    assert lab.output("of-hostile").succeeded
    lab.verify("of-hostile")


def test_ids_of_any_kind_pass_through_and_no_file_leaves_the_output(lab: Lab) -> None:
    pictures.write_all(lab.folder / "photos", {"a.jpg": pictures.photo(1), "é.jpg": pictures.photo(2)})
    good = str(lab.folder / "photos" / "a.jpg")
    ids = [
        "../../escaped",
        "../escaped.jpg",
        "/etc/escaped",
        "a/../../b",
        "..",
        ".",
        "line\nbreak",
        " ",
        "\t",
        "nul\0byte",
        "i" * 300,
        "i" * 301,
        unicodedata.normalize("NFC", "é"),
        unicodedata.normalize("NFD", "é"),
        "Case",
        "case",
        "CON.jpg",
        "\u202eright-to-left",
        "'; DROP TABLE images; --",
        "\x1b[31mred",
    ]
    troubled = {
        "long name": (f"{lab.folder}/photos/{'n' * 300}.jpg", "InvalidUrl"),
        "missing": (f"{lab.folder}/photos/missing.jpg", "NotFound"),
        "folder": (f"{lab.folder}/photos", "InvalidUrl"),
        "device": ("file:///dev/zero", "InvalidUrl"),
    }
    source = inputs_from(
        lab.folder / "list.jsonl", [*((identity, good) for identity in ids), *((name, url) for name, (url, _) in troubled.items())]
    )
    steps = [STEPS[0], STEPS[1], STEPS[3]]
    before = _files_of(lab.folder)
    lab.run(lab.job(steps, source, chunkSize=5, parallelism=2, failurePolicy={"maxFailureRate": 0.5})).expect(5)
    rows = lab.output().by_id()
    assert codes(rows) == {**dict.fromkeys(ids, "ok"), **{name: code for name, (_, code) in troubled.items()}}
    images = _images_of(lab.output().folder)
    assert len(images) == len(ids), "two ids share one image"
    assert sorted(row["outputs"]["save"]["image"] for row in rows.values() if not row["error"]) == images
    for name in images:
        with Image.open(lab.output().folder / name) as image:
            assert image.size == (64, 48)
    new = {path for path in _files_of(lab.folder) - before if not path.is_relative_to(lab.output().folder)}
    assert {path.suffix for path in new} <= {".out", ".err", ".yaml"}, "something was written outside of the output"
    lab.verify()


def _elsewhere(row: dict[str, object]) -> dict[str, object]:
    """The row without the folder that its input was in."""
    return {**row, "url": str(row["url"]).rpartition("/")[2]}


def _images_of(output: Path) -> list[str]:
    return sorted(path.relative_to(output).as_posix() for path in output.glob("images/**/*") if path.is_file())


def _files_of(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}
