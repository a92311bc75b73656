"""Whether the operator works, for the kubelet's probes, and its metrics for Prometheus.

A process that answers is no proof that it works: the watch may be dead, the queue stuck. So a heartbeat goes through the queue every few
seconds as any other key, and `/healthz` looks at how long ago the last reconcile ended.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from imagejob_operator.work_queue import Key, Outcome

HEARTBEAT: Final[Key] = ("Heartbeat",)
"""The key that is reconciled again and again; add it once."""


class Health:
    """The answers to the probes.

    Args:
        registry: The metrics.
        heartbeat_seconds: Time between two heartbeats.
        unhealthy_seconds: Time without a reconcile that ended after which the operator counts as stuck.
        clock: Seconds that pass.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        heartbeat_seconds: float,
        unhealthy_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._heartbeat_seconds = heartbeat_seconds
        self._unhealthy_seconds = unhealthy_seconds
        self._clock = clock
        self._ended_at = clock()
        self._ready = False

    def reconciled(self, _outcome: Outcome) -> None:
        """A reconcile ended, well or not: the queue moves."""
        self._ended_at = self._clock()

    async def heartbeat(self) -> float:
        """Reconcile `HEARTBEAT`: there is nothing to do but to come back."""
        return self._heartbeat_seconds

    def set_ready(self) -> None:
        """The first lists are in."""
        self._ready = True

    @property
    def idle_seconds(self) -> float:
        """Time since the last reconcile ended."""
        return self._clock() - self._ended_at

    @asynccontextmanager
    async def serving(self, host: str, port: int) -> AsyncIterator[int]:
        """Answer as long as the context lasts; gives the port.

        Raises:
            OSError: The port is in use.
        """
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        idle = self.idle_seconds
        text = f"the last reconcile ended {idle:.1f} s ago"
        return web.Response(text=text, status=200 if idle <= self._unhealthy_seconds else 503)

    async def _readyz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ready") if self._ready else web.Response(text="the first lists are not in yet", status=503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
