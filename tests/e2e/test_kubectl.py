"""What people and tools do with pods from outside of the cluster."""

import re
import subprocess
import urllib.request

from tests.cluster.cluster import Cluster
from tests.e2e.pods import PORT, Pods


def test_logs_show_what_a_pod_said(pods: Pods, workers: list[str]) -> None:
    for number, worker in enumerate(workers):
        pods.create(f"speaker-{number}", ["python3", "-c", "print('hello from', __import__('os').environ['POD'])"], node=worker)
        assert pods.output_of(f"speaker-{number}") == f"hello from speaker-{number}\n"


def test_exec_runs_a_command_in_a_pod(pods: Pods, workers: list[str]) -> None:
    for number, worker in enumerate(workers):
        pods.serve(f"server-{number}", worker)
        assert pods.execute(f"server-{number}", "hostname") == f"server-{number}\n"


def test_port_forward_leads_into_a_pod(cluster: Cluster, pods: Pods, workers: list[str]) -> None:
    for number, worker in enumerate(workers):
        name = f"server-{number}"
        pods.serve(name, worker)
        command = cluster.kubectl_command(f"--namespace={pods.namespace}", "port-forward", f"pod/{name}", f":{PORT}")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:
            try:
                assert forward.stdout is not None
                line = forward.stdout.readline()  # says so once it listens
                found = re.match(r"Forwarding from 127\.0\.0\.1:(\d+) -> ", line)
                assert found, line
                with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/", timeout=10) as answer:
                    assert answer.read().decode() == name
            finally:
                forward.terminate()
