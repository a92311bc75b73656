import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagejob_api.output_in_pods import FIX
from tests.unit.cli.builders import Imagejob, Write, document, job, limit


def test_it_says_what_each_document_is(imagejob: Imagejob, write: Write) -> None:
    steps = [
        {"name": "download", "download": {}},
        {"name": "solve", "call": {"function": "a:b"}, "limits": [{"name": "gpu"}, {"name": "licence", "slots": 2}]},
    ]
    trees = job("trees", suspend=True, source={"prefix": {"url": "s3://bucket/trees/"}})
    trees["spec"].pop("pipeline")
    trees["spec"]["pipelineRef"] = {"name": "solver"}
    file = write(
        document("ImagePipeline", "solver", {"steps": steps}),
        limit(slotsPerDevice=2, active=False),
        job(source={"manifest": {"url": "list.csv"}}),
        trees,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}},
    )
    result = imagejob("validate", "-f", file)
    assert result.exit_code == 0
    lines = [line.removeprefix(f"{file}:").split(": ", 1)[1] for line in result.stdout.splitlines()]
    why = "the output /out is a folder inside each pod, and the pod that lists the source is another than those that work"
    refused = f"note: a cluster refuses the job: {why}; {FIX}"
    assert lines == [
        "ImagePipeline default/solver: download → solve (takes gpu, 2 of licence)",
        "NodeLimit gpu: 2 slots for each GPU, not active",
        "ImageJob default/flowers: images listed in list.csv, classify, to /out",
        refused,
        "ImageJob default/trees: images below s3://bucket/trees/ (**/*), download → solve (takes gpu, 2 of licence), to /out, suspended",
        "note: step solve takes the limit licence, and no NodeLimit of that name is in the files",
        refused,
        "ConfigMap x is for kubectl; imagejob leaves it alone",
    ]


def test_every_mistake_is_listed(imagejob: Imagejob, write: Write) -> None:
    result = imagejob("validate", "-f", write(job(paralelism=2), limit(slots=-1)))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "spec.paralelism" in result.stderr
    assert "parallelism" in result.stderr
    assert "spec.slots" in result.stderr
    assert result.stderr.endswith("2 problems\n")


def test_a_pipeline_that_is_not_there_may_be_in_the_cluster(imagejob: Imagejob, write: Write) -> None:
    flowers, trees = job(), job("trees", limit="gpu")
    flowers["spec"].pop("pipeline")
    flowers["spec"]["pipelineRef"] = {"name": "solver"}
    near = document("ImagePipeline", "solve", {"steps": [{"name": "a", "call": {"function": "a:b"}}]})
    result = imagejob("validate", "-f", write(flowers, trees))
    assert result.exit_code == 0
    lines = [line.partition(": ")[2] for line in result.stdout.splitlines()]
    note = "note: there is no ImagePipeline solver in namespace default in the files, so the cluster must have it"
    assert lines == [
        "ImageJob default/flowers: 1 image, ImagePipeline solver, to /out",
        note,
        "ImageJob default/trees: 1 image, classify (takes gpu), to /out",
        "note: step classify takes the limit gpu, and no NodeLimit of that name is in the files",
    ]
    assert f"{note}; did you mean solve?\n" in imagejob("validate", "-f", write(flowers, near)).stdout


def test_what_the_limits_of_the_files_do_not_allow(imagejob: Imagejob, write: Write) -> None:
    steps = [{"name": "solve", "call": {"function": "a:b"}, "limits": [{"name": "gpu", "hold": "99999h"}]}]
    file = write(job(pipeline={"steps": steps}, priority=50), limit(slots=1, maxPriority=9))
    said = imagejob("validate", "-f", file).stdout
    assert "note: Step solve asks to hold gpu for 99999h, and gets 1m: maxHold of the NodeLimit.\n" in said
    assert "note: Priority 50 counts as 9 in the queues of gpu: maxPriority of the NodeLimit.\n" in said


def test_a_path_that_cannot_be_looked_at(imagejob: Imagejob, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 300)
    result = imagejob("validate", "-f", long, "-f", tmp_path / "none.yaml")
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: {long}\n  cannot be read: File name too long\n"
        f"{tmp_path}/none.yaml\n  cannot be read: No such file or directory\n  fix: check the path\n2 problems\n"
    )


def test_a_folder_that_may_not_be_read(imagejob: Imagejob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> Iterator[Path]:  # root, as whom tests may run, may read every folder
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "iterdir", refuse)
        result = imagejob("validate", "-f", tmp_path)
    assert (result.exit_code, result.stderr) == (2, f"Error: {tmp_path}\n  cannot be read: Permission denied\n")


def test_one_image(imagejob: Imagejob, write: Write) -> None:
    assert "ImageJob default/flowers: 1 image, classify, to /out\n" in imagejob("validate", "-f", write(job())).stdout
