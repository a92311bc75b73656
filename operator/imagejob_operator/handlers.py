"""What kopf is told to watch. Every handler does the same: it hands the event on, and a reconcile follows from the queue.

Only `on.event` is used: it writes no annotation, sets no finalizer and never waits. So `kubectl delete` does not depend on the operator.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import kopf

from imagejob_operator.imagejobs.caches import JOBS_SELECTOR, PODS_SELECTOR
from imagejob_operator.kubernetes.kinds import JOB, POD, Kind
from imagejob_operator.manifest import Json

Report = Callable[[str | None, Json], None]

WATCH_SECONDS: Final = 600
"""The API server ends a watch after this time, and kopf begins another where it ended."""
_CLIENT_SECONDS: Final = 660
_CONNECT_SECONDS: Final = 10
_REQUEST_SECONDS: Final = 60
_PAGE: Final = 50
"""Objects that kopf has in memory at once when it lists. One may have more than a megabyte; and a list that takes longer than five minutes
is too old for the API server before its end, which is the end of kopf."""
_IDLE_SECONDS: Final = 0.1
"""How long kopf keeps an object, and a task for it, after the last event about it."""
_EXIT_SECONDS: Final = 30


def registry(reports: Mapping[Kind, Report]) -> kopf.OperatorRegistry:
    """The handlers.

    Args:
        reports: The kinds to watch, and where their events go.
    """
    handlers = kopf.OperatorRegistry()
    kopf.on.login(registry=handlers)(_login)
    for kind, report in reports.items():
        kopf.on.event(kind.group, kind.version, kind.plural, registry=handlers, id=kind.plural)(_handler(report))
    return handlers


def settings() -> kopf.OperatorSettings:
    """Settings of kopf: alone, silent, with watches that cannot fall asleep, and only what is ours from the server."""
    chosen = kopf.OperatorSettings()
    chosen.peering.standalone = True
    chosen.posting.enabled = False
    chosen.scanning.disabled = True  # the kinds are there before kopf starts; looking for more takes rights to all CRDs
    chosen.watching.server_timeout = WATCH_SECONDS
    chosen.watching.client_timeout = _CLIENT_SECONDS
    chosen.watching.connect_timeout = _CONNECT_SECONDS
    chosen.watching.chunk_size = _PAGE
    chosen.watching.label_selectors[JOB.group, JOB.version, JOB.plural] = JOBS_SELECTOR
    chosen.watching.label_selectors[POD.group, POD.version, POD.plural] = PODS_SELECTOR
    chosen.queueing.idle_timeout = _IDLE_SECONDS
    chosen.persistence.diffbase_storage = _NoDiffs()
    chosen.networking.request_timeout = _REQUEST_SECONDS
    chosen.process.ultimate_exiting_timeout = _EXIT_SECONDS
    return chosen


class _NoDiffs(kopf.DiffBaseStorage):
    """Spares kopf the copies of every object by which it would find out for other handlers than ours what has changed."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:
        del body, extra_fields
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> None:
        del body

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        del body, patch, essence


def _handler(report: Report) -> Callable[..., Any]:
    async def handle(event: Mapping[str, Any], **_: object) -> None:
        report(event["type"], dict(event["object"]))

    return handle


def _login(**arguments: Any) -> kopf.ConnectionInfo | None:  # noqa: ANN401  kopf's
    """A pod's service account, or what kubectl uses."""
    return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)
