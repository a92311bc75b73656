"""Reports to an API server that is busy, or shows the certificate of another authority."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imagejob_runner.pod.own_pod import OwnPod, ReportError
from nodelease.clock import now
from tests.unit.lease.api_server import ApiServer, Door, Fault, Pod

TAKEN = Fault(200, body="{}")


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer().serve() as server:
        yield server


@pytest.mark.parametrize(("asked", "least", "most"), [("7", 7, 10.5), ("1000", 300, 300)])
async def test_a_busy_api_server_is_not_asked_again_here(server: ApiServer, asked: str, least: float, most: float) -> None:
    pod, begun = OwnPod(Door(server), "team", "job-0"), now()
    server.faults = lambda _method: Fault(429, {"Retry-After": asked})
    with pytest.raises(ReportError, match="PATCH /api/v1/namespaces/team/pods/job-0: 429") as raised:
        await pod.annotate("key", "value")
    await pod.close()
    assert now() - begun < 5
    assert least <= raised.value.pause <= most
    assert server.requests == [("PATCH", {"fieldManager": "imagejob-runner"})]


async def test_a_new_authority_is_found(tmp_path: Path) -> None:
    files = Pod(tmp_path)
    async with ApiServer().serve(files.server_trust) as old:
        pod = OwnPod(access := files.access(old), "team", "job-0")
        old.faults = lambda _method: TAKEN
        await pod.annotate("key", "one")
        async with ApiServer().serve(files.certify()) as new:
            new.faults = lambda _method: TAKEN
            files.move(access, new)
            await pod.annotate("key", "two")
            await pod.close()
            assert new.count("PATCH") == 1
