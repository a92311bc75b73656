from http import HTTPStatus

import aiohttp
import pytest

from imagejob_operator.health import HEARTBEAT, Health
from imagejob_operator.metrics import Metrics
from imagejob_operator.work_queue import Outcome

ENDED = Outcome(HEARTBEAT, 0.0, None)


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(Metrics().registry, heartbeat_seconds=5, unhealthy_seconds=60, clock=clock)


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
        return response.status, await response.text()


async def test_it_is_healthy_as_long_as_reconciles_end(health: Health, clock: Clock) -> None:
    async with health.serving("127.0.0.1", 0) as port:
        clock.seconds = 60
        assert (await get(port, "/healthz"))[0] == HTTPStatus.OK
        clock.seconds = 61
        assert await get(port, "/healthz") == (HTTPStatus.SERVICE_UNAVAILABLE, "the last reconcile ended 61.0 s ago")
        health.reconciled(ENDED)
        assert (await get(port, "/healthz"))[0] == HTTPStatus.OK


async def test_it_is_ready_when_the_first_lists_are_in(health: Health) -> None:
    async with health.serving("127.0.0.1", 0) as port:
        assert (await get(port, "/readyz"))[0] == HTTPStatus.SERVICE_UNAVAILABLE
        health.set_ready()
        assert (await get(port, "/readyz"))[0] == HTTPStatus.OK


async def test_it_serves_metrics() -> None:
    metrics = Metrics()
    metrics.reconciled(ENDED)
    health = Health(metrics.registry, heartbeat_seconds=5, unhealthy_seconds=60)
    async with health.serving("127.0.0.1", 0) as port:
        status, text = await get(port, "/metrics")
    assert status == HTTPStatus.OK
    assert 'imagejob_operator_reconcile_seconds_count{kind="Heartbeat"} 1.0' in text


async def test_a_heartbeat_asks_for_the_next(health: Health) -> None:
    assert await health.heartbeat() == 5
