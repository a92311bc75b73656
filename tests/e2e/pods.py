"""Pods for tests: small, quick to end, on a node of choice, from images that the nodes have."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.cluster.cluster import Cluster
from tests.e2e.waiting import eventually

_SECONDS: Final = 120
PORT: Final = 8080

_SERVE: Final = f"""
import http.server, os

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["POD"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

print("serving", flush=True)
http.server.ThreadingHTTPServer(("", {PORT}), Answer).serve_forever()
"""

# Runs in the pod: asks the API server with the pod's own token.
_ASK_API_SERVER: Final = """
import json, pathlib, ssl, sys, urllib.error, urllib.request

method, path, body = sys.argv[1:]
account = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
request = urllib.request.Request(f"https://kubernetes.default.svc{path}", method=method, data=body.encode() or None)
request.add_header("Authorization", f"Bearer {(account / 'token').read_text()}")
if body:
    request.add_header("Content-Type", "application/merge-patch+json")
try:
    with urllib.request.urlopen(request, timeout=10, context=ssl.create_default_context(cafile=account / "ca.crt")) as answer:
        print(json.dumps([answer.status, json.load(answer)]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, json.load(error)]))
"""

_FETCH: Final = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode(), end="")
"""


class Pods:
    """Pods of one namespace. Each runs one container, `main`."""

    def __init__(self, cluster: Cluster, namespace: str, image: str) -> None:
        self._cluster = cluster
        self._image = image
        self.namespace = namespace

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = _SECONDS + 10) -> str:
        """kubectl in this namespace."""
        return self._cluster.kubectl(f"--namespace={self.namespace}", *arguments, stdin=stdin, timeout=timeout)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Creates or changes objects."""
        self.kubectl("apply", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def create(
        self,
        name: str,
        command: Sequence[str],
        *,
        node: str | None = None,
        container: Mapping[str, Any] | None = None,
        spec: Mapping[str, Any] | None = None,
    ) -> None:
        """Creates a pod, which carries its name as the label `app`.

        Args:
            name: Of the pod.
            command: What its container runs.
            node: The node that the scheduler must choose.
            container: More fields of the container; its image is one with Python, unless given here.
            spec: More fields of the pod.
        """
        main = {
            "name": "main",
            "image": self._image,
            "imagePullPolicy": "Never",
            "command": list(command),
            "env": [{"name": "POD", "value": name}],
            **(container or {}),
        }
        pod_spec = {
            "containers": [main],
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            **({"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}),
            **(spec or {}),
        }
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": pod_spec})

    def serve(self, name: str, node: str) -> None:
        """Creates a pod that answers HTTP on `PORT` with its own name, and waits until it does."""
        probe = {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1}
        self.create(name, ["python3", "-c", _SERVE], node=node, container={"readinessProbe": probe})
        self.wait(name, "condition=Ready")

    def wait(self, name: str, condition: str, seconds: int = _SECONDS) -> None:
        """Waits for a condition of a pod, as `kubectl wait` knows it, such as ``condition=Ready``."""
        self.kubectl("wait", f"--for={condition}", f"pod/{name}", f"--timeout={seconds}s", timeout=seconds + 10)

    def output_of(self, name: str, seconds: int = _SECONDS) -> str:
        """What a pod printed in all, once it has succeeded."""
        eventually(lambda: self.get(name)["status"]["phase"] in ("Succeeded", "Failed"), wanted=True, seconds=seconds)
        said = self.kubectl("logs", name)
        assert self.get(name)["status"]["phase"] == "Succeeded", said
        return said

    def get(self, name: str) -> dict[str, Any]:
        """A pod as it is now."""
        found: dict[str, Any] = json.loads(self.kubectl("get", f"pod/{name}", "--output=json"))
        return found

    def execute(self, name: str, *command: str) -> str:
        """What a command prints in a pod."""
        return self.kubectl("exec", name, "--", *command)

    def fetch(self, name: str, url: str) -> str:
        """What a URL answers to a pod."""
        return self.execute(name, "python3", "-c", _FETCH, url)

    def ask_api_server(self, name: str, method: str, path: str, body: str = "") -> tuple[int, dict[str, Any]]:
        """Status and answer that a pod gets from the API server, through its service's name and with the pod's own token."""
        status, answer = json.loads(self.execute(name, "python3", "-c", _ASK_API_SERVER, method, path, body))
        return status, answer
