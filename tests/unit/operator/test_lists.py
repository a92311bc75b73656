import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from imagejob_operator.kubernetes import KubernetesApi, Page, RefusedError
from imagejob_operator.kubernetes.kinds import POD
from imagejob_operator.lists import RELIST_SECONDS, Lister, Objects, pages_in
from imagejob_operator.versions import Versions

Thing = Mapping[str, Any]


def thing(name: str, version: int) -> Thing:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


class Kind:
    """Things that are told of, and a list of them that comes when the test lets it."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        self.listed: list[Thing] = []
        self.lists = 0
        self.meanwhile: Callable[[], None] = lambda: None
        self.between_pages: Callable[[], None] = lambda: None
        self.objects: Objects[str] = Objects(Versions[str](), self._name, self._seen, self._gone, self._list)

    def _name(self, seen: Thing) -> str | None:
        name: str = seen["metadata"]["name"]
        return None if name == "nobody's" else name

    def _seen(self, key: str, seen: Thing) -> None:
        self.known[key] = int(seen["metadata"]["resourceVersion"])

    def _gone(self, key: str) -> None:
        self.known.pop(key, None)

    async def _list(self) -> AsyncIterator[Page]:
        self.lists += 1
        listed = [dict(each) for each in self.listed]
        self.meanwhile()
        for each in listed:
            yield Page([each], "1")
            self.between_pages()


@pytest.fixture
def kind() -> Kind:
    return Kind()


def test_only_news_is_taken_in(kind: Kind) -> None:
    report = kind.objects.report
    report("ADDED", thing("a", 5))
    report("MODIFIED", thing("a", 4))
    assert kind.known == {"a": 5}
    report("DELETED", thing("a", 4))
    assert kind.known == {"a": 5}, "it was made anew since"
    report("DELETED", thing("a", 6))
    assert kind.known == {}
    report("ADDED", thing("nobody's", 7))
    assert kind.known == {}


async def test_a_list_shows_what_came_and_what_went_untold(kind: Kind) -> None:
    for name in ("stays", "went"):
        kind.objects.report("ADDED", thing(name, 1))
    kind.listed = [thing("stays", 3), thing("came", 2)]
    await kind.objects.relist()
    assert kind.known == {"stays": 3, "came": 2}


async def test_what_is_told_while_a_list_is_on_its_way_is_newer(kind: Kind) -> None:
    for name in ("changed", "deleted", "made-anew"):
        kind.objects.report("ADDED", thing(name, 1))
    kind.listed = [thing("changed", 1), thing("deleted", 1)]

    def meanwhile() -> None:
        kind.objects.report("MODIFIED", thing("changed", 9))
        kind.objects.report("DELETED", thing("deleted", 10))
        kind.objects.report("ADDED", thing("made-anew", 11))
        kind.objects.report("ADDED", thing("new", 12))

    kind.meanwhile = meanwhile
    await kind.objects.relist()
    assert kind.known == {"changed": 9, "made-anew": 11, "new": 12}


async def test_what_goes_between_two_pages_does_not_come_back(kind: Kind) -> None:
    kind.listed = [thing("first", 1), thing("second", 1)]

    def between_pages() -> None:
        kind.objects.report("DELETED", thing("first", 5))
        kind.objects.report("DELETED", thing("second", 5))

    kind.between_pages = between_pages
    await kind.objects.relist()
    assert kind.known == {}


async def test_lists_are_made_at_the_start_and_when_it_is_time(kind: Kind) -> None:
    time = [0.0]
    done: list[float] = []
    lister = Lister([kind.objects], lambda: done.append(time[0]), lambda: time[0])
    await asyncio.gather(*(lister.first() for _ in range(5)))
    assert (kind.lists, lister.due_seconds) == (1, RELIST_SECONDS)
    time[0] = RELIST_SECONDS - 1
    await lister.refresh()
    assert kind.lists == 1
    time[0] = RELIST_SECONDS
    await lister.first()
    await lister.refresh()
    assert kind.lists == 2
    assert done == [0.0, RELIST_SECONDS]


async def test_a_list_that_fails_counts_as_none(kind: Kind) -> None:
    def fail() -> None:
        raise ConnectionError("gone")

    kind.meanwhile = fail
    lister = Lister([kind.objects], lambda: None, lambda: 0.0)
    with pytest.raises(ConnectionError):
        await lister.first()
    kind.meanwhile = lambda: None
    await lister.first()
    assert kind.lists == 2


class Namespaces:
    """An API server that refuses to list in some namespaces."""

    def __init__(self, *refusing: str) -> None:
        self._refusing = refusing

    async def __call__(self, _method: str, path: str, *_: object) -> tuple[int, Mapping[str, str], bytes]:
        namespace = path.split("/")[-2]
        if namespace in self._refusing:
            return 403, {}, json.dumps({"reason": "Forbidden", "message": f"pods in {namespace} are forbidden"}).encode()
        return 200, {}, json.dumps({"items": [thing(f"of-{namespace}", 1)], "metadata": {"resourceVersion": "1"}}).encode()


async def test_a_namespace_that_is_gone_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    pages = [page async for page in pages_in(KubernetesApi(Namespaces("b")), POD, ("a", "b", "c"))]
    assert [each["metadata"]["name"] for page in pages for each in page.items] == ["of-a", "of-c"]
    assert "Namespace b is left aside" in caplog.text


async def test_rights_that_are_missing_everywhere_are_an_error() -> None:
    with pytest.raises(RefusedError, match="pods in b are forbidden"):
        await anext(pages_in(KubernetesApi(Namespaces("a", "b")), POD, ("a", "b")))
    with pytest.raises(RefusedError):
        await anext(pages_in(KubernetesApi(Namespaces("v1")), POD, ()))
