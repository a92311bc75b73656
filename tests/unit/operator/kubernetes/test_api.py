import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from imagejob_operator.kubernetes import (
    ApiUnavailableError,
    ConflictError,
    ExistsError,
    KubernetesApi,
    NotFoundError,
    RefusedError,
)
from imagejob_operator.kubernetes.api import ATTEMPTS, FIRST_PAGE, LARGEST_PAGE, PAGE_BYTES
from imagejob_operator.kubernetes.kinds import CONFIG_MAP, IMAGE_JOB, JOB, LEASE, NODE

Json = dict[str, Any]
Answer = tuple[int, Json, Json] | Exception


class Server:
    """Gives the answers that a test has put down, and keeps what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, Mapping[str, str], Json | None, str]] = []
        self.waited: list[float] = []
        self.api = KubernetesApi(self, sleep=self._sleep)

    async def __call__(
        self, method: str, path: str, query: Mapping[str, str], body: Json | None, content_type: str, _timeout_seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        self.asked.append((method, path, query, body, content_type))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, headers, content = answer
        return status, headers, json.dumps(content).encode()

    async def _sleep(self, seconds: float) -> None:
        self.waited.append(seconds)


def ok(content: Json) -> Answer:
    return 200, {}, content


def failure(status: int, reason: str = "", headers: Json | None = None) -> Answer:
    return status, headers or {}, {"kind": "Status", "reason": reason, "message": f"said for {status}"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (failure(404, "NotFound"), NotFoundError),
        (failure(409, "AlreadyExists"), ExistsError),
        (failure(409, "Conflict"), ConflictError),
        (failure(403, "Forbidden"), RefusedError),
        (failure(422, "Invalid"), RefusedError),
        (failure(413, "RequestEntityTooLarge"), RefusedError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_an_answer_becomes_an_error_by_what_can_be_done_about_it(answer: Answer, error: type[Exception]) -> None:
    server = Server(answer)

    with pytest.raises(error, match="said for") as raised:
        await server.api.get(JOB, "a", "team")

    assert raised.type is error
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "answer", [failure(429), failure(503), failure(500), aiohttp.ClientConnectionError("reset"), TimeoutError()], ids=repr
)
async def test_what_may_pass_is_tried_again(answer: Answer) -> None:
    server = Server(answer, answer, ok({"kind": "Job"}))

    assert await server.api.get(JOB, "a", "team") == {"kind": "Job"}
    assert len(server.waited) == 2
    assert server.waited[0] < server.waited[1]


async def test_the_server_says_how_long_to_wait() -> None:
    server = Server(failure(429, headers={"Retry-After": "3"}), failure(429, headers={"Retry-After": "3600"}), ok({}))
    await server.api.get(JOB, "a", "team")

    assert server.waited == [3.0, 10.0]


async def test_in_the_end_it_is_given_up() -> None:
    server = Server(*[failure(503)] * ATTEMPTS)

    with pytest.raises(ApiUnavailableError):
        await server.api.get(JOB, "a", "team")
    assert server.answers == []


async def test_an_answer_that_is_no_json_is_shown_as_it_is() -> None:
    async def proxy(*_: object) -> tuple[int, Mapping[str, str], bytes]:
        return 403, {}, b"<html>blocked"

    with pytest.raises(RefusedError, match="<html>blocked"):
        await KubernetesApi(proxy).get(JOB, "a", "team")


def page_of(count: int, size: int, **metadata: str) -> Answer:
    items = [{"metadata": {"name": f"{number}", "annotations": {"x": "x" * size}}} for number in range(count)]
    return ok({"items": items, "metadata": {"resourceVersion": "5", **metadata}})


async def test_a_list_is_read_page_by_page() -> None:
    pages = [
        ok({"items": [{"metadata": {"name": "a"}}], "metadata": {"continue": "more", "resourceVersion": "5"}}),
        ok({"items": [{"metadata": {"name": "b"}}], "metadata": {"resourceVersion": "5"}}),
    ]
    server = Server(*pages)

    found = [page async for page in server.api.pages(JOB, "team", label_selector="a=b")]

    assert [(each["kind"], each["apiVersion"], each["metadata"]["name"]) for page in found for each in page.items] == [
        ("Job", "batch/v1", "a"),
        ("Job", "batch/v1", "b"),
    ]
    assert [page.version for page in found] == ["5", "5"]
    assert [asked[2] for asked in server.asked] == [
        {"limit": str(FIRST_PAGE), "labelSelector": "a=b"},
        {"limit": str(LARGEST_PAGE), "labelSelector": "a=b", "continue": "more"},
    ]


async def test_a_page_has_as_many_objects_as_fit_into_a_few_megabytes() -> None:
    large = 200_000
    sizes = (large, 100 * large, 1, 1)
    pages = [page_of(2, size, **({"continue": "more"} if number < 3 else {})) for number, size in enumerate(sizes)]
    server = Server(*pages)

    assert len(await server.api.list(JOB)) == 8

    assert [int(asked[2]["limit"]) for asked in server.asked] == [FIRST_PAGE, PAGE_BYTES // large, 1, LARGEST_PAGE]


async def test_a_list_that_takes_too_long_to_be_of_one_moment_goes_on_from_where_it_is() -> None:
    gone = {"reason": "Expired", "message": "too old", "metadata": {"continue": "anew"}}
    expired = (410, {}, gone)
    server = Server(page_of(1, 1, **{"continue": "old"}), expired, page_of(1, 1))
    assert len(await server.api.list(JOB)) == 2
    assert [asked[2].get("continue") for asked in server.asked] == [None, "old", "anew"]

    hopeless = Server(page_of(1, 1, **{"continue": "old"}), expired, expired)
    with pytest.raises(RefusedError, match="too old"):
        await hopeless.api.list(JOB)


async def test_a_deletion_of_what_is_gone_is_done() -> None:
    for status, reason in ((404, "NotFound"), (409, "Conflict")):
        server = Server(failure(status, reason))
        assert await server.api.delete(JOB, "a", "team", uid="one") is None
        assert server.asked[0][3] == {"propagationPolicy": "Background", "preconditions": {"uid": "one"}}


async def test_a_deletion_tells_of_what_is_still_there() -> None:
    dying = {"kind": "Job", "metadata": {"name": "a", "deletionTimestamp": "2026-05-04T10:00:00Z"}}
    gone = {"kind": "Status", "status": "Success", "metadata": {}}
    server = Server(ok(dying), ok(gone))

    assert await server.api.delete(JOB, "a", "team", propagation="Foreground") == dying
    assert await server.api.delete(JOB, "a", "team", grace_seconds=0) is None
    assert server.asked[1][3] == {"propagationPolicy": "Background", "gracePeriodSeconds": 0}


async def test_changes_are_merge_patches() -> None:
    server = Server(ok({}))
    await server.api.patch(IMAGE_JOB, "a", "team", {"status": {"eta": None}}, subresource="status")

    method, path, _, body, content_type = server.asked[0]
    assert (method, path) == ("PATCH", "/apis/imagejob.dev/v1alpha1/namespaces/team/imagejobs/a/status")
    assert (body, content_type) == ({"status": {"eta": None}}, "application/merge-patch+json")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (CONFIG_MAP.path("team", "a"), "/api/v1/namespaces/team/configmaps/a"),
        (LEASE.path("team"), "/apis/coordination.k8s.io/v1/namespaces/team/leases"),
        (JOB.path(), "/apis/batch/v1/jobs"),
        (NODE.path("ignored", "n"), "/api/v1/nodes/n"),
    ],
)
def test_paths(path: str, expected: str) -> None:
    assert path == expected


async def test_a_group_that_is_not_served_has_no_kinds() -> None:
    assert await Server(failure(404, "NotFound")).api.served_kinds("imagejob.dev", "v1alpha1") == set()
    served = ok({"resources": [{"name": "imagejobs"}, {"name": "imagejobs/status"}]})
    assert "imagejobs" in await Server(served).api.served_kinds("imagejob.dev", "v1alpha1")
