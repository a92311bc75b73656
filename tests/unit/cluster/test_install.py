"""`make cluster-install`: the images of this checkout, on the workers, and the chart that names them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import __main__ as command
from tests.cluster import lifecycle, project_images, release


@dataclass
class FakeCluster:
    """Notes what is asked of it."""

    loaded: list[str] = field(default_factory=list)
    kubeconfig: Path = Path("/cluster/kubeconfig")
    engine: Any = field(default_factory=type("Engine", (), {"host": ""}))

    def load(self, image: str) -> None:
        self.loaded.append(image)

    def nodes(self, role: str) -> list[str]:
        return [f"{role}-1", f"{role}-2"]

    def kubectl(self, *_arguments: str, **_options: object) -> str:
        return "NAME  READY\n"


def test_the_chart_is_installed_with_the_images_of_this_checkout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster, helms = FakeCluster(), []

    def helm(*arguments: str, env: object, stdin: str) -> str:
        helms.append((arguments, env, yaml.safe_load(stdin)))
        return ""

    monkeypatch.setattr(lifecycle, "find", lambda _name: cluster)
    monkeypatch.setattr(project_images, "ensure", lambda _engine, name: f"imagejob.test/{name}:digest")
    monkeypatch.setattr(release, "helm", helm)
    monkeypatch.setattr("sys.argv", ["tests.cluster", "install"])
    command.main()

    assert sorted(cluster.loaded) == ["imagejob.test/operator:digest", "imagejob.test/runner:digest"]
    ((arguments, env, values),) = helms
    assert arguments[:2] == ("upgrade", "imagejob")
    assert {"--install", "--create-namespace", "--wait"} <= set(arguments)
    assert env == {"KUBECONFIG": "/cluster/kubeconfig"}
    assert values["runner"]["image"] == {"repository": "imagejob.test/runner", "tag": "digest", "pullPolicy": "Never"}
    assert "export KUBECONFIG=/cluster/kubeconfig" in capsys.readouterr().out
