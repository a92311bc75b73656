import json
from http import HTTPStatus

import pytest

from imagejob_cli.cluster.exceptions import (
    ClusterError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    NotFoundError,
    NotInstalledError,
    RefusedError,
    UnauthorizedError,
    UnreachableError,
)
from imagejob_cli.cluster.kubeconfig import Target
from imagejob_cli.cluster.request import Request, refusal
from imagejob_cli.cluster.resources import IMAGE_JOB, LEASE, NODE_LIMIT, POD, Resource

TARGET = Target((), "kind", "team")
GET = Request("get", IMAGE_JOB, "team", "demo")


def answer(message: str, **details: str) -> bytes:
    return json.dumps({"kind": "Status", "message": message, "details": details}).encode()


@pytest.mark.parametrize(
    ("code", "body", "kind", "exit_code"),
    [
        (401, answer("Unauthorized"), UnauthorizedError, 3),
        (403, answer("no"), ForbiddenError, 3),
        (404, b"404 page not found\n", NotInstalledError, 3),
        (404, answer('imagejobs "demo" not found', name="demo"), NotFoundError, 2),
        (409, answer("conflict"), ConflictError, 3),
        (410, answer("too old"), ExpiredError, 3),
        (422, answer("spec.source is required"), RefusedError, 2),
        (429, answer("slow down"), UnreachableError, 3),
        (503, b"<html>no backend</html>", UnreachableError, 3),
        (599, b"", UnreachableError, 3),
        (418, b"", RefusedError, 2),
    ],
)
def test_what_an_answer_means(code: int, body: bytes, kind: type[ClusterError], exit_code: int) -> None:
    error = refusal(GET, code, body, TARGET)
    assert type(error) is kind
    assert error.exit_code == exit_code
    assert error.message


@pytest.mark.parametrize(
    ("request_", "hint"),
    [
        (
            Request("list", IMAGE_JOB, "team"),
            "ada may not list imagejobs.imagejob.dev in namespace team. Ask for the role imagejob-viewer.",
        ),
        (Request("patch", IMAGE_JOB, "team", "demo"), "in namespace team. Ask for the role imagejob-editor."),
        (
            Request("list", LEASE, None),
            "leases.coordination.k8s.io in all namespaces. Ask for the role imagejob-lease-viewer, bound cluster-wide.",
        ),
        (Request("list", LEASE, "ops"), "leases.coordination.k8s.io in namespace ops. Ask for the role imagejob-lease-viewer there."),
        (Request("list", NODE_LIMIT), "(they are in no namespace). Ask for the role imagejob-viewer, bound cluster-wide."),
        (Request("list", IMAGE_JOB), "in all namespaces. Ask for the role imagejob-viewer, bound cluster-wide."),
        (Request("patch", NODE_LIMIT, None, "gpu"), "(they are in no namespace). Ask whoever runs the cluster for it."),
        (
            Request("get", POD, "team", "demo-0-x", "log"),
            "ada may not get pods/log in namespace team. Ask whoever runs the cluster for it.",
        ),
    ],
)
def test_the_missing_right_is_named(request_: Request, hint: str) -> None:
    body = answer('imagejobs.imagejob.dev is forbidden: User "ada" cannot list resource "imagejobs"')
    assert refusal(request_, HTTPStatus.FORBIDDEN, body, TARGET).message.endswith(hint)


def test_a_refusal_by_admission_keeps_its_words() -> None:
    body = answer("ValidatingAdmissionPolicy 'x' denied request: not your node")
    assert "not your node" in refusal(GET, HTTPStatus.FORBIDDEN, body, TARGET).message


def test_a_namespace_that_is_not_there() -> None:
    body = answer('namespaces "team" not found', name="team", kind="namespaces")
    assert refusal(GET, HTTPStatus.NOT_FOUND, body, TARGET).message == "there is no namespace team"


@pytest.mark.parametrize(
    ("resource", "namespace", "name", "path"),
    [
        (IMAGE_JOB, "team", "demo", "/apis/imagejob.dev/v1alpha1/namespaces/team/imagejobs/demo"),
        (IMAGE_JOB, None, None, "/apis/imagejob.dev/v1alpha1/imagejobs"),
        (NODE_LIMIT, None, "gpu", "/apis/imagejob.dev/v1alpha1/nodelimits/gpu"),
        (POD, "team", None, "/api/v1/namespaces/team/pods"),
        (IMAGE_JOB, "../x", "a/b?c", "/apis/imagejob.dev/v1alpha1/namespaces/..%2Fx/imagejobs/a%2Fb%3Fc"),
    ],
)
def test_paths(resource: Resource, namespace: str | None, name: str | None, path: str) -> None:
    assert resource.path(namespace, name) == path
