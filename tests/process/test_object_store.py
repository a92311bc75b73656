"""Whole runs against a real S3 server: the same rows as with files, races on one output, kills."""

import random
import threading
import uuid
from collections import Counter
from typing import Any

import obstore
import pytest
import yaml
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store

from imagejob_api.pod import RunnerExit
from tests.process.conftest import Journal
from tests.process.harness import ROOT, Lab, Output, Row, call, comparable, elapsed, eventually, inputs
from tests.process.pods import Pods
from tests.tools.photos import photo
from tests.tools.s3 import S3Server, free_port, s3_server

DEMO = ROOT / "examples" / "imagejob.yaml"


def prove_conditional_put(s3: S3Server) -> None:
    """That the server keeps the promise on which everything else stands: of many who create one object, one does."""
    store = S3Store(s3.bucket, client_options={"allow_http": True})
    key = f"proof/{uuid.uuid4().hex}"
    ready, won, refused = threading.Barrier(8), [], []

    def create(number: int) -> None:
        ready.wait()
        try:
            obstore.put(store, key, str(number).encode(), mode="create")
            won.append(number)
        except AlreadyExistsError:
            refused.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(refused)) == (1, 7)
    assert bytes(obstore.get(store, key).bytes()) == str(won[0]).encode()


def output_of(s3: S3Server, prefix: str) -> Output:
    """The objects of an output, seen as the files that the server keeps them in."""
    return Output(s3.folder / prefix)


@pytest.mark.model
def test_the_demo_gives_the_same_rows_on_s3_as_on_files(lab: Lab, s3: S3Server) -> None:
    prove_conditional_put(s3)
    documents = list(yaml.safe_load_all(DEMO.read_text()))
    on_files, on_s3 = lab.folder / "files.yaml", lab.folder / "s3.yaml"
    on_files.write_text(yaml.safe_dump_all(_with(documents, output={"url": str(lab.folder / "files")})))
    lab.run(on_files).expect(0)

    source, prefix = f"photos-{uuid.uuid4().hex}", f"demo-{uuid.uuid4().hex}"
    store = S3Store(s3.bucket, client_options={"allow_http": True})
    job = next(document for document in documents if document["kind"] == "ImageJob")
    names = [item["id"] for item in job["spec"]["source"]["urls"]]
    for name in names:
        obstore.put(store, f"{source}/{name}", photo(name))
    elsewhere = {"output": {"url": s3.url(prefix)}, "source": {"prefix": {"url": s3.url(source)}}, "parallelism": 2, "chunkSize": 3}
    on_s3.write_text(yaml.safe_dump_all(_with(documents, **elsewhere)))
    lab.run(on_s3).expect(0)

    rows, expected = output_of(s3, prefix).by_id(), lab.output("files").by_id()
    assert rows.keys() == expected.keys() == set(names)
    assert [_scores(rows[name]) for name in names] == [pytest.approx(_scores(expected[name]), abs=1e-4) for name in names]
    assert [_but_for_scores(rows[name]) for name in names] == [_but_for_scores(expected[name]) for name in names]
    assert _labels(rows["coffee.png"])[0] == "espresso"
    assert _labels(rows["china.jpg"])[0] == "palace"
    assert output_of(s3, prefix).succeeded
    lab.verify(url=s3.url(prefix))


@pytest.mark.parametrize("place", ["files", "s3"])
def test_two_runs_that_race_on_one_output_leave_one_row_for_each_input(lab: Lab, place: str, request: pytest.FixtureRequest) -> None:
    url, output, log, begun, gate = str(lab.folder / "job"), lab.output("job"), *(lab.folder / name for name in ("log", "begun", "gate"))
    if place == "s3":
        s3, prefix = request.getfixturevalue("s3"), f"race-{uuid.uuid4().hex}"
        prove_conditional_put(s3)
        url, output = s3.url(prefix), output_of(s3, prefix)
    steps = [
        call("meet", "meet", concurrency=1, arguments={"begun": str(begun), "gate": str(gate)}),
        call("work", "note", limit="gpu", hold="50ms", arguments={"log": str(log), "seconds": 0.002}),
    ]
    job = lab.job(steps, inputs(200), output=url, chunkSize=8, parallelism=2)
    racers = [lab.start_job(job), lab.start_job(job)]
    eventually("both processes of both runs have begun", lambda: begun.exists() and len(set(begun.read_text().split())) == 4)
    gate.touch()
    for racer in racers:
        answer = racer.wait().expect(0).answer
        assert answer["images"]["succeeded"] == 200
        assert answer["limits"]["gpu"]["maxHolders"] == 1
    ids = [item["id"] for item in inputs(200)["urls"]]
    assert [row["id"] for row in output.rows()] == ids
    assert Counter(log.read_text().split()) == dict.fromkeys(ids, 2), "they did not overlap"
    assert output.succeeded
    lab.verify(url=url)


def test_a_run_on_s3_is_killed_and_goes_on(lab: Lab, s3: S3Server, chance: random.Random, journal: Journal) -> None:
    prefix, log, images = f"killed-{uuid.uuid4().hex}", lab.folder / "log", 200
    steps = [call("work", "note", limit="gpu", hold="50ms", arguments={"log": str(log), "seconds": 0.005}, concurrency=1)]
    job = lab.job(steps, inputs(images), output=s3.url(prefix), chunkSize=8, parallelism=2)
    run = lab.start_job(job)
    wanted = chance.randrange(20, 120)
    eventually("images", lambda: log.exists() and len(log.read_text().split()) >= wanted)
    run.kill_group()
    ended = lab.run(job).expect(0)
    assert ended.answer["limits"]["gpu"]["maxHolders"] == 1
    again = len(log.read_text().split()) - images
    journal.figure(f"{again} of {images} images done again after a kill of 2 workers on S3")
    assert again <= 2 * (8 + 1)
    lab.verify(url=s3.url(prefix))
    assert output_of(s3, prefix).succeeded


@pytest.mark.parametrize(
    ("bucket", "environment", "says"),
    [
        ("no-such-bucket", {}, "make the bucket s3://no-such-bucket"),
        ("imagejob-test", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "check the credentials"),
        ("imagejob-test", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "http://127.0.0.1:1 cannot be reached: Connection refused"),
    ],
    ids=["bucket", "credentials", "endpoint"],
)
def test_an_output_that_cannot_be_written_is_told_before_anything_else(
    lab: Lab, s3: S3Server, bucket: str, environment: dict[str, str], says: str
) -> None:
    lab.environment |= environment
    job = lab.job(
        [call("work", "note")], {"manifest": {"url": str(lab.folder / "no such list")}}, output=f"s3://{bucket}/{uuid.uuid4().hex}"
    )
    with elapsed() as seconds:
        ended = lab.run(job).expect(3)
    assert says in ended.err
    assert "Traceback" not in ended.err
    assert seconds[0] < 15
    assert s3.bucket == "imagejob-test"


def test_a_pod_waits_while_the_storage_is_away_and_goes_on_when_it_is_back(lab: Lab) -> None:
    pods, port = Pods(lab), free_port()
    (lab.folder / "buckets").mkdir()
    lab.environment |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_REGION": "us-east-1"}
    lab.environment |= {"AWS_ACCESS_KEY_ID": "imagejob", "AWS_SECRET_ACCESS_KEY": "imagejob-secret"}
    steps = [call("work", "note", arguments={"log": str(lab.folder / "log")})]
    pod = pods.start("work", pods.job(steps, inputs(4), output={"url": "s3://imagejob-test/back"}))
    eventually("the pod says what it waits for", lambda: "Waiting for the output" in pod.log, within=15)
    with s3_server(lab.folder / "buckets", port=port) as server:
        assert pod.wait().expect(RunnerExit.DONE).result.images.succeeded == 4
        assert len(Output(server.folder / "back").rows()) == 4


def _with(documents: list[dict[str, Any]], **spec: object) -> list[dict[str, Any]]:
    return [{**document, "spec": {**document["spec"], **spec}} if document["kind"] == "ImageJob" else document for document in documents]


def _labels(row: Row) -> list[str]:
    return [answer["label"] for answer in row["outputs"]["classify"]]


def _scores(row: Row) -> list[float]:
    return [answer["score"] for answer in row["outputs"]["classify"]]


def _but_for_scores(row: Row) -> Row:
    """All that a row says, but for where its image was read and for scores, which depend a little on the other images of a batch."""
    (kept,) = comparable([row])
    del kept["url"]
    answers = [{key: value for key, value in answer.items() if key != "score"} for answer in row["outputs"]["classify"]]
    return {**kept, "outputs": {**row["outputs"], "classify": answers}}
