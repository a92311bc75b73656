"""Where the API server is and how to be let in: in a pod by the service account's files, elsewhere by a kubeconfig.

The files of a pod are read here, and not by the Kubernetes client, because importing that takes 0.2 seconds more than all else that a
workload needs to take a slot. A kubeconfig, with all its ways to log in, is left to it.
"""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from nodelease.clock import now
from nodelease.exceptions import StoreUnavailableError
from nodelease.kubernetes.constants import TOKEN_SECONDS

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one request needs."""

    server: str
    """URL of the API server, without a slash at its end."""
    trust: ssl.SSLContext | bool = True
    """Whom to trust, and the client's own certificate."""
    authorization: str | None = None
    """The header of that name."""
    server_hostname: str | None = None
    """The name that the server's certificate must have, if not the URL's."""
    proxy: str | None = None
    """URL of a proxy on the way."""


class Access(Protocol):
    """A source of credentials that may change in time."""

    async def credentials(self, *, renewed: bool = False) -> Credentials:
        """What to use now.

        Args:
            renewed: Those given last were refused: look for others.

        Raises:
            StoreUnavailableError: There are none.
        """
        ...


class PodAccess:
    """The access of a pod, by its service account.

    Args:
        folder: Where the service account's token and the cluster's certificate are. Both are replaced from time to time.
        environment: Tells where the API server is, as in every container.
    """

    def __init__(self, folder: Path = SERVICE_ACCOUNT, environment: Mapping[str, str] = os.environ) -> None:
        self._folder = folder
        self._environment = environment
        self._credentials: Credentials | None = None
        self._read_at = 0.0

    async def credentials(self, *, renewed: bool = False) -> Credentials:
        """See `Access.credentials`."""
        if self._credentials is None or renewed or now() - self._read_at > TOKEN_SECONDS:
            known = self._credentials
            self._credentials = self._read(trust=None if known is None or renewed else known.trust)
            self._read_at = now()
        return self._credentials

    def _read(self, *, trust: ssl.SSLContext | bool | None) -> Credentials:
        try:
            token = (self._folder / "token").read_text().strip()
            trust = trust or ssl.create_default_context(cafile=self._folder / "ca.crt")
            host, port = self._environment["KUBERNETES_SERVICE_HOST"], self._environment["KUBERNETES_SERVICE_PORT"]
        except KeyError as error:
            raise StoreUnavailableError(f"this is not a pod, or one without the API server's address: {error} is not set") from error
        except (OSError, ssl.SSLError) as error:
            raise StoreUnavailableError(f"the service account's files in {self._folder} cannot be used: {error}") from error
        return Credentials(f"https://{f'[{host}]' if ':' in host else host}:{port}", trust, f"Bearer {token}")


class KubeconfigAccess:
    """The access that a kubeconfig describes.

    Args:
        file: The kubeconfig; None for what $KUBECONFIG names, else ~/.kube/config.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._credentials: Credentials | None = None

    async def credentials(self, *, renewed: bool = False) -> Credentials:
        """See `Access.credentials`."""
        if self._credentials is None or renewed:
            self._credentials = await self._load()
        return self._credentials

    async def _load(self) -> Credentials:
        from kubernetes.aio.client import Configuration  # noqa: PLC0415  see above
        from kubernetes.aio.config import load_kube_config  # noqa: PLC0415  see above

        configuration = Configuration()
        file = None if self._file is None else str(self._file)
        try:
            await load_kube_config(config_file=file, client_configuration=configuration, persist_config=False)  # type: ignore[no-untyped-call]
            trust = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
            if configuration.cert_file:
                trust.load_cert_chain(configuration.cert_file, configuration.key_file)
        except Exception as error:  # a kubeconfig can be wrong in as many ways as there are to log in
            raise StoreUnavailableError(f"the kubeconfig {file or ''} cannot be used: {error}".replace("  ", " ")) from error
        if not configuration.verify_ssl:
            trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        return Credentials(
            configuration.host.rstrip("/"),
            trust,
            configuration.api_key.get("BearerToken"),
            configuration.tls_server_name,
            configuration.proxy,
        )


def find_access(kubeconfig: Path | None = None) -> Access:
    """A pod's own access inside a pod, else that of a kubeconfig.

    Args:
        kubeconfig: Use this one, wherever this is.
    """
    if kubeconfig is None and (SERVICE_ACCOUNT / "token").exists():
        return PodAccess()
    return KubeconfigAccess(kubeconfig)
