"""What jobs read from and write to, inside the cluster: a web server with photos, and a real S3 server."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import obstore
from obstore.store import S3Store

from tests.cluster.cluster import Cluster
from tests.cluster.engine import Engine
from tests.cluster.recipes import Recipe, ensure_image
from tests.cluster.tools import VERSITYGW

NAMESPACE: Final = "e2e-servers"
SERVICES: Final = "10.96.0.0/16"
"""The cluster's range of service addresses (tests/cluster/kind.yaml), which jobs are allowed to reach."""
BUCKET: Final = "imagejob-e2e"
CREDENTIALS: Final = {"AWS_ACCESS_KEY_ID": "imagejob", "AWS_SECRET_ACCESS_KEY": "imagejob-secret"}
_REGION: Final = "us-east-1"
_WEB_PORT: Final = 8080
_S3_PORT: Final = 7070

# Serves the photos of scikit-image and scikit-learn, which the runner's image has for the demo.
_PHOTOS: Final = f"""
import http.server
from importlib import resources

class Photos(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        folders = [resources.files(package) for package in ("skimage.data", "sklearn.datasets.images")]
        name = self.path.rpartition("/")[2]
        found = [folder / name for folder in folders if name and (folder / name).is_file()]
        body = found[0].read_bytes() if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("", {_WEB_PORT}), Photos).serve_forever()
"""


def s3_image(engine: Engine) -> str:
    """The full name of the S3 server's image."""
    return ensure_image(engine, Recipe("s3", Path(__file__).parent / "s3" / "Dockerfile", "s3", files={"versitygw": VERSITYGW.install()}))


@dataclass(frozen=True)
class Servers:
    """The two servers, once `start` has returned."""

    cluster: Cluster

    def photo(self, name: str) -> str:
        """URL of a photo that scikit-image or scikit-learn ships."""
        return f"http://photos.{NAMESPACE}.svc.cluster.local:{_WEB_PORT}/{name}"

    def output(self, key: str) -> str:
        """URL of a folder of the bucket."""
        return f"s3://{BUCKET}/{key}/"

    @property
    def endpoint(self) -> str:
        """Of S3, for pods."""
        return f"http://s3.{NAMESPACE}.svc.cluster.local:{_S3_PORT}"

    def start(self, *, s3: str, runner: str, node: str) -> None:
        """Starts both on a node, from images that it has."""
        access, secret = CREDENTIALS.values()
        arguments = ["--port", f":{_S3_PORT}", "--access", access, "--secret", secret, "--quiet", "posix", "/buckets"]
        bucket = {"name": "bucket", "mountPath": f"/buckets/{BUCKET}"}
        objects = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            *_server("photos", runner, _WEB_PORT, node, command=["python3", "-c", _PHOTOS]),
            *_server("s3", s3, _S3_PORT, node, args=arguments, volumeMounts=[bucket]),
        ]
        self.cluster.kubectl("apply", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        self.cluster.kubectl(f"--namespace={NAMESPACE}", "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s", timeout=130)

    def stop(self) -> None:
        """Removes both with all that they hold."""
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=100s", timeout=110)

    def pod_seconds(self) -> float:
        """How long a pod that does nothing but load torch takes from its creation to its end: what the machine needs for any."""
        image = self.cluster.get(f"--namespace={NAMESPACE}", "pod", "photos")["spec"]["containers"][0]["image"]
        main = {"name": "main", "image": image, "imagePullPolicy": "Never", "command": ["python3", "-c", "import torch"]}
        spec = {"containers": [main], "restartPolicy": "Never"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare"}, "spec": spec}
        begun = time.monotonic()
        self.cluster.kubectl(f"--namespace={NAMESPACE}", "create", "--filename=-", stdin=json.dumps(pod))
        ended = ("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/bare", "--timeout=120s")
        self.cluster.kubectl(f"--namespace={NAMESPACE}", *ended, timeout=130)
        seconds = time.monotonic() - begun
        self.cluster.kubectl(f"--namespace={NAMESPACE}", "delete", "pod/bare")
        return seconds

    def names(self, key: str) -> list[str]:
        """The objects below a folder of the bucket, relative to it."""
        with self._store() as store:
            listed = [item["path"] for batch in obstore.list(store, f"{key}/") for item in batch]
        return sorted(path.removeprefix(f"{key}/") for path in listed)

    def read(self, key: str, folder: str, ending: str = ".jsonl") -> list[dict[str, Any]]:
        """All lines of the objects in a folder of an output, each an object: rows below ``results``, audit records below their folder."""
        names = [name for name in self.names(key) if name.startswith(f"{folder}/") and name.endswith(ending)]
        with self._store() as store:
            texts = [bytes(obstore.get(store, f"{key}/{name}").bytes()).decode() for name in names]
        return [json.loads(line) for text in texts for line in text.splitlines()]

    def verify(self, key: str, *options: str) -> "subprocess.CompletedProcess[str]":
        """What `imagejob verify` says of an output."""
        with self._reached() as endpoint:
            return subprocess.run(
                [sys.executable, "-m", "imagejob_cli", "verify", self.output(key), *options],
                env=environment(endpoint),
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )

    @contextlib.contextmanager
    def _store(self) -> Iterator[S3Store]:
        access, secret = CREDENTIALS.values()
        with self._reached() as endpoint:
            yield S3Store(
                BUCKET,
                endpoint=endpoint,
                access_key_id=access,
                secret_access_key=secret,
                region=_REGION,
                client_options={"allow_http": True},
            )

    @contextlib.contextmanager
    def _reached(self) -> Iterator[str]:
        """The S3 server's endpoint for this machine."""
        command = self.cluster.kubectl_command(f"--namespace={NAMESPACE}", "port-forward", "pod/s3", f":{_S3_PORT}")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:
            try:
                assert forward.stdout is not None
                line = forward.stdout.readline()  # says so once it listens
                found = re.match(r"Forwarding from (127\.0\.0\.1:\d+) -> ", line)
                assert found, line
                yield f"http://{found[1]}"
            finally:
                forward.terminate()


def environment(endpoint: str) -> dict[str, str]:
    """What a process needs to reach the bucket."""
    return {**os.environ, **CREDENTIALS, "AWS_REGION": _REGION, "AWS_ENDPOINT_URL": endpoint}


def _server(name: str, image: str, port: int, node: str, **container: object) -> Iterator[Mapping[str, Any]]:
    """A pod that listens on a port, and its service."""
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app": name}}
    main = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        **container,
    }
    spec = {
        "containers": [main],
        "nodeSelector": {"kubernetes.io/hostname": node},
        "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "bucket", "emptyDir": {}}],
    }
    yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": {"app": name}, "ports": [{"port": port}]}}
