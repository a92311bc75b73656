"""The connection to the API server: in a pod with its service account, elsewhere as kubectl would."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from kubernetes.aio import client, config

from imagejob_operator.kubernetes.api import KubernetesApi, failure_of
from imagejob_operator.kubernetes.watching import Stream
from imagejob_operator.manifest import Json

_untyped: Any = config
_AUTHENTICATION: Final = ["BearerToken"]
_OBJECT: Final = "application/json"
_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_POOL: Final = 32
_CONNECT_SECONDS: Final = 10.0
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Connection:
    """What a connection is used by."""

    api: KubernetesApi
    stream: Stream
    """For watches."""
    metadata: Stream
    """For watches that tell of an object no more than its metadata."""


async def connect(user_agent: str = "imagejob-operator", asked: Callable[[str, str], None] = lambda _method, _path: None) -> Connection:
    """Opens a connection; the service account's token is read anew as it is renewed.

    Args:
        user_agent: Who the API server's log says it was.
        asked: Told of each request: method and path.

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

    async def request(
        method: str, path: str, query: Mapping[str, str], body: Json | None, content_type: str, limits: aiohttp.ClientTimeout, accept: str
    ) -> Any:  # noqa: ANN401  the client's own type is untyped
        asked(method, path)
        headers = {"Accept": accept, "Content-Type": content_type}
        serialized = await connection.param_serialize(
            method, path, query_params=list(query.items()), header_params=headers, body=body, auth_settings=_AUTHENTICATION
        )
        return await connection.call_api(*serialized, _request_timeout=limits)

    async def send(
        method: str, path: str, query: Mapping[str, str], body: Json | None, content_type: str, timeout_seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        answer = await request(method, path, query, body, content_type, aiohttp.ClientTimeout(total=timeout_seconds), _OBJECT)
        return answer.status, answer.headers, await answer.read()

    def streaming(accept: str) -> Stream:
        async def stream(path: str, query: Mapping[str, str], silent_seconds: float) -> AsyncIterator[bytes]:
            limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=silent_seconds)
            answer = await request("GET", path, query, None, "application/json", limits, accept)
            async with answer.response as response:
                if response.status != _OK:
                    raise failure_of(response.status, await response.read())
                async for line in _lines(response.content.iter_any()):
                    yield line

        return stream

    return Connection(KubernetesApi(send, close=connection.close), streaming(_OBJECT), streaming(_METADATA))


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Whole lines, of any length: aiohttp's own give up at those of a large object, and so would every watch that has to tell of one."""
    begun: list[bytes] = []
    async for chunk in chunks:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield b"".join((*begun, end))
            begun.clear()
        begun.append(rest)
    if any(begun):
        yield b"".join(begun)
