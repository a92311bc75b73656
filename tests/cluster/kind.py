"""The `kind` command, as this tool uses it."""

from tests.cluster.commands import run
from tests.cluster.engine import Engine
from tests.cluster.tools import KIND


def kind(engine: Engine, *arguments: str, stdin: bytes | None = None, network: str | None = None) -> str:
    """What ``kind ARGUMENTS`` prints.

    Args:
        engine: Where the nodes are.
        arguments: Command and options.
        stdin: What it reads.
        network: Docker network for new nodes, made if it does not exist; kind's usual one is shared by all clusters and stays for ever.

    Raises:
        CommandError: It failed; carries what it said.
    """
    env = {**engine.env, "KIND_EXPERIMENTAL_PROVIDER": "docker"}
    if network is not None:
        env["KIND_EXPERIMENTAL_DOCKER_NETWORK"] = network
    return run([str(KIND.install()), *arguments], stdin=stdin, env=env)
