"""Every mistake that a user can make in a file, with the message that they see."""

import io
import json
import sys
from pathlib import Path

import pytest
import yaml

from imagejob_api.documents import load_documents
from imagejob_api.exceptions import InvalidFileError, Problem
from tests.unit.api.objects import BROKEN, VALID, Broken, Json, image_job, image_pipeline, infer, node_limit, step

CALL = {"function": "m:f"}
CHECKOUT = Path(__file__).parents[3]
EXAMPLES = sorted(path for folder in ("examples", "bench") for path in (CHECKOUT / folder).glob("*.yaml"))


def written(tmp_path: Path, *objects: object, name: str = "job.yaml") -> Path:
    path = tmp_path / name
    path.write_text(yaml.safe_dump_all(objects, sort_keys=False))
    return path


def problems(*paths: Path) -> tuple[Problem, ...]:
    with pytest.raises(InvalidFileError) as caught:
        load_documents(paths)
    return caught.value.problems


def problem(*paths: Path) -> Problem:
    (found,) = problems(*paths)
    return found


def job_with(text: str) -> str:
    """A job whose spec ends with these lines."""
    return (
        "apiVersion: imagejob.dev/v1alpha1\nkind: ImageJob\nmetadata: {name: flowers}\nspec:\n"
        "  source: {prefix: {url: ./photos}}\n  pipelineRef: {name: classify}\n  output: {url: ./out}\n"
        f"{text}\n"
    )


LINE = 8  # of the first line that job_with adds


# --- what is taken ---


def test_several_documents_in_several_files(tmp_path: Path) -> None:
    first = written(tmp_path, image_pipeline(), None, node_limit(), image_job())
    second = written(tmp_path, image_job("birds"), name="second.yaml")
    documents = load_documents([first, second])
    assert [job.metadata.name for job in documents.jobs] == ["flowers", "birds"]
    assert list(documents.pipelines) == [("default", "classify")]
    assert list(documents.limits) == ["gpu"]
    assert documents.ignored == []
    assert documents.resolve(documents.jobs[0]) is documents.pipelines["default", "classify"].spec


@pytest.mark.parametrize("name", VALID)
def test_valid_objects(tmp_path: Path, name: str) -> None:
    documents = load_documents([written(tmp_path, VALID[name])])
    assert len(documents.jobs) + len(documents.pipelines) + len(documents.limits) == 1


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(json.dumps(image_job()).encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert load_documents(["-"]).jobs[0].metadata.name == "flowers"


def test_a_mistake_in_standard_input_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"kind: ImageJob\n")))
    with pytest.raises(InvalidFileError, match="standard input:1"):
        load_documents(["-"])


def test_json_lists_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    listed = {"apiVersion": "v1", "kind": "List", "items": [image_job(), image_pipeline()]}
    own = {"apiVersion": "imagejob.dev/v1alpha1", "kind": "NodeLimitList", "items": [node_limit()]}
    path.write_text("\ufeff" + json.dumps(listed) + json.dumps(own), encoding="utf-8")
    documents = load_documents([path])
    assert (len(documents.jobs), len(documents.pipelines), len(documents.limits)) == (1, 1, 1)


def test_a_folder_means_the_files_in_it(tmp_path: Path) -> None:
    written(tmp_path, image_job("b"), name="b.yml")
    written(tmp_path, image_job("a"), name="a.yaml")
    (tmp_path / "notes.txt").write_text("no YAML: [")
    assert [job.metadata.name for job in load_documents([tmp_path]).jobs] == ["a", "b"]


def test_objects_of_other_groups_are_set_aside_with_a_note(tmp_path: Path) -> None:
    others = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "team-a"}, "anything": 1},
    ]
    path = written(tmp_path, *others, image_job())
    documents = load_documents([path])
    assert len(documents.jobs) == 1
    assert documents.ignored == [
        f"{path}:1: Namespace team-a is for kubectl; imagejob leaves it alone",
        f"{path}:6: Deployment team-a/web is for kubectl; imagejob leaves it alone",
    ]


def test_what_kubectl_get_prints_can_be_applied_again(tmp_path: Path) -> None:
    value = image_job()
    value["metadata"] |= {
        "creationTimestamp": "2026-05-04T10:00:00Z",
        "generation": 3,
        "resourceVersion": "812",
        "uid": "3c9f",
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    }
    value["status"] = {"observedGeneration": 3, "phase": "Running", "images": {"total": 10, "succeeded": 4}}
    assert load_documents([written(tmp_path, value)]).jobs[0].metadata.generation == 3


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_of_the_project_are_valid(path: Path) -> None:
    documents = load_documents([path])
    missing = {missing.limit for job in documents.jobs for missing in documents.missing_limits(documents.resolve(job))}
    assert missing <= {"gpu"}, "which comes with the chart"


# --- rules between fields ---


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_broken_rule_is_told_with_the_words_of_the_crd(tmp_path: Path, broken: Broken) -> None:
    found = problem(written(tmp_path, broken.object))
    assert (found.path, found.message, found.fix) == (broken.path, broken.message, "")


# --- one field ---


@pytest.mark.parametrize(
    ("text", "path", "value", "message", "fix"),
    [
        ("  paralellism: 4", "spec.paralellism", None, "there is no such field", "did you mean parallelism?"),
        ("  chunk_size: 4", "spec.chunk_size", None, "there is no such field", "did you mean chunkSize?"),
        ("  maxFailureRate: 1", "spec.maxFailureRate", None, "there is no such field here", "maxFailureRate belongs below failurePolicy"),
        (
            "  gpu: {vendor: x}",
            "spec.gpu.vendor",
            None,
            "there is no such field",
            "fields here are sharing, resourceName, count, claimName, runtimeClassName",
        ),
        ("  parallelism: 0", "spec.parallelism", "0", "must be at least 1", ""),
        ("  parallelism: 20000", "spec.parallelism", "20000", "must be at most 10,000", ""),
        ("  parallelism: 1.5", "spec.parallelism", "1.5", "must be a whole number", ""),
        ('  parallelism: "4"', "spec.parallelism", '"4"', "must be a whole number", "remove the quotes: 4"),
        ("  parallelism: four", "spec.parallelism", '"four"', "must be a whole number", ""),
        ("  parallelism: [4]", "spec.parallelism", "[4]", "must be a whole number", ""),
        ('  suspend: "true"', "spec.suspend", '"true"', "must be true or false", "remove the quotes: true"),
        ("  suspend: 1", "spec.suspend", "1", "must be true or false", ""),
        ("  failurePolicy: {maxFailureRate: 3%}", "spec.failurePolicy.maxFailureRate", '"3%"', "must be a number", ""),
        (
            '  failurePolicy: {maxFailureRate: "0.1"}',
            "spec.failurePolicy.maxFailureRate",
            '"0.1"',
            "must be a number",
            "remove the quotes: 0.1",
        ),
        ("  failurePolicy: {maxFailureRate: 5}", "spec.failurePolicy.maxFailureRate", "5", "must be at most 1.0", ""),
        (
            "  failurePolicy: 5",
            "spec.failurePolicy",
            "5",
            "must be a mapping of fields",
            "its fields are maxFailureRate, maxFailures, backoffLimitPerShard, retryFailed",
        ),
        ("  gpu: {sharing: devise}", "spec.gpu.sharing", '"devise"', "must be one of device, claim, none", "did you mean device?"),
        ("  gpu: {sharing: no}", "spec.gpu.sharing", "false", "must be one of device, claim, none", ""),
        (
            "  template: {nodeSelector: {gpu: yes}}",
            "spec.template.nodeSelector.gpu",
            "true",
            "must be text",
            'YAML reads yes without quotes as true; write "yes"',
        ),
        (
            "  template: {env: [{name: A, value: 010}]}",
            "spec.template.env[0].value",
            "8",
            "must be text",
            'YAML reads 010 without quotes as a number; write "010"',
        ),
        (
            "  template: {nodeSelector: {example.com/zone: 1}}",
            'spec.template.nodeSelector["example.com/zone"]',
            "1",
            "must be text",
            'YAML reads 1 without quotes as a number; write "1"',
        ),
        (
            "  template: {tolerations: {key: a}}",
            "spec.template.tolerations",
            '{"key": "a"}',
            "must be a list",
            "begin each entry on a line of its own with a dash",
        ),
        ("  template: {nodeSelector: [a]}", "spec.template.nodeSelector", '["a"]', "must be a mapping of names to values", ""),
        (
            "  template: {env: [{value: a}]}",
            "spec.template.env[0].name",
            None,
            "is required but not there",
            "add name: Name of the variable.",
        ),
        (
            "  template: {env: [{name: A}, {name: A}]}",
            "spec.template.env",
            None,
            "the name A stands more than once; give each entry its own",
            "",
        ),
        ("  template: {image: ''}", "spec.template.image", '""', "must not be empty", ""),
        (
            f"  template: {{image: {'x' * 1025}}}",
            "spec.template.image",
            '"' + "x" * 58 + "…",
            "must have at most 1,024 characters",
            "",
        ),
        (
            "  template: {resources: {limits: {cpu: 0.5}}}",
            "spec.template.resources.limits.cpu",
            "0.5",
            'must be a quantity such as 2, 500m or 4Gi; put it in quotes: "0.5"',
            "",
        ),
        (
            "  template: {resources: {limits: {cpu: two}}}",
            "spec.template.resources.limits.cpu",
            '"two"',
            "must be a quantity such as 2, 500m or 4Gi",
            "",
        ),
    ],
)
def test_a_mistake_in_one_field(tmp_path: Path, text: str, path: str, value: str | None, message: str, fix: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(job_with(text))
    found = problem(file)
    assert (found.path, found.value, found.message, found.fix) == (path, value, message, fix)
    assert (found.file, found.document, found.line) == (str(file), "document 1, ImageJob flowers", LINE)


@pytest.mark.parametrize(
    ("spec", "path", "message", "fix"),
    [
        (
            [step("Save", save={})],
            "spec.steps[0].name",
            "must be lower-case letters, digits and dashes, beginning and ending with a letter or digit",
            "",
        ),
        ([step("a", save={}), step("a", call=CALL)], "spec.steps", "the name a stands more than once; give each entry its own", ""),
        ([step("a", save=None)], "spec.steps[0]", "save is empty, and Kubernetes drops empty fields; write save: {}", ""),
        (
            [step("a", call=CALL, limits=[{"name": "gpu"}, {"name": "gpu"}])],
            "spec.steps[0].limits",
            "the name gpu stands more than once; give each entry its own",
            "",
        ),
        (
            [step("a", download={}), step("b", infer={"model": {"architecture": "a:b", "sha256": "abc"}})],
            "spec.steps[1].infer.model.sha256",
            "must be 64 lower-case hexadecimal digits",
            "write what `sha256sum` prints for the file",
        ),
        ([step("a", call={"function": "f"})], "spec.steps[0].call.function", "must be an import path such as package.module:function", ""),
        (
            [step("a", download={}), step("b", transform={"decode": {"background": "white"}})],
            "spec.steps[1].transform.decode.background",
            "must be a colour such as #ffffff",
            "",
        ),
        (
            [step("a", download={}), step("b", infer=infer(device="gpu"))],
            "spec.steps[1].infer.device",
            "must be auto, cpu, cuda or a numbered one such as cuda:0",
            "",
        ),
        (
            [step("a", download={}), step("b", infer=infer(preprocess={"normalize": {"mean": [0, 0]}}))],
            "spec.steps[1].infer.preprocess.normalize.mean",
            "must have 3 entries or more, and has 2",
            "",
        ),
        (
            [step("a", download={}), step("b", infer=infer(preprocess={"cropFraction": 0}))],
            "spec.steps[1].infer.preprocess.cropFraction",
            "must be more than 0.0",
            "",
        ),
        (
            [step("a", download={}), step("b", infer=infer(preprocess={"normalize": {"scale": float("inf")}}))],
            "spec.steps[1].infer.preprocess.normalize.scale",
            "must be a finite number",
            "",
        ),
        ([step(f"s{number}", call=CALL) for number in range(33)], "spec.steps", "must have 32 entries or fewer, and has 33", ""),
    ],
)
def test_a_mistake_in_a_pipeline(tmp_path: Path, spec: list[Json], path: str, message: str, fix: str) -> None:
    found = problem(written(tmp_path, image_pipeline(*spec)))
    assert (found.path, found.message, found.fix) == (path, message, fix)


@pytest.mark.parametrize(
    ("urls", "path"),
    [
        ([{"url": "a.jpg"}, {"url": "b.jpg"}, {"url": "a.jpg"}], "spec.source.urls[2]"),
        ([{"url": "b.jpg"}, {"url": "a.jpg", "id": "x"}, {"url": "c.jpg", "id": "x"}], "spec.source.urls[2]"),
        ([{"url": "a.jpg"}, {"url": "b.jpg", "id": "a.jpg"}], "spec.source.urls[1]"),
    ],
)
def test_one_input_twice(tmp_path: Path, urls: list[Json], path: str) -> None:
    found = problem(written(tmp_path, image_job(source={"urls": urls})))
    first = 1 if "x" in str(urls) else 0
    assert (found.path, found.value) == (path, None)
    assert found.message == f"has the same id as urls[{first}] (the URL, unless id is set); give one another id, or remove it"
    assert found.line is not None


def test_names_of_objects(tmp_path: Path) -> None:
    found = problem(written(tmp_path, image_job("x" * 53)))
    assert (found.path, found.message) == ("metadata.name", "must have at most 52 characters")
    found = problem(written(tmp_path, node_limit("a.b")))
    assert (found.path, found.value) == ("metadata.name", '"a.b"')
    found = problem(written(tmp_path, image_pipeline(name="A.b")))
    assert found.message == "must be lower-case letters, digits, dashes and dots, each part beginning and ending with a letter or digit"


def test_a_typo_in_metadata(tmp_path: Path) -> None:
    value = image_job()
    value["metadata"]["lables"] = {"a": "b"}
    found = problem(written(tmp_path, value))
    assert (found.path, found.fix) == ("metadata.lables", "did you mean labels?")


# --- documents ---


@pytest.mark.parametrize(
    ("text", "path", "message", "fix", "value"),
    [
        ("kind: ImageJob", "apiVersion", "is required but not there", "write apiVersion: imagejob.dev/v1alpha1", None),
        ("apiVersion: imagejob.dev/v1alpha1", "kind", "is required but not there", "write kind: ImageJob", None),
        ("{apiVersion: imagejob.dev/v1alpha1, kind: 5}", "kind", "must be text", "write kind: ImageJob", "5"),
        ("- a\n- b", "", "an object must be a mapping of fields that begins with apiVersion and kind", "", '["a", "b"]'),
        (
            "{apiVersion: imagejob.dev/v1, kind: ImageJob}",
            "apiVersion",
            "ImageJob must have imagejob.dev/v1alpha1",
            "write apiVersion: imagejob.dev/v1alpha1",
            '"imagejob.dev/v1"',
        ),
        (
            "{apiVersion: imagejobs.dev/v1alpha1, kind: NodeLimit}",
            "apiVersion",
            "NodeLimit must have imagejob.dev/v1alpha1",
            "write apiVersion: imagejob.dev/v1alpha1",
            '"imagejobs.dev/v1alpha1"',
        ),
        (
            "{apiVersion: imagejob.dev/v1alpha1, kind: imagejob}",
            "kind",
            "must be one of ImageJob, ImagePipeline, NodeLimit",
            "did you mean ImageJob?",
            '"imagejob"',
        ),
        (
            "{apiVersion: imagejob.dev/v1alpha1, kind: CronTab}",
            "kind",
            "must be one of ImageJob, ImagePipeline, NodeLimit",
            "",
            '"CronTab"',
        ),
        (
            "{apiVersion: v1, kind: List, items: [5]}",
            "items[0]",
            "an object must be a mapping of fields that begins with apiVersion and kind",
            "",
            "5",
        ),
    ],
)
def test_what_is_no_object_of_ours(tmp_path: Path, text: str, path: str, message: str, fix: str, value: str | None) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    found = problem(file)
    assert (found.path, found.message, found.fix, found.value) == (path, message, fix, value)


def test_an_object_twice(tmp_path: Path) -> None:
    first = written(tmp_path, image_job(), name="first.yaml")
    second = written(tmp_path, node_limit(), image_job(), name="second.yaml")
    found = problem(first, second)
    assert found.message == f"ImageJob default/flowers was defined already at {first}:1"
    assert found.fix == "rename one of them, or remove it"
    assert (found.file, found.document) == (str(second), "document 2, ImageJob flowers")


def test_the_same_name_in_two_namespaces_is_two_objects(tmp_path: Path) -> None:
    other = image_job()
    other["metadata"]["namespace"] = "team-a"
    assert len(load_documents([written(tmp_path, image_job(), other)]).jobs) == 2


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n---\n"])
def test_an_empty_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    assert problem(file) == Problem(str(file), "holds no object", "write an ImageJob into it; examples/imagejob.yaml is one")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    binary = tmp_path / "photo.yaml"
    binary.write_bytes(b"\xff\xd8\xff\xe0")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert problems(missing, binary, empty) == (
        Problem(str(missing), "cannot be read: No such file or directory", "check the path"),
        Problem(str(binary), "not UTF-8 text: byte 0 cannot be read", "save it as UTF-8"),
        Problem(str(empty), "this folder holds no .yaml, .yml or .json file", "name the file"),
    )


def test_a_syntax_error_names_file_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("kind: ImageJob\nspec: [1, 2\nmetadata: {}\n")
    found = problem(file)
    assert (found.file, found.line) == (str(file), 3)
    assert "(line 3, column 9)" in found.message


def test_a_key_twice_names_both_lines(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(job_with("  shards: 2\n  priority: 1\n  shards: 3"))
    found = problem(file)
    assert (found.path, found.line, found.message) == ("spec", LINE + 2, f"the key shards stands twice, on lines {LINE} and {LINE + 2}")


def test_every_mistake_of_every_file_is_told_at_once_in_order(tmp_path: Path) -> None:
    first = tmp_path / "first.yaml"
    first.write_text(job_with("  unknown: 1\n  shards: 0\n  priority: a") + "---\nkind: ImageJob\n")
    second = written(tmp_path, node_limit(slots=-1), name="second.yaml")
    found = problems(first, second)
    assert [(each.file, each.line, each.path) for each in found] == [
        (str(first), LINE, "spec.unknown"),
        (str(first), LINE + 1, "spec.shards"),
        (str(first), LINE + 2, "spec.priority"),
        (str(first), LINE + 4, "apiVersion"),
        (str(second), 6, "spec.slots"),
    ]


def test_how_it_reads_on_a_terminal() -> None:
    first = Problem("job.yaml", "must be at least 1", document="document 1, ImageJob flowers", path="spec.shards", value="0", line=8)
    second = Problem("job.yaml", "holds no object", "write an ImageJob into it")
    assert str(InvalidFileError([first])) == "job.yaml:8 (document 1, ImageJob flowers)\n  spec.shards: must be at least 1, not 0"
    assert str(InvalidFileError([first, second])) == (
        "job.yaml:8 (document 1, ImageJob flowers)\n  spec.shards: must be at least 1, not 0\n"
        "job.yaml\n  holds no object\n  fix: write an ImageJob into it\n2 problems"
    )


# --- references ---


def test_an_inline_pipeline_is_its_own(tmp_path: Path) -> None:
    documents = load_documents([written(tmp_path, VALID["job with everything"])])
    assert documents.resolve(documents.jobs[0]) is documents.jobs[0].spec.pipeline


@pytest.mark.parametrize(
    ("name", "namespace", "message", "fix"),
    [
        ("clasify", None, "there is no ImagePipeline clasify in namespace default in the files", "did you mean classify?"),
        (
            "segment",
            None,
            "there is no ImagePipeline segment in namespace default in the files",
            "add the ImagePipeline to the file, or name its file with another -f",
        ),
        (
            "classify",
            "team-a",
            "there is no ImagePipeline classify in namespace team-a in the files",
            "there is one in namespace default; a reference stays in its own namespace, so give both the same",
        ),
    ],
)
def test_a_reference_to_a_pipeline_that_is_not_there(tmp_path: Path, name: str, namespace: str | None, message: str, fix: str) -> None:
    job = image_job(pipelineRef={"name": name})
    if namespace:
        job["metadata"]["namespace"] = namespace
    path = written(tmp_path, image_pipeline(), job)
    documents = load_documents([path])
    with pytest.raises(InvalidFileError) as caught:
        documents.resolve(documents.jobs[0])
    (found,) = caught.value.problems
    assert (found.file, found.path, found.message, found.fix) == (str(path), "spec.pipelineRef.name", message, fix)
    assert found.document.startswith("document 2, ImageJob")


def test_limits_that_no_document_defines(tmp_path: Path) -> None:
    steps = [
        step("a", call=CALL, limits=[{"name": "gpu"}, {"name": "gpus"}]),
        step("b", call=CALL, limits=[{"name": "licence"}]),
    ]
    documents = load_documents([written(tmp_path, image_pipeline(*steps), node_limit())])
    missing = documents.missing_limits(documents.pipelines["default", "classify"].spec)
    assert [(each.step, each.limit, each.nearest) for each in missing] == [("a", "gpus", "gpu"), ("b", "licence", None)]
    assert [str(each) for each in missing] == [
        "step a takes the limit gpus, and no NodeLimit of that name is in the files; did you mean gpu?",
        "step b takes the limit licence, and no NodeLimit of that name is in the files",
    ]
