"""Every setting of the operator, from its flags and its environment.

Flags are the fields' names with dashes, variables their names in capitals after ``IMAGEJOB_OPERATOR_``. A flag goes before a variable, and
a variable before the default.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, Final

from imagejob_api.constants import API_VERSION
from imagejob_api.nodelimit import NodeLimit

PREFIX: Final = "IMAGEJOB_OPERATOR_"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)


def _modules(text: str) -> tuple[str, ...]:
    names = _names(text)
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ValueError(f"must be names of modules such as torchvision or team.models, and {name!r} is none")
    return names


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def parse_default_limit(text: str) -> NodeLimit:
    """A NodeLimit from its name and spec as JSON.

    Raises:
        ValueError: It is none; says why.
    """
    given = json.loads(text)
    if not isinstance(given, dict) or set(given) != {"name", "spec"}:
        raise ValueError('must be JSON with "name" and "spec"')
    metadata = {"name": given["name"]}
    return NodeLimit.model_validate({"apiVersion": API_VERSION, "kind": "NodeLimit", "metadata": metadata, "spec": given["spec"]})


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError("must be a number above 0")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("must be a whole number above 0")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**16:
        raise ValueError("must be a port, 0 to 65535")
    return number


def _one_of(text: str, *choices: str) -> str:
    if text not in choices:
        raise ValueError(f"must be one of {', '.join(choices)}")
    return text


def _pull_policy(text: str) -> str:
    return _one_of(text, "Always", "IfNotPresent", "Never")


def _log_level(text: str) -> str:
    return _one_of(text, "DEBUG", "INFO", "WARNING", "ERROR")


def _log_format(text: str) -> str:
    return _one_of(text, "text", "json")


def _setting(default: object, description: str, parse: Callable[[str], object] = str) -> Any:  # noqa: ANN401  as dataclasses.field
    return field(default=default, metadata={"help": description, "parse": parse})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an installation may set."""

    namespace: str = _setting("imagejob-system", "the operator's own namespace, where the Leases are")
    watch_namespaces: tuple[str, ...] = _setting((), "namespaces whose ImageJobs are run, separated by commas; all unless set", _names)
    manage_limits: bool = _setting(True, "whether NodeLimits become Leases; false where an operator with rights to Nodes does it", _flag)
    default_limit: NodeLimit | None = _setting(  # noqa: RUF009  as the others; that a field is made is hidden by this one's type
        None, "NodeLimit to make at the start, with its name and spec as JSON; none unless set", parse_default_limit
    )

    runner_image: str = _setting("imagejob-runner:latest", "image of pods whose template names none")
    runner_image_pull_policy: str | None = _setting(None, "imagePullPolicy of that image; Kubernetes' own default unless set", _pull_policy)
    runner_service_account: str = _setting("imagejob-runner", "service account of pods, made in each namespace with jobs")
    runner_role: str = _setting("imagejob-runner", "ClusterRole that pods are bound to in their own namespace")
    lease_role: str = _setting("imagejob-lease-user", "Role in the operator's namespace that lets pods take slots")

    allowed_modules: tuple[str, ...] = _setting(
        (), "Python modules whose functions pipelines may name, separated by commas; all that an image has unless set", _modules
    )

    workers: int = _setting(8, "reconciles at the same time", _count)
    status_seconds: float = _setting(10.0, "least seconds between two writes of a status whose numbers alone have changed", _positive)
    finished_pods_seconds: float = _setting(
        3600.0, "seconds for which the Jobs and pods of an ImageJob that has ended are kept, with their logs", _positive
    )
    heartbeat_seconds: float = _setting(5.0, "seconds between two heartbeats through the queue", _positive)
    unhealthy_seconds: float = _setting(60.0, "seconds without a reconcile that ended after which /healthz fails", _positive)

    host: str = _setting("0.0.0.0", "address of /healthz, /readyz and /metrics")  # noqa: S104  the kubelet and Prometheus come from outside
    port: int = _setting(8080, "port of /healthz, /readyz and /metrics; 0 for any that is free", _port)
    log_level: str = _setting("INFO", "least level of what is logged", _log_level)
    log_format: str = _setting("text", "text or json", _log_format)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def parse_settings(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Settings from the command line and the environment.

    Raises:
        SystemExit: A flag or a variable cannot be meant (2), or help was asked for (0). What to say is printed.
    """
    parser = argparse.ArgumentParser("imagejob-operator", description="Runs ImageJobs, and keeps a Lease for each NodeLimit and node.")
    for setting in fields(Settings):
        parser.add_argument(f"--{setting.name.replace('_', '-')}", metavar="VALUE", help=_help(setting), default=argparse.SUPPRESS)
    given: dict[str, str] = vars(parser.parse_args(arguments))
    values: dict[str, Any] = {}
    for setting in fields(Settings):
        name = setting.name
        # An empty variable is one that a chart left unset.
        text = given.get(name) if name in given else environ.get(variable(name)) or None
        if text is None:
            continue
        try:
            values[name] = setting.metadata["parse"](text)
        except ValueError as error:
            origin = f"--{name.replace('_', '-')}" if name in given else variable(name)
            parser.error(f"{origin}={text!r}: {error}")
    settings = Settings(**values)
    if settings.heartbeat_seconds >= settings.unhealthy_seconds:
        parser.error(
            f"--heartbeat-seconds ({settings.heartbeat_seconds:g}) must be less than --unhealthy-seconds ({settings.unhealthy_seconds:g}),"
            " or /healthz fails between two heartbeats: lower the first or raise the second"
        )
    return settings


def _help(setting: Field[Any]) -> str:
    default = ", ".join(setting.default) if isinstance(setting.default, tuple) else setting.default
    shown = "" if default in (None, "") else f" (default: {str(default).lower() if isinstance(default, bool) else default})"
    return f"{setting.metadata['help']}{shown}; ${variable(setting.name)}"
