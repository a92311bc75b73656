"""How the components of a control plane of tests are started: their command lines, and why each flag is there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
SERVICE_NETWORK: Final = "10.96.0.0/16"
API_SERVICE_ADDRESS: Final = "10.96.0.1"


@dataclass(frozen=True)
class Files:
    """Where the files of a control plane are."""

    folder: Path

    @property
    def logs(self) -> Path:
        """One log for each component."""
        return self.folder / "logs"

    @property
    def credentials(self) -> Path:
        """Certificates, keys and kubeconfig files."""
        return self.folder / "credentials"

    def kubeconfig(self, user: str) -> Path:
        """The access of one user."""
        return self.credentials / f"{user}.kubeconfig"

    @property
    def etcd(self) -> str:
        """URL of etcd's socket, which only this user can reach."""
        return f"unix://{self.folder}/etcd.sock"


def etcd(files: Files) -> list[str]:
    """Arguments of etcd."""
    return [
        f"--data-dir={files.folder}/etcd",
        f"--listen-client-urls={files.etcd}",
        f"--listen-peer-urls=unix://{files.folder}/etcd-peers.sock",
        "--advertise-client-urls=http://localhost:2379",  # it must advertise something; nobody reads it
        "--unsafe-no-fsync",  # the data never outlive the process
        "--log-level=warn",
    ]


def apiserver(files: Files, port: int) -> list[str]:
    """Arguments of kube-apiserver, which listens on a port that is already held."""
    return [
        f"--etcd-servers={files.etcd}",
        f"--bind-address={HOST}",
        f"--secure-port={port}",
        "--permit-port-sharing",  # with the socket that holds the port
        f"--advertise-address={HOST}",  # else a machine without a network has none
        "--endpoint-reconciler-type=none",  # no pod is there to reach it, and a loopback address is refused as an endpoint
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        f"--tls-cert-file={files.credentials}/apiserver.crt",
        f"--tls-private-key-file={files.credentials}/apiserver.key",
        f"--client-ca-file={files.credentials}/ca.crt",
        # The rest is as kubeadm sets it.
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={files.credentials}/service-accounts.pub",
        f"--service-account-signing-key-file={files.credentials}/service-accounts.key",
    ]


def controller_manager(files: Files) -> list[str]:
    """Arguments of kube-controller-manager."""
    return [
        f"--kubeconfig={files.kubeconfig('system:kube-controller-manager')}",
        "--secure-port=0",
        "--leader-elect=false",
        "--use-service-account-credentials",
        "--kube-api-qps=500",  # its start alone is a hundred requests, and five seconds long at the usual twenty a second
        "--kube-api-burst=1000",
        f"--root-ca-file={files.credentials}/ca.crt",
        f"--service-account-private-key-file={files.credentials}/service-accounts.key",
    ]


def scheduler(files: Files) -> list[str]:
    """Arguments of kube-scheduler."""
    return [f"--kubeconfig={files.kubeconfig('system:kube-scheduler')}", "--secure-port=0", "--leader-elect=false"]
