"""Which cluster is meant: kubeconfig files, context and namespace, chosen as kubectl chooses them.

Credentials are left to the Kubernetes client; here it is only decided whose.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from imagejob_api.wording import hint, there_is
from imagejob_cli.cluster.exceptions import AccessError
from imagejob_cli.wording import printable

_DEFAULT_FILE: Final = Path(".kube", "config")
_SERVICE_ACCOUNT_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULT_NAMESPACE: Final = "default"


@dataclass(frozen=True, slots=True)
class Access:
    """What the options of a command say about the cluster."""

    kubeconfig: str | None = None
    """A file instead of those of $KUBECONFIG."""
    context: str | None = None
    """A context instead of the current one."""
    namespace: str | None = None
    """A namespace instead of the context's."""


@dataclass(frozen=True, slots=True)
class Target:
    """The cluster and the namespace that are meant."""

    files: tuple[Path, ...]
    """Kubeconfig files, the first one counts most; none in a pod, whose service account is used."""
    context: str
    """Name of the context; empty in a pod."""
    namespace: str
    """Namespace where nothing else is said."""

    def __str__(self) -> str:
        """For messages."""
        return f"the context {printable(self.context)}" if self.context else "the pod's service account"


def choose_target(access: Access, environment: Mapping[str, str] = os.environ) -> Target:
    """The cluster and the namespace that kubectl would use.

    Args:
        access: What the options say.
        environment: Where KUBECONFIG, HOME and, in a pod, KUBERNETES_SERVICE_HOST are.

    Raises:
        AccessError: There is no such file or context, or none at all.
    """
    files = _files(access.kubeconfig, environment)
    if not files:
        if access.kubeconfig is None and access.context is None and "KUBERNETES_SERVICE_HOST" in environment:
            return Target((), "", access.namespace or _namespace_of_pod())
        raise AccessError(_nothing_configured(access.kubeconfig, environment))
    contents = [_read(file) for file in files]
    contexts = _contexts(contents)
    name = access.context or next((str(content["current-context"]) for content in contents if content.get("current-context")), "")
    if not name:
        there = printable(there_is(contexts))
        raise AccessError(f"the kubeconfig {_shown(files)} has no current context; choose one with --context: {there}")
    if name not in contexts:
        raise AccessError(f"there is no context {printable(name)} in {_shown(files)}; {printable(hint(name, contexts))}")
    return Target(files, name, access.namespace or str(contexts[name].get("namespace") or _DEFAULT_NAMESPACE))


def _files(chosen: str | None, environment: Mapping[str, str]) -> tuple[Path, ...]:
    if chosen is not None:
        named = [Path(chosen)]
    elif listed := environment.get("KUBECONFIG"):
        named = [Path(part) for part in listed.split(os.pathsep) if part]
    else:
        named = [Path(environment.get("HOME") or "~") / _DEFAULT_FILE]
    return tuple(file for file in map(_expanded, named) if _is_there(file))


def _expanded(file: Path) -> Path:
    try:
        return file.expanduser()
    except RuntimeError:  # nobody of that name has a home folder
        return file


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError as error:
        raise _unreadable(file, error) from None


def _nothing_configured(chosen: str | None, environment: Mapping[str, str]) -> str:
    if chosen is not None:
        return f"there is no kubeconfig {printable(chosen)}"
    listed = environment.get("KUBECONFIG")
    where = f"none of the files in KUBECONFIG ({printable(listed)}) is there" if listed else "there is no ~/.kube/config"
    return f"no cluster is configured: {where}. Name a kubeconfig with --kubeconfig or KUBECONFIG."


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text())
    except OSError as error:
        raise _unreadable(file, error) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AccessError(f"the kubeconfig {file} is not YAML: {error}") from None
    if not isinstance(content or {}, dict):
        raise AccessError(f"the kubeconfig {file} must be a mapping with clusters, contexts and users")
    return content or {}


def _unreadable(file: Path, error: OSError) -> AccessError:
    return AccessError(f"the kubeconfig {printable(str(file))} cannot be read: {error.strerror or error}")


def _contexts(contents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The contexts by name; of two with one name the first counts."""
    found: dict[str, dict[str, Any]] = {}
    for content in contents:
        for entry in content.get("contexts") or []:
            if isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("context"), dict):
                found.setdefault(entry["name"], entry["context"])
    return found


def _namespace_of_pod() -> str:
    try:
        return _SERVICE_ACCOUNT_NAMESPACE.read_text().strip()
    except OSError:
        return _DEFAULT_NAMESPACE


def _shown(files: tuple[Path, ...]) -> str:
    return printable(", ".join(map(str, files)))
