"""The NodeLimit that an installation brings along is made once, and then belongs to the cluster."""

import json
from typing import Any

import pytest

from imagejob_operator.default_limit import ANNOTATION_INSTALLED, ensure_default_limit
from imagejob_operator.kubernetes import ApiUnavailableError, KubernetesApi
from imagejob_operator.settings import parse_default_limit

Json = dict[str, Any]


class Server:
    """One NodeLimit, or none, behind the API server's requests."""

    def __init__(self, stored: Json | None = None) -> None:
        self.stored = stored
        self.writes: list[tuple[str, Json]] = []
        self.answer_to_create = 201

    async def __call__(
        self, method: str, path: str, query: object, body: Json | None, content_type: str, timeout_seconds: float
    ) -> tuple[int, dict[str, str], bytes]:
        del query, content_type, timeout_seconds
        assert path.startswith("/apis/imagejob.dev/v1alpha1/nodelimits")
        if method == "GET":
            return (404, {}, b"{}") if self.stored is None else (200, {}, json.dumps(self.stored).encode())
        assert body is not None
        self.writes.append((method, body))
        return self.answer_to_create, {}, json.dumps({**body, "reason": "AlreadyExists"}).encode()


def limit(**spec: object) -> str:
    return json.dumps({"name": "gpu", "spec": spec})


async def ensured(server: Server, asked: str) -> list[tuple[str, Json]]:
    async def no_wait(_seconds: float) -> None:
        return

    await ensure_default_limit(KubernetesApi(server, sleep=no_wait), parse_default_limit(asked))
    return server.writes


async def test_it_is_made_if_there_is_none() -> None:
    ((method, body),) = await ensured(Server(), limit(slotsPerDevice=1, nodeSelector={"gpu": "yes"}))
    assert method == "POST"
    assert (body["kind"], body["metadata"]["name"]) == ("NodeLimit", "gpu")
    assert body["spec"] == {"slotsPerDevice": 1, "nodeSelector": {"gpu": "yes"}}


async def test_what_an_administrator_changed_stays() -> None:
    server = Server()
    ((_, body),) = await ensured(server, limit(slots=2))
    changed = Server({**body, "spec": {"slots": 7}})
    assert await ensured(changed, limit(slots=2)) == []


async def test_what_the_installation_asks_for_anew_replaces_the_spec() -> None:
    server = Server()
    ((_, body),) = await ensured(server, limit(slots=2, active=False))
    body["metadata"]["resourceVersion"] = "7"
    ((method, patch),) = await ensured(Server(body), limit(slotsPerDevice=1))
    assert method == "PATCH"
    assert patch["spec"] == {"slots": None, "active": None, "slotsPerDevice": 1}
    assert patch["metadata"] == {"resourceVersion": "7", "annotations": {ANNOTATION_INSTALLED: '{"slotsPerDevice":1}'}}


async def test_somebody_elses_is_left_alone() -> None:
    assert await ensured(Server({"metadata": {"name": "gpu"}, "spec": {"slots": 7}}), limit(slots=2)) == []


async def test_two_at_the_same_moment() -> None:
    server = Server()
    server.answer_to_create = 409
    assert len(await ensured(server, limit(slots=2))) == 1


async def test_it_says_that_it_could_not_be_done() -> None:
    server = Server()
    server.answer_to_create = 503
    with pytest.raises(ApiUnavailableError):
        await ensured(server, limit(slots=2))
