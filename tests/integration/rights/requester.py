"""Somebody who asks the API server with a token, as a pod does."""

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.cluster.control_plane import ControlPlane

Json = dict[str, Any]

_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """Of the API server."""

    status: int
    content: Json

    @property
    def message(self) -> str:
        """Why it refused; empty where it did not."""
        return str(self.content.get("message", "")) if self.content.get("kind") == "Status" else ""


@dataclass(frozen=True)
class Requester:
    """Whoever a token belongs to."""

    plane: ControlPlane
    token: str

    def ask(self, method: str, path: str, body: Json | None = None) -> Answer:
        """Status and content of the answer."""
        trust = ssl.create_default_context(cafile=str(self.plane.files.credentials / "ca.crt"))
        connection = http.client.HTTPSConnection(urlsplit(self.plane.url).netloc, context=trust, timeout=_SECONDS)
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return Answer(response.status, json.loads(response.read()))
        finally:
            connection.close()

    def get(self, path: str) -> Json:
        """An object that this requester may read."""
        answer = self.ask("GET", path)
        assert answer.status == http.HTTPStatus.OK, answer.message
        return answer.content
