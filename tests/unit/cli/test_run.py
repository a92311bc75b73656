"""Everything that `imagejob run` refuses or leaves alone before anything is run. Whole runs are in tests/process."""

import sys
from pathlib import Path

import pytest
import yaml

from imagejob_cli.codes import WORST_FIRST, worst
from imagejob_runner.constants import ExitCode
from tests.unit.cli.builders import Imagejob, Write, document, job, limit


def test_a_file_that_is_not_there(imagejob: Imagejob, tmp_path: Path) -> None:
    result = imagejob("run", "-f", tmp_path / "none.yaml")
    assert result.exit_code == 2
    assert result.stderr == f"Error: {tmp_path}/none.yaml\n  cannot be read: No such file or directory\n  fix: check the path\n"


def test_files_without_a_job(imagejob: Imagejob, write: Write) -> None:
    pipeline = document("ImagePipeline", "labels", {"steps": [{"name": "a", "call": {"function": "a:b"}}]})
    result = imagejob("run", "-f", write(pipeline, limit()))
    assert result.exit_code == 2
    assert (
        "Error: no ImageJob in the files: they hold ImagePipeline labels, NodeLimit gpu. "
        "Name the file with the ImageJob with another -f.\n" in result.stderr
    )


def test_files_with_nothing_of_ours(imagejob: Imagejob, write: Write) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    result = imagejob("run", "-f", write(config))
    assert "Error: no ImageJob in the files: they hold nothing of imagejob's." in result.stderr


def test_a_limit_that_is_not_defined(imagejob: Imagejob, write: Write) -> None:
    file = write(job(limit="gpu"), limit("gpus"))
    result = imagejob("run", "-f", file)
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: {file}:1 (document 1, ImageJob flowers)\n"
        "  step classify takes the limit gpu, and no NodeLimit of that name is in the files; did you mean gpus?\n"
        "  fix: add a NodeLimit with metadata.name gpu to the file, or name its file with another -f\n"
    )


def test_a_missing_limit_is_told_with_the_pipeline_that_takes_it(imagejob: Imagejob, write: Write) -> None:
    step = {"name": "solve", "call": {"function": "a:b"}, "limits": [{"name": "licence"}]}
    flowers = job()
    flowers["spec"].pop("pipeline")
    flowers["spec"]["pipelineRef"] = {"name": "solver"}
    pipeline_file = write(document("ImagePipeline", "solver", {"steps": [step]}), name="pipeline.yaml")
    result = imagejob("run", "-f", write(flowers), "-f", pipeline_file)
    assert result.exit_code == 2
    assert f"{pipeline_file}:1 (document 1, ImagePipeline solver)\n  step solve takes the limit licence" in result.stderr


def test_a_pipeline_that_is_not_there(imagejob: Imagejob, write: Write) -> None:
    flowers = job()
    flowers["spec"].pop("pipeline")
    flowers["spec"]["pipelineRef"] = {"name": "solver"}
    result = imagejob("run", "-f", write(flowers))
    assert result.exit_code == 2
    assert "spec.pipelineRef.name: there is no ImagePipeline solver in namespace default in the files" in result.stderr


def test_all_that_is_missing_is_told_at_once(imagejob: Imagejob, write: Write) -> None:
    step = {"name": "solve", "call": {"function": "a:b"}, "limits": [{"name": "licence"}]}
    jobs = [job(name, pipelineRef={"name": pipeline}) for name, pipeline in zip("abcd", ("solver", "solver", "sorter", "x"), strict=True)]
    for each in jobs:
        del each["spec"]["pipeline"]
    result = imagejob("run", "-f", write(document("ImagePipeline", "solver", {"steps": [step]}), *jobs))
    assert result.exit_code == 2
    assert result.stderr.count("step solve takes the limit licence") == 1
    assert "there is no ImagePipeline sorter in namespace default in the files\n  fix: did you mean solver?" in result.stderr
    assert "there is no ImagePipeline x in namespace default in the files\n  fix: add the ImagePipeline to the file" in result.stderr
    assert result.stderr.endswith("3 problems\n")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flower", "--job flower: no ImageJob of that name is in the files; did you mean flowers?"),
        ("zebras", "--job zebras: no ImageJob of that name is in the files; there is flowers, trees"),
    ],
)
def test_a_job_that_is_not_there(imagejob: Imagejob, write: Write, name: str, message: str) -> None:
    result = imagejob("run", "-f", write(job("flowers"), job("trees")), "--job", name)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_name_in_two_namespaces(imagejob: Imagejob, write: Write) -> None:
    other = job(suspend=True)
    other["metadata"]["namespace"] = "team-a"
    file = write(job(), other)
    result = imagejob("run", "-f", file, "--job", "flowers")
    assert result.exit_code == 2
    assert "--job flowers is the name of 2 jobs: say default/flowers or team-a/flowers." in result.stderr
    assert imagejob("run", "-f", file, "--job", "team-a/flowers").exit_code == 4


def test_one_output_for_two_jobs(imagejob: Imagejob, write: Write) -> None:
    result = imagejob("run", "-f", write(job("flowers"), job("trees")), "--output", "elsewhere")
    assert result.exit_code == 2
    assert "--output is for one job, and there are 2: choose one with --job." in result.stderr


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("suspend", "ImageJob default/flowers is suspended (spec.suspend: true): nothing was run. Set it to false to run it.\n"),
        ("cancel", "ImageJob default/flowers is cancelled (spec.cancel: true): nothing was run. Remove the field to run it.\n"),
    ],
)
def test_a_job_that_should_not_run(imagejob: Imagejob, write: Write, field: str, message: str) -> None:
    result = imagejob("run", "-f", write(job(**{field: True})), "--json")
    assert result.exit_code == 4
    assert result.stderr == message
    assert result.stdout == ""


def test_a_job_from_standard_input(imagejob: Imagejob) -> None:
    assert imagejob("run", "-f", "-", stdin=yaml.safe_dump(job(suspend=True))).exit_code == 4


def test_a_folder_of_files(imagejob: Imagejob, write: Write, tmp_path: Path) -> None:
    write(job("flowers", suspend=True), name="1.yaml")
    write(job("trees", suspend=True), name="2.yaml")
    result = imagejob("run", "-f", tmp_path)
    assert result.exit_code == 4
    assert [line.split()[1] for line in result.stderr.splitlines()] == ["default/flowers", "default/trees"]


def test_functions_are_looked_for_in_the_current_directory_first(imagejob: Imagejob, write: Write) -> None:
    before = [*sys.path]
    imagejob("run", "-f", write(job(suspend=True)))
    assert sys.path == [str(Path.cwd()), *before]


def test_an_output_that_cannot_be_one(imagejob: Imagejob, write: Write) -> None:
    result = imagejob("run", "-f", write(job()), "--output", "https://example.com/out")
    assert result.exit_code == 2
    assert "Error: flowers: " in result.stderr
    assert "https" in result.stderr


def test_the_worst_end_of_several_jobs_is_told() -> None:
    assert set(WORST_FIRST) == set(ExitCode)
    assert worst([ExitCode.SUCCEEDED, ExitCode.PARTIAL, ExitCode.JOB_FAILED, ExitCode.SUCCEEDED]) is ExitCode.JOB_FAILED
    assert worst([ExitCode.SUCCEEDED]) is ExitCode.SUCCEEDED
