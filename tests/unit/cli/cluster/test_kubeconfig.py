import os
import pwd
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from imagejob_cli.cluster.exceptions import AccessError
from imagejob_cli.cluster.kubeconfig import Access, choose_target


def context(name: str, **fields: str) -> dict[str, Any]:
    return {"name": name, "context": {"cluster": "c", "user": "u", **fields}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump({"current-context": "kind", "contexts": [context("kind", namespace="team"), context("prod")]}))
    return path


def test_the_current_context_and_its_namespace(file: Path) -> None:
    target = choose_target(Access(), {"KUBECONFIG": str(file)})
    assert (target.files, target.context, target.namespace) == ((file,), "kind", "team")


def test_options_count_more(file: Path) -> None:
    target = choose_target(Access(kubeconfig=str(file), context="prod"), {"KUBECONFIG": "/none"})
    assert (target.context, target.namespace) == ("prod", "default")
    assert choose_target(Access(str(file), namespace="mine"), {}).namespace == "mine"


def test_of_several_files_the_first_counts_most(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(yaml.safe_dump({"current-context": "prod", "contexts": [context("kind", namespace="x"), context("only-here")]}))
    both = {"KUBECONFIG": os.pathsep.join(["", "/none", str(file), str(other)])}
    assert choose_target(Access(), both).namespace == "team"
    assert choose_target(Access(context="only-here"), both).files == (file, other)


def test_the_file_in_the_home_folder(file: Path, tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    file.rename(tmp_path / ".kube" / "config")
    assert choose_target(Access(), {"HOME": str(tmp_path)}).context == "kind"


def test_in_a_pod_its_service_account(tmp_path: Path) -> None:
    target = choose_target(Access(namespace="mine"), {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert (target.files, target.namespace, str(target)) == ((), "mine", "the pod's service account")


@pytest.mark.parametrize(
    ("access", "environment", "message"),
    [
        (Access(), {"KUBECONFIG": "/none"}, r"none of the files in KUBECONFIG \(/none\) is there"),
        (Access(), {"HOME": "/none"}, "there is no ~/.kube/config"),
        (Access(kubeconfig="/none"), {}, "there is no kubeconfig /none"),
        (Access(kubeconfig="~nobodyknown/x"), {}, "there is no kubeconfig ~nobodyknown/x"),
        (Access(), {"KUBECONFIG": "~nobodyknown/x"}, r"none of the files in KUBECONFIG \(~nobodyknown/x\) is there"),
        (Access(kubeconfig="/" + 300 * "x"), {}, "the kubeconfig /x+ cannot be read: File name too long"),
        (Access(context="x"), {"HOME": "/none", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "no cluster is configured"),
    ],
)
def test_nothing_to_go_by(access: Access, environment: dict[str, str], message: str) -> None:
    with pytest.raises(AccessError, match=message) as raised:
        choose_target(access, environment)
    assert raised.value.exit_code == 2


def test_a_user_without_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> NoReturn:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(AccessError, match="no cluster is configured"):
        choose_target(Access(), {})


@pytest.mark.parametrize(
    ("content", "chosen", "message"),
    [
        ("contexts: []", None, "has no current context; choose one with --context: there is none"),
        ("current-context: kind", "kin", "there is no context kin"),
        ("{contexts: [{name: kind, context: {}}]}", "kin", "did you mean kind?"),
        ("{", None, "is not YAML"),
        ("[]", None, "has no current context"),
        ("- x", None, "must be a mapping"),
        ("", None, "has no current context"),
        ("{contexts: [3, {name: 4}], current-context: x}", None, "there is no context x"),
    ],
)
def test_a_file_that_does_not_do(tmp_path: Path, content: str, chosen: str | None, message: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(AccessError) as raised:
        choose_target(Access(kubeconfig=str(path), context=chosen), {})
    assert message in raised.value.message
