"""Whatever is changed in a finished output, `verify` says so; the program that does it ten thousand times is tests/tools/corruption.py."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagejob_runner.output import decode_rows, encode_rows, verify
from imagejob_runner.storage import open_output
from tests.tools.corruption import FORMATS, KINDS, corrupt, excused, make_output, read_files

pytestmark = pytest.mark.model


@pytest.mark.parametrize("form", FORMATS)
async def test_no_corruption_is_missed(tmp_path: Path, form: str) -> None:
    score = await corrupt(tmp_path, form, count=125, seed=11)
    assert score.missed == score.crashes == score.false_alarms == [], score.lines()
    assert len(score.done) == 25, "each kind of change was tried"
    assert score.excused.total() < 30


async def test_what_is_no_corruption(tmp_path: Path) -> None:
    files = read_files(await make_output(tmp_path, "jsonl"))
    assert excused(files, dict(files)) == "same"
    assert excused(files, {**files, "notes.txt": b"mine"}) == "same"
    assert excused(files, {**files, "summary.json": files["summary.json"].replace(b"1.5", b"1.25")}) is None
    holds = sorted(name for name in files if name.startswith("_imagejob/holds/00000"))
    assert len(holds) >= 2, "of three chunks the last does not begin before the first is written"
    for name, reason in zip(holds, [*[None] * (len(holds) - 1), "fewer"], strict=True):
        assert excused(files, {other: data for other, data in files.items() if other != name}) == reason


@pytest.fixture(scope="module", params=FORMATS)
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(make_output(tmp_path_factory.mktemp("real"), request.param))


async def problems(output: Path) -> list[str]:
    return [str(problem) for problem in (await verify(open_output(str(output)))).problems]


async def test_a_real_output_passes(real: Path) -> None:
    assert await problems(real) == []


async def test_derived_images_that_are_gone_or_others(real: Path) -> None:
    image = next((real / "images").iterdir())
    good = image.read_bytes()
    for changed in (None, b"", good[:-1], good[:-1] + b"x"):
        image.unlink()
        if changed is not None:
            image.write_bytes(changed)
        found = await problems(real)
        image.write_bytes(good)
        assert any(problem.startswith(f"images/{image.name}: ") and "names it" in problem for problem in found), found


PROVENANCE: list[tuple[dict[str, Any], str]] = [
    ({"modelSha256": "0" * 64}, "was made with the model 0000"),
    ({"preprocess": "0" * 64}, "and the preprocessing 0000"),
    ({"modelSha256": None}, "has the provenance modelSha256: 'None', which cannot be"),
    ({"inputSha256": "abc"}, "has the provenance inputSha256: 'abc', which cannot be"),
    ({"inputBytes": True}, "has the provenance inputBytes: 'True', which cannot be"),
    ({"width": -1}, "has the provenance width: '-1', which cannot be"),
]


@pytest.mark.parametrize(("changes", "message"), PROVENANCE)
async def test_rows_that_were_made_from_something_else(real: Path, changes: dict[str, Any], message: str) -> None:
    await expect(real, lambda row: {**row, "provenance": {**row["provenance"], **changes}}, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: {**row, "outputs": {**row["outputs"], "save": None}}, "does not name its derived image in outputs.save"),
        (lambda row: {**row, "outputs": {**row["outputs"], "save": {"image": "images/x.png"}}}, "does not name its derived image"),
        (lambda row: {**row, "outputs": {"save": row["outputs"]["save"]}}, "is ok, but has no output of the step classify"),
        (lambda row: {**row, "outputs": {"classify": []}}, "is ok, but has no output of the step save"),
        (lambda row: {**row, "provenance": {"modelSha256": "", "preprocess": ""}}, "does not say which bytes it was made from"),
        (lambda row: {**row, "provenance": {}}, "was made with the model None"),
    ],
)
async def test_rows_that_lack_what_they_were_made_for(real: Path, change: Callable[[Any], Any], message: str) -> None:
    await expect(real, change, message)


async def expect(output: Path, change: Callable[[Any], Any], message: str) -> None:
    """Writes the first row anew and looks for the message."""
    part = next((output / "results").glob("part-00000-00000.*"))
    good, form = part.read_bytes(), part.suffix[1:]
    first, *rest = decode_rows(good, form)
    part.write_bytes(encode_rows([change(first), *rest], form, KINDS))
    found = await problems(output)
    part.write_bytes(good)
    assert any(message in problem and f"{part.name}, line 1" in problem for problem in found), found


async def test_rows_say_what_their_images_are(real: Path) -> None:
    part = next((real / "results").glob("part-00000-00000.*"))
    saved = decode_rows(part.read_bytes(), part.suffix[1:])[0]["outputs"]["save"]
    data = (real / saved["image"]).read_bytes()
    assert saved == {"image": saved["image"], "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
