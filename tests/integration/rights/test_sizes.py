"""How long the API server lets an ImageJob be, by the chart's policy and by its own schema."""

import json
from typing import Any

import pytest

from imagejob_api.constants import MAX_INLINE_URLS, MAX_OBJECT_CHARACTERS
from tests.cluster.exceptions import CommandError
from tests.integration.rights.conftest import JOBS, Installed
from tests.unit.api.objects import image_job, image_pipeline, infer, step

pytestmark = pytest.mark.integration

Json = dict[str, Any]


def job(name: str, *, notes: int = 0, **spec: object) -> Json:
    made = image_job(name, **spec)
    made["metadata"] |= {"namespace": JOBS, "annotations": {"notes": "x" * notes}}
    return made


def urls(length: int) -> Json:
    return {"urls": [{"url": f"https://photos.example/{number:04}".ljust(length, "x")} for number in range(MAX_INLINE_URLS)]}


def said(installed: Installed, verb: str, *objects: Json, flags: tuple[str, ...] = ()) -> str:
    """What an administrator is told who is refused; empty if all is taken."""
    try:
        installed.plane.kubectl(verb, *flags, "-f", "-", stdin="\n---\n".join(map(json.dumps, objects)))
    except CommandError as error:
        return str(error)
    return ""


def test_a_thousand_urls_fit_and_what_is_longer_than_it_may_be_does_not(installed: Installed) -> None:
    dry = ("--dry-run=server",)
    assert said(installed, "create", job("urls", source=urls(160)), flags=dry) == ""
    assert said(installed, "apply", job("applied", source=urls(80)), flags=dry) == "", "with its copy in an annotation"
    twice = said(installed, "apply", job("applied", source=urls(120)), flags=dry)
    assert "an ImageJob may have 204,800 characters with its labels and annotations" in twice
    assert "use kubectl apply --server-side" in twice
    assert "163,840 characters together" in said(installed, "create", job("urls", source=urls(170)), flags=dry)
    annotated = said(installed, "create", job("notes", notes=MAX_OBJECT_CHARACTERS), flags=dry)
    assert "and this one has 20" in annotated
    assert "put its URLs into a manifest" in annotated
    arguments = {"arguments": {"text": "x" * MAX_OBJECT_CHARACTERS}, "function": "functions:look"}
    assert "204,800" in said(
        installed, "create", job("arguments", pipelineRef=None, pipeline={"steps": [step("a", call=arguments)]}), flags=dry
    )
    names = image_pipeline(step("download", download={}), step("infer", infer=infer(labelNames=["n" * 25] * 10_000)))
    assert "an ImagePipeline may have 204,800 characters" in said(installed, "create", names, flags=dry)


def test_what_was_longer_before_may_be_changed_and_may_not_grow(installed: Installed) -> None:
    kubectl = installed.plane.kubectl
    unbound = '{"spec":{"validationActions":["Audit"]}}'
    kubectl("patch", "validatingadmissionpolicybinding", "imagejob-sizes", "--type=merge", "-p", unbound)
    try:
        deadline = 100
        while said(installed, "create", job("long", notes=MAX_OBJECT_CHARACTERS)):
            deadline -= 1
            assert deadline, "the policy holds all the same"
    finally:
        kubectl("patch", "validatingadmissionpolicybinding", "imagejob-sizes", "--type=merge", "-p", unbound.replace("Audit", "Deny"))
    deadline = 100
    while not said(installed, "create", job("other", notes=MAX_OBJECT_CHARACTERS), flags=("--dry-run=server",)):
        deadline -= 1
        assert deadline, "the policy does not hold again"

    def change(**changed: Json) -> None:
        flags = (f"--namespace={JOBS}", "--type=merge", "--patch-file=/dev/stdin")
        kubectl("patch", "imagejob", "long", *flags, stdin=json.dumps(changed))

    change(spec={"suspend": True}, metadata={"annotations": {"notes": "x" * (MAX_OBJECT_CHARACTERS - 50)}})
    with pytest.raises(CommandError, match="204,800 characters"):
        change(metadata={"annotations": {"notes": "x" * (MAX_OBJECT_CHARACTERS + 100)}})
    change(metadata={"annotations": {"notes": None}})
    kubectl("delete", "imagejob", "long", f"--namespace={JOBS}")
