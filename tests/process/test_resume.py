"""An output belongs to one job: the same job goes on, another one is refused and told why."""

import copy
import json

from imagejob_runner.audit import holds_name
from tests.process import pictures
from tests.process.harness import Lab, Step, call, comparable, inputs
from tests.process.test_hostile_inputs import INFER


def test_a_finished_job_that_is_run_again_does_nothing(lab: Lab) -> None:
    log = lab.folder / "log"
    job = lab.job([call("work", "note", arguments={"log": str(log)})], inputs(10), chunkSize=3)
    lab.run(job).expect(0)
    before = {path: path.stat().st_mtime_ns for path in lab.output().folder.rglob("*") if path.is_file()}
    answer = lab.run(job).expect(0).answer
    assert answer["images"] == {"total": 10, "succeeded": 10, "failed": 0, "skipped": 0}
    assert {path: path.stat().st_mtime_ns for path in lab.output().folder.rglob("*") if path.is_file()} == before
    assert len(log.read_text().splitlines()) == 10


def test_other_workers_may_go_on_where_fewer_stopped(lab: Lab) -> None:
    log = lab.folder / "log"
    steps = [call("work", "note", arguments={"log": str(log)})]
    lab.run(lab.job(steps, inputs(40), chunkSize=4, shards=2)).expect(0)
    rows = comparable(lab.output().rows())
    missing = lab.output().parts()[::2]
    for part in missing:
        part.unlink()
    log.unlink()
    lab.run(lab.job(steps, inputs(40), chunkSize=7, shards=5, parallelism=3)).expect(0)
    assert len(log.read_text().split()) == 4 * len(missing)
    assert comparable(lab.output().rows()) == rows
    lab.verify()


def test_an_output_of_another_job_is_refused_and_the_difference_is_named(lab: Lab) -> None:
    pictures.write_all(lab.folder / "photos", {f"{number}.jpg": pictures.photo(number, (32, 24)) for number in range(3)})
    labels = lab.folder / "labels.txt"
    labels.write_text("red\ngreen\nblue\n")
    infer = copy.deepcopy(INFER)
    infer["infer"] |= {"labels": str(labels), "outputs": {"topK": {"k": 1}}}
    source = {"prefix": {"url": str(lab.folder / "photos")}}

    def steps(**changes: object) -> list[Step]:
        return [{"name": "download", "download": {}}, {**infer, "infer": {**infer["infer"], **changes}}]

    lab.run(lab.job(steps(), source)).expect(0)
    rows = lab.output().by_id()
    assert {row["outputs"]["look"][0]["label"] for row in rows.values()} <= {"red", "green", "blue"}

    def refused(changed: list[Step], *, of: dict[str, object] = source, **spec: object) -> str:
        return lab.run(lab.job(changed, of, **spec)).expect(2).err

    preprocess = {**infer["infer"]["preprocess"], "size": 64}
    assert "pipeline.steps.look.infer.preprocess.size: was 32, now 64" in refused(steps(preprocess=preprocess))
    other = {"architecture": "tests.process.networks:fails_on_red"}
    assert "pipeline.steps.look.infer.model.architecture" in refused(steps(model=other))
    assert "output.format: was 'jsonl', now 'parquet'" in refused(steps(), output_format="parquet")
    (lab.folder / "photos" / "new.jpg").write_bytes(pictures.photo(4))
    assert "1 inputs added, 0 removed" in refused(steps())
    (lab.folder / "photos" / "new.jpg").unlink()
    labels.write_text("red\ngreen\nazure\n")
    assert "pipeline.steps.look.infer.labels.sha256" in refused(steps())
    labels.write_text("red\ngreen\nblue\n")

    assert lab.output().by_id() == rows
    lab.run(lab.job(steps(batchSize=1), source, parallelism=2, priority=3)).expect(0)
    assert lab.output().by_id() == rows, "what changes no row may be changed"


def test_an_output_that_exists_is_refused_when_the_job_says_so(lab: Lab) -> None:
    steps = [call("work", "note", arguments={"log": str(lab.folder / "log")})]
    lab.run(lab.job(steps, inputs(2), if_exists="fail")).expect(0)
    assert "output.ifExists is fail" in lab.run(lab.job(steps, inputs(2), if_exists="fail")).expect(2).err
    assert len((lab.folder / "log").read_text().splitlines()) == 2


def test_a_damaged_part_is_found_and_named(lab: Lab) -> None:
    lab.run(lab.job([call("work", "note", arguments={"log": str(lab.folder / "log")})], inputs(6), chunkSize=3)).expect(0)
    part = lab.output().parts()[0]
    whole = part.read_text()
    for damaged in (whole[:-5], "", whole + whole.splitlines()[0] + "\n", whole.replace("image-0001", "image-0007")):
        part.write_text(damaged)
        report = lab.start("verify", "--json", lab.output().folder).wait().expect(1).answer
        assert any(part.name in problem["file"] for problem in report["problems"])
    part.write_text(whole)
    record = {"node": "n", "boot": "b", "limit": "gpu", "slot": 0, "id": "x", "asked": 0, "busy": 1, "waited": False}
    lines = [{**record, "fence": fence, "start": start, "end": start + 2} for fence, start in ((1, 10.0), (2, 11.0))]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    holds = lab.output().folder / holds_name(0, "run", 1, data)
    holds.parent.mkdir(exist_ok=True)
    holds.write_bytes(data)
    report = lab.start("verify", "--json", lab.output().folder).wait().expect(1).answer
    assert report["holds"]["overlaps"] == 1


def test_parquet_rows_say_what_json_rows_say(lab: Lab) -> None:
    step = call("work", "fail_each", arguments={"log": str(lab.folder / "log"), "every": 7, "seconds": 0}, retries={"limit": 0})
    jobs = [lab.job([step], inputs(30), name=form, output_format=form, chunkSize=8, parallelism=2) for form in ("jsonl", "parquet")]
    for job in jobs:
        lab.run(job, "--parallelism", "2").expect(1)
    lab.verify("parquet")
    shown = [lab.start("show", "--json", "--limit", "0", lab.folder / form).wait().expect(0).out for form in ("jsonl", "parquet")]
    as_json, as_parquet = ([json.loads(line) for line in text.splitlines()] for text in shown)
    assert comparable(as_parquet) == comparable(as_json) == comparable(lab.output("jsonl").rows())
    assert len(as_parquet) == 30


def test_an_output_that_cannot_be_written_is_told(lab: Lab) -> None:
    (lab.folder / "file").write_text("no folder")
    job = lab.job([call("work", "note", arguments={"log": str(lab.folder / "log")})], inputs(2), output=str(lab.folder / "file" / "out"))
    ended = lab.run(job).expect(3)
    assert str(lab.folder / "file") in ended.err
    assert "Traceback" not in ended.err
    assert not (lab.folder / "log").exists()
