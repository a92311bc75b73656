"""Objects that the tests of the API start from, and for each rule one that breaks it and nothing else.

The table is data so that the same objects can be sent to a real API server.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

API_VERSION = "imagejob.dev/v1alpha1"


def step(name: str, **kind: object) -> Json:
    return {"name": name, **kind}


def infer(**fields: object) -> Json:
    return {"model": {"architecture": "nets:small"}, **fields}


def pipeline(*steps: Json) -> Json:
    return {"steps": list(steps) or [step("download", download={}), step("infer", infer=infer()), step("save", save={})]}


def image_pipeline(*steps: Json, name: str = "classify") -> Json:
    return {"apiVersion": API_VERSION, "kind": "ImagePipeline", "metadata": {"name": name}, "spec": pipeline(*steps)}


def image_job(name: str = "flowers", **spec: object) -> Json:
    complete = {
        "source": {"prefix": {"url": "s3://photos/flowers/"}},
        "pipelineRef": {"name": "classify"},
        "output": {"url": "s3://results/flowers"},
        **spec,
    }
    given = {key: value for key, value in complete.items() if value is not None}
    return {"apiVersion": API_VERSION, "kind": "ImageJob", "metadata": {"name": name}, "spec": given}


def node_limit(name: str = "gpu", **spec: object) -> Json:
    return {"apiVersion": API_VERSION, "kind": "NodeLimit", "metadata": {"name": name}, "spec": spec or {"slots": 2}}


def transform(**operation: object) -> Json:
    return image_pipeline(step("download", download={}), step("transform", transform={"operations": [operation]}))


def volume(**kinds: object) -> Json:
    return image_job(template={"volumes": [{"name": "data", **kinds}]})


@dataclass(frozen=True)
class Broken:
    """An object that breaks one rule."""

    name: str
    object: Json
    path: str
    """The field that the message points to, from a file and from an API server alike."""
    message: str


SCHEMES = "must be a path, or a URL that begins with file://, http://, https://, s3://, gs://, az:// or pkg://"
DURATION = "must be a duration of whole numbers with h, m, s or ms, such as 500ms, 30s or 1h30m"
NETWORK = "must be a network such as 10.0.0.0/8, with no bits set after the prefix"
KIND = "exactly one of download, transform, infer, call, save must be set"
VOLUME = "exactly one of persistentVolumeClaim, configMap, secret, emptyDir, ephemeral, csi, projected, downwardAPI must be set"

BROKEN = [
    Broken("no source", image_job(source={}), "spec.source", "exactly one of urls, manifest, prefix must be set"),
    Broken(
        "two sources",
        image_job(source={"prefix": {"url": "./photos"}, "manifest": {"url": "list.csv"}}),
        "spec.source",
        "exactly one of urls, manifest, prefix must be set",
    ),
    Broken("source scheme", image_job(source={"prefix": {"url": "ftp://photos/x"}}), "spec.source.prefix.url", SCHEMES),
    Broken("manifest scheme", image_job(source={"manifest": {"url": "ftp://list.csv"}}), "spec.source.manifest.url", SCHEMES),
    Broken(
        "long inline urls",
        image_job(source={"urls": [{"id": str(index), "url": f"https://photos.example/{'x' * 4000}"} for index in range(41)]}),
        "spec.source.urls",
        "urls may have 163,840 characters together, ids included; put them into a manifest",
    ),
    Broken(
        "allowed scheme",
        image_job(source={"manifest": {"url": "s3://b/list.csv", "allowedSources": ["s3://c/", "ftp://d"]}}),
        "spec.source.manifest.allowedSources[1]",
        SCHEMES,
    ),
    Broken("inline scheme", image_job(source={"urls": [{"url": "a.jpg"}, {"url": "htp://b.jpg"}]}), "spec.source.urls[1].url", SCHEMES),
    Broken(
        "output scheme",
        image_job(output={"url": "https://results"}),
        "spec.output.url",
        "must be a path, or a URL that begins with file://, s3://, gs:// or az://",
    ),
    Broken("no pipeline", image_job(pipelineRef=None), "spec", "exactly one of pipelineRef, pipeline must be set"),
    Broken("two pipelines", image_job(pipeline=pipeline()), "spec", "exactly one of pipelineRef, pipeline must be set"),
    Broken(
        "claim not named",
        image_job(gpu={"sharing": "claim"}),
        "spec.gpu",
        "claimName goes with sharing: claim, and sharing: claim needs it",
    ),
    Broken(
        "claim not used", image_job(gpu={"claimName": "a"}), "spec.gpu", "claimName goes with sharing: claim, and sharing: claim needs it"
    ),
    Broken(
        "hostPath",
        volume(hostPath={"path": "/"}, emptyDir={}),
        "spec.template.volumes[0].hostPath",
        "hostPath is not allowed; use a persistentVolumeClaim, a configMap or an emptyDir",
    ),
    Broken("volume of no kind", volume(), "spec.template.volumes[0]", VOLUME),
    Broken("volume of two kinds", volume(emptyDir={}, downwardAPI={"items": []}), "spec.template.volumes[0]", VOLUME),
    Broken(
        "value twice",
        image_job(template={"env": [{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]}),
        "spec.template.env[0]",
        "set value or valueFrom, not both",
    ),
    Broken("step of no kind", image_pipeline(step("a")), "spec.steps[0]", KIND),
    Broken("step of two kinds", image_pipeline(step("a", call={"function": "m:f"}, save={})), "spec.steps[0]", KIND),
    Broken(
        "save first",
        image_pipeline(step("a", save={}), step("b", call={"function": "m:f"})),
        "spec.steps",
        "save must stand once at most, and last",
    ),
    Broken("save twice", image_pipeline(step("a", save={}), step("b", save={})), "spec.steps", "save must stand once at most, and last"),
    Broken(
        "transform of nothing",
        image_pipeline(step("a", transform={}), step("b", download={})),
        "spec.steps",
        "transform needs a download before it, or a call that sets item.data",
    ),
    Broken(
        "inference on nothing",
        image_pipeline(step("a", infer=infer())),
        "spec.steps",
        "infer needs a download or a transform before it, or a call that sets item.data",
    ),
    Broken("duration", image_pipeline(step("a", call={"function": "m:f"}, timeout="1.5s")), "spec.steps[0].timeout", DURATION),
    Broken("no duration", image_pipeline(step("a", call={"function": "m:f"}, timeout="")), "spec.steps[0].timeout", DURATION),
    Broken(
        "hold",
        image_pipeline(step("a", call={"function": "m:f"}, limits=[{"name": "gpu", "hold": "5"}])),
        "spec.steps[0].limits[0].hold",
        DURATION,
    ),
    Broken(
        "backoff",
        image_pipeline(step("a", call={"function": "m:f"}, retries={"backoff": "1"})),
        "spec.steps[0].retries.backoff",
        DURATION,
    ),
    Broken(
        "longest backoff",
        image_pipeline(step("a", call={"function": "m:f"}, retries={"maxBackoff": "1d"})),
        "spec.steps[0].retries.maxBackoff",
        DURATION,
    ),
    Broken(
        "network",
        image_pipeline(step("a", download={"allowedNetworks": ["10.0.0.1/8"]})),
        "spec.steps[0].download.allowedNetworks[0]",
        NETWORK,
    ),
    Broken(
        "address, not network",
        image_pipeline(step("a", download={"allowedNetworks": ["10.0.0.1"]})),
        "spec.steps[0].download.allowedNetworks[0]",
        NETWORK,
    ),
    Broken(
        "resize to one side",
        transform(resize={"width": 10}),
        "spec.steps[1].transform.operations[0].resize",
        "set width and height together, or shorter alone",
    ),
    Broken(
        "resize both ways",
        transform(resize={"width": 10, "height": 10, "shorter": 10}),
        "spec.steps[1].transform.operations[0].resize",
        "set width and height together, or shorter alone",
    ),
    Broken(
        "two operations in one",
        transform(crop={"width": 1, "height": 1}, thumbnail={"width": 1, "height": 1}),
        "spec.steps[1].transform.operations[0]",
        "exactly one of resize, crop, thumbnail must be set",
    ),
    Broken(
        "zero std",
        image_pipeline(step("a", download={}), step("b", infer=infer(preprocess={"normalize": {"std": [1, 0, 1]}}))),
        "spec.steps[1].infer.preprocess.normalize.std",
        "std must not contain zero",
    ),
    Broken(
        "no model",
        image_pipeline(step("a", download={}), step("b", infer={"model": {"weights": "w.safetensors"}})),
        "spec.steps[1].infer.model",
        "exactly one of architecture (with weights) and program must be set",
    ),
    Broken(
        "program without digest",
        image_pipeline(step("a", download={}), step("b", infer={"model": {"program": "m.pt2"}})),
        "spec.steps[1].infer.model",
        "program needs sha256: an exported program can run code, so its digest must be known",
    ),
    Broken(
        "program with weights",
        image_pipeline(step("a", download={}), step("b", infer={"model": {"program": "m.pt2", "sha256": "0" * 64, "weights": "w"}})),
        "spec.steps[1].infer.model",
        "weights go with architecture, not with program",
    ),
    Broken(
        "weights scheme",
        image_pipeline(step("a", download={}), step("b", infer={"model": {"architecture": "a:b", "weights": "ftp://w.pt"}})),
        "spec.steps[1].infer.model.weights",
        SCHEMES,
    ),
    Broken(
        "program scheme",
        image_pipeline(step("a", download={}), step("b", infer={"model": {"program": "ftp://m.pt2", "sha256": "0" * 64}})),
        "spec.steps[1].infer.model.program",
        SCHEMES,
    ),
    Broken(
        "labels twice",
        image_pipeline(step("a", download={}), step("b", infer=infer(labels="imagenet-1k", labelNames=["cat"]))),
        "spec.steps[1].infer",
        "set labels or labelNames, not both",
    ),
    Broken(
        "no outputs",
        image_pipeline(step("a", download={}), step("b", infer=infer(outputs={"tensor": False}))),
        "spec.steps[1].infer.outputs",
        "exactly one of topK, embedding, tensor must be set",
    ),
    Broken("no slots", node_limit(active=True), "spec", "exactly one of slots, slotsPerDevice must be set"),
    Broken(
        "hold of no unit",
        node_limit(slots=1, maxHold="60"),
        "spec.maxHold",
        "must be a duration of whole numbers with h, m, s or ms, such as 500ms, 30s or 1h30m",
    ),
    Broken("slots twice", node_limit(slots=1, slotsPerDevice=1), "spec", "exactly one of slots, slotsPerDevice must be set"),
]
BROKEN += [
    Broken(
        f"{broken.name}, inline",
        image_job(pipelineRef=None, pipeline=broken.object["spec"]),
        broken.path.replace("spec", "spec.pipeline", 1),
        broken.message,
    )
    for broken in BROKEN
    if broken.object["kind"] == "ImagePipeline"
]

VALID = {
    "job": image_job(),
    "job with everything": image_job(
        source={"urls": [{"url": "./a.jpg"}, {"id": "b", "url": "https://example.com/b.jpg"}]},
        pipelineRef=None,
        pipeline=pipeline(),
        output={"url": "out", "format": "parquet", "ifExists": "fail"},
        parallelism=4,
        chunkSize=64,
        shards=8,
        priority=-5,
        failurePolicy={"maxFailureRate": 0, "maxFailures": 10, "backoffLimitPerShard": 0, "retryFailed": True},
        suspend=True,
        cancel=False,
        activeDeadlineSeconds=60,
        startDeadlineSeconds=60,
        ttlSecondsAfterFinished=0,
        gpu={"sharing": "claim", "claimName": "shared", "runtimeClassName": "nvidia"},
        template={
            "image": "registry.example.com/runner:1",
            "resources": {"requests": {"cpu": 2, "memory": "4Gi"}, "limits": {"cpu": "1500m"}},
            "nodeSelector": {"gpu": "yes"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "affinity": {"nodeAffinity": {"anything": [1, {"deep": None}]}},
            "env": [{"name": "A", "value": ""}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "persistentVolumeClaim": {"claimName": "c"}}],
            "volumeMounts": [{"name": "a", "mountPath": "/a", "readOnly": True}],
            "serviceAccountName": "runner",
            "imagePullSecrets": [{"name": "pull"}],
            "priorityClassName": "low",
        },
    ),
    "manifest": image_job(
        source={
            "manifest": {"url": "gs://b/list.csv", "format": "csv", "idField": "name", "urlField": "href", "allowedSources": ["s3://c/a"]}
        }
    ),
    "pipeline": image_pipeline(),
    "pipeline with everything": image_pipeline(
        step(
            "fetch",
            download={"maxBytes": 1, "maxRedirects": 0, "allowedNetworks": ["10.0.0.0/8", "fd00::/8"], "headers": {"A": "b"}},
            concurrency=2,
            timeout="1h30m",
            retries={"limit": 0, "backoff": "1ms", "maxBackoff": "0s"},
        ),
        step(
            "shape",
            transform={
                "decode": {"maxPixels": 9, "draft": False, "exifOrientation": False, "background": "#00ffAA", "frame": 3},
                "operations": [
                    {"resize": {"shorter": 10, "filter": "lanczos"}},
                    {"resize": {"width": 10, "height": 20}},
                    {"crop": {"width": 5, "height": 5}},
                    {"thumbnail": {"width": 5, "height": 5}},
                ],
            },
        ),
        step(
            "infer",
            infer={
                "model": {
                    "architecture": "a.b:c.d",
                    "arguments": {"count": 1, "deep": {"x": None}},
                    "weights": "pkg://a/b.pt",
                    "sha256": "0" * 64,
                },
                "labelNames": ["cat", "dog"],
                "preprocess": {
                    "size": 32,
                    "resize": "pad",
                    "cropFraction": 1,
                    "normalize": {"scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]},
                },
                "batchSize": 1,
                "precision": "bf16",
                "device": "cuda:0",
                "threads": 1,
                "outputs": {"embedding": "l2"},
            },
            limits=[{"name": "gpu", "slots": 2, "hold": "0s"}, {"name": "licence"}],
        ),
        step("post", call={"function": "m:f", "arguments": {"k": [1, 2]}}),
        step("save", save={"image": {"format": "webp", "quality": 1}}),
        name="with.dots",
    ),
    "program": image_pipeline(
        step("a", call={"function": "m:f"}),
        step("b", infer={"model": {"program": "m.pt2", "sha256": "f" * 64}, "labels": "imagenet-1k", "outputs": {"tensor": True}}),
    ),
    "no save": image_pipeline(step("a", call={"function": "m:f"})),
    "limit": node_limit(),
    "limit with everything": node_limit(
        slotsPerDevice=2,
        nodeSelector={"a": "b"},
        overrides=[{"node": "n1", "slots": 0}, {"node": "n2.example.com", "slots": 3}],
        leaseDurationSeconds=2,
        active=False,
    ),
    "null means unset": image_job(chunkSize=1)
    | {"spec": {**image_job()["spec"], "chunkSize": None, "shards": None, "failurePolicy": None}},
}


@dataclass(frozen=True)
class Change:
    """A change of an ImageJob that has started, or not; `message` is None if it may be made."""

    name: str
    before: Json
    after: Json
    message: str | None
    started: bool = field(default=True)


def _changed(job: Json, **spec: object) -> Json:
    after = copy.deepcopy(job)
    after["spec"].update(spec)
    after["spec"] = {key: value for key, value in after["spec"].items() if value is not None}
    return after


def fixed(field_name: str) -> str:
    return f"spec.{field_name} cannot be changed once the job has started; create another ImageJob"


_JOB = image_job(shards=2)
_CALLS = {"steps": [step("a", call={"function": "m:f", "arguments": {"x": 1}}), step("b", call={"function": "m:g"})]}
_INLINE = image_job(pipelineRef=None, pipeline=_CALLS)
_RENAMED = copy.deepcopy(_CALLS)
_RENAMED["steps"][0]["call"]["arguments"] = {"y": 1}

CHANGES = [
    Change("source", _JOB, _changed(_JOB, source={"prefix": {"url": "s3://other/"}}), fixed("source")),
    Change("source before the start", _JOB, _changed(_JOB, source={"prefix": {"url": "s3://other/"}}), None, started=False),
    Change("output", _JOB, _changed(_JOB, output={"url": "s3://other"}), fixed("output")),
    Change("chunk size", _JOB, _changed(_JOB, chunkSize=7), fixed("chunkSize")),
    Change("shards", _JOB, _changed(_JOB, shards=3), fixed("shards")),
    Change("shards taken away", _JOB, _changed(_JOB, shards=None), fixed("shards")),
    Change("pipeline's name", _JOB, _changed(_JOB, pipelineRef={"name": "other"}), fixed("pipelineRef")),
    Change("pipeline", _INLINE, _changed(_INLINE, pipeline=pipeline()), fixed("pipeline")),
    Change("order of steps", _INLINE, _changed(_INLINE, pipeline={"steps": _CALLS["steps"][::-1]}), fixed("pipeline")),
    Change("name of an argument", _INLINE, _changed(_INLINE, pipeline=_RENAMED), fixed("pipeline")),
    Change("parallelism", _JOB, _changed(_JOB, parallelism=7, suspend=True, priority=3), None),
    Change("cancel", _JOB, _changed(_JOB, cancel=True), None),
    Change(
        "cancel taken back",
        _changed(_JOB, cancel=True),
        _JOB,
        "cancel cannot be taken back; another ImageJob with the same output goes on where this one stopped",
        started=False,
    ),
]
