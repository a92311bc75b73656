"""One request to the API server, as plain data, and what its refusals mean for whoever made it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from imagejob_api.constants import GROUP
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
from imagejob_cli.cluster.resources import LEASE, NODE_LIMIT, Resource
from imagejob_cli.wording import printable

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"

NOT_INSTALLED: Final = (
    "this cluster does not know the kind {kind}: imagejob is not installed in it, or its CRDs are not. Install it with\n"
    "  helm install imagejob charts/imagejob --namespace imagejob-system --create-namespace"
)
_USER: Final = re.compile(r'User "([^"]*)"')
_SHOWN_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the API server."""

    verb: str
    """As RBAC calls it: get, list, watch, patch."""
    resource: Resource
    """Kind of the objects."""
    namespace: str | None = None
    """Namespace of the objects; None means all, or that the kind has none."""
    name: str | None = None
    """Name of one object."""
    subresource: str = ""
    """Such as log."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Parameters."""
    body: Any = None
    """What is sent, as JSON."""
    content_type: str = JSON
    """Media type of the body."""

    @property
    def method(self) -> str:
        """Of HTTP."""
        return "PATCH" if self.verb == "patch" else "GET"

    @property
    def path(self) -> str:
        """On the API server."""
        path = self.resource.path(self.namespace, self.name)
        return f"{path}/{self.subresource}" if self.subresource else path

    @property
    def subject(self) -> str:
        """What it is about, for messages: `ImageJob demo in namespace default`."""
        words = [f"{self.resource.kind} {printable(self.name)}" if self.name else self.resource.title]
        if self.subresource:
            words.insert(0, f"the {self.subresource} of")
        if self.resource.namespaced:
            words.append(f"in namespace {printable(self.namespace)}" if self.namespace else "in all namespaces")
        return " ".join(words)


def refusal(request: Request, code: int, body: bytes, target: Target) -> ClusterError:
    """The error that an answer means.

    Args:
        request: What was asked.
        code: HTTP status of the answer.
        body: Of the answer: a `Status` as JSON, or text from whatever stands in front of the API server.
        target: Whose credentials were used.
    """
    status = _status(body)
    message = printable(_message(status, body)) or f"HTTP {code}"
    if code == HTTPStatus.TOO_MANY_REQUESTS or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnreachableError(f"the cluster of {target} cannot answer now (HTTP {code}): {message}")
    match code:
        case HTTPStatus.UNAUTHORIZED:
            error: ClusterError = UnauthorizedError(
                f"the cluster does not accept the credentials of {target}: log in again, or choose another --context"
            )
        case HTTPStatus.FORBIDDEN:
            error = _forbidden(request, message)
        case HTTPStatus.NOT_FOUND:
            error = _not_found(request, status, message)
        case HTTPStatus.CONFLICT:
            error = ConflictError(f"{request.subject}: {message}")
        case HTTPStatus.GONE:
            error = ExpiredError(f"{request.subject}: {message}")
        case _:
            error = RefusedError(f"{request.subject} is refused: {message}")
    return error


def _status(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _message(status: Mapping[str, Any], body: bytes) -> str:
    message = status.get("message")
    return message if isinstance(message, str) else body.decode(errors="replace").strip()[:_SHOWN_CHARACTERS]


def _forbidden(request: Request, message: str) -> ForbiddenError:
    """RBAC's refusals say which right is missing; admission's have words of their own, and an account of them would lose them."""
    user = _USER.search(message)
    if user is None or "cannot " not in message:
        return ForbiddenError(f"{request.subject}: {message}")
    resource = f"{request.resource.title}/{request.subresource}" if request.subresource else request.resource.title
    return ForbiddenError(f"{user[1] or 'nobody'} may not {request.verb} {resource} {_where(request)}. {_remedy(request)}")


def _remedy(request: Request) -> str:
    """Whom to ask for what: the chart's roles where one of them would do, bound where it would."""
    wide = not request.resource.namespaced or request.namespace is None
    if request.resource == LEASE:
        return f"Ask for the role imagejob-lease-viewer{', bound cluster-wide' if wide else ' there'}."
    if request.resource.group != GROUP or (request.resource == NODE_LIMIT and request.verb == "patch"):
        return "Ask whoever runs the cluster for it."
    return f"Ask for the role imagejob-{'editor' if request.verb == 'patch' else 'viewer'}{', bound cluster-wide' if wide else ''}."


def _where(request: Request) -> str:
    if not request.resource.namespaced:
        return "(they are in no namespace)"
    return f"in namespace {printable(request.namespace)}" if request.namespace else "in all namespaces"


def _not_found(request: Request, status: Mapping[str, Any], message: str) -> ClusterError:
    """A path that leads nowhere is answered without a `Status`, or with one that names no object."""
    details = status.get("details")
    named = isinstance(details, dict) and details.get("name")
    if not named and request.resource.group == GROUP:
        return NotInstalledError(NOT_INSTALLED.format(kind=request.resource.kind))
    if isinstance(details, dict) and details.get("kind") == "namespaces":
        return NotFoundError(f"there is no namespace {printable(str(details.get('name')))}")
    return NotFoundError(f"there is no {request.subject}" if named else f"{request.subject}: {message}")
