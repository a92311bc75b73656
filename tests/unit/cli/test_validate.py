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
    assert lines == [
        "ImagePipeline default/solver: download → solve (takes gpu, 2 of licence)",
        "NodeLimit gpu: 2 slots for each GPU, not active",
        "ImageJob default/flowers: images listed in list.csv, classify, to /out",
        "ImageJob default/trees: images below s3://bucket/trees/ (**/*), download → solve (takes gpu, 2 of licence), to /out, suspended",
        "note: step solve takes the limit licence, and no NodeLimit of that name is in the files",
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


def test_a_pipeline_that_is_not_there(imagejob: Imagejob, write: Write) -> None:
    flowers = job()
    flowers["spec"].pop("pipeline")
    flowers["spec"]["pipelineRef"] = {"name": "solver"}
    result = imagejob("validate", "-f", write(flowers))
    assert result.exit_code == 2
    assert "there is no ImagePipeline solver" in result.stderr


def test_one_image(imagejob: Imagejob, write: Write) -> None:
    assert "ImageJob default/flowers: 1 image, classify, to /out\n" in imagejob("validate", "-f", write(job())).stdout
