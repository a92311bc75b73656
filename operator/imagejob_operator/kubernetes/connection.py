"""The connection to the API server: in a pod with its service account, elsewhere as kubectl would."""

from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from kubernetes.aio import client, config

from imagejob_operator.kubernetes.api import Json, KubernetesApi

_untyped: Any = config
_AUTHENTICATION: Final = ["BearerToken"]
_POOL: Final = 32


async def connect(user_agent: str = "imagejob-operator") -> KubernetesApi:
    """Opens a connection; the service account's token is read anew as it is renewed.

    Raises:
        kubernetes.aio.config.ConfigException: There is neither a service account nor a usable kubeconfig.
    """
    configuration: Any = client.Configuration()
    try:
        _untyped.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        await _untyped.load_kube_config(client_configuration=configuration)
    configuration.connection_pool_maxsize = _POOL
    configuration.retries = False
    connection: Any = client.ApiClient(configuration)
    connection.user_agent = user_agent

    async def send(
        method: str, path: str, query: Mapping[str, str], body: Json | None, content_type: str, timeout_seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        serialized = await connection.param_serialize(
            method, path, query_params=list(query.items()), header_params=headers, body=body, auth_settings=_AUTHENTICATION
        )
        response = await connection.call_api(*serialized, _request_timeout=aiohttp.ClientTimeout(total=timeout_seconds))
        return response.status, response.headers, await response.read()

    return KubernetesApi(send, close=connection.close)
