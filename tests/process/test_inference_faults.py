"""Models that fail on one image, or for want of memory: a batch is halved until only the culprit is left."""

import copy
from typing import Any

import pytest

from tests.process import pictures
from tests.process.harness import Lab, Step, codes
from tests.process.test_hostile_inputs import INFER

DOWNLOAD: Step = {"name": "download", "download": {}}


def infer(factory: str, **arguments: Any) -> Step:  # noqa: ANN401  of the factory
    step = copy.deepcopy(INFER)
    step["infer"] |= {"model": {"architecture": f"tests.process.networks:{factory}", "arguments": arguments}, "batchSize": 8}
    return step


def test_an_image_that_a_model_fails_on_does_not_take_its_batch_down(lab: Lab) -> None:
    colours = ["gray"] * 30
    colours[4], colours[19], colours[20] = "red", "red", "red"
    pictures.write_all(lab.folder / "photos", {f"{number:02}.jpg": pictures.plain(colour) for number, colour in enumerate(colours)})
    lab.run(lab.job([DOWNLOAD, infer("fails_on_red")], {"prefix": {"url": str(lab.folder / "photos")}})).expect(5)
    rows = lab.output().by_id()
    failed = {name for name, code in codes(rows).items() if code == "InferenceFailed"}
    assert failed == {"04.jpg", "19.jpg", "20.jpg"}
    for name in failed:
        assert "there is a red image in the batch" in rows[name]["error"]["message"]
    others = [row for row in rows.values() if not row["error"]]
    assert len(others) == 27
    for row in others:
        assert row["outputs"]["look"] == pytest.approx([128 / 255] * 3, abs=0.01)
    lab.verify()


def test_batches_become_smaller_when_memory_runs_out_and_no_image_is_lost(lab: Lab) -> None:
    pictures.write_all(lab.folder / "photos", {f"{number:02}.jpg": pictures.photo(number, (64, 48)) for number in range(20)})
    source = {"prefix": {"url": str(lab.folder / "photos")}}
    lab.run(lab.job([DOWNLOAD, infer("mean_colour")], source, name="roomy")).expect(0)
    lab.run(lab.job([DOWNLOAD, infer("out_of_memory", most=3)], source, name="tight")).expect(0)
    roomy, tight = lab.output("roomy").by_id(), lab.output("tight").by_id()
    for name, row in tight.items():
        assert row["outputs"]["look"] == pytest.approx(roomy[name]["outputs"]["look"], abs=1e-5)
    lab.verify("tight")


def test_a_gpu_that_fails_is_tried_again_by_another_process(lab: Lab) -> None:
    colours = ["gray"] * 11 + ["red"]
    pictures.write_all(lab.folder / "photos", {f"{number:02}.jpg": pictures.plain(colour) for number, colour in enumerate(colours)})
    source, marker = {"prefix": {"url": str(lab.folder / "photos")}}, lab.folder / "failed"
    ended = lab.run(
        lab.job([DOWNLOAD, infer("loses_gpu_on_red")], source, chunkSize=4, failurePolicy={"backoffLimitPerShard": 1}, name="lost")
    ).expect(1)
    assert "crashed 2 times (last: the GPU cannot be used" in ended.answer["message"]
    assert "backoffLimitPerShard allows 1 restarts" in ended.answer["message"]
    lab.run(lab.job([DOWNLOAD, infer("loses_gpu_on_red", marker=str(marker))], source, chunkSize=4)).expect(0)
    assert marker.exists()
    lab.verify()


def test_a_model_that_cannot_be_made_ends_the_run_with_the_reason(lab: Lab) -> None:
    pictures.write_all(lab.folder / "photos", {"a.jpg": pictures.photo(1)})
    source = {"prefix": {"url": str(lab.folder / "photos")}}
    ended = lab.run(lab.job([DOWNLOAD, infer("mean_colour", shade="dark")], source, parallelism=2)).expect(2)
    assert "unexpected keyword argument 'shade'" in ended.answer["message"]
    assert lab.output().rows() == []


def test_an_architecture_that_is_not_there_is_found_before_anything_is_written(lab: Lab) -> None:
    pictures.write_all(lab.folder / "photos", {"a.jpg": pictures.photo(1)})
    source = {"prefix": {"url": str(lab.folder / "photos")}}
    ended = lab.run(lab.job([DOWNLOAD, infer("no_such_factory")], source)).expect(2)
    assert "no_such_factory" in ended.err
    assert not lab.output().folder.exists()
    lab.run(lab.job([DOWNLOAD, infer("mean_colour")], source)).expect(0)
